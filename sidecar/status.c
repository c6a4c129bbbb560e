/*
 * status.c
 *		Which HTTP status and which error code of ours an SQLSTATE becomes.
 *
 * The first row that the SQLSTATE begins with counts, so classes come last.  The
 * standard codes follow PostgREST where it has an opinion; class PF is ours
 * (src/base/errors.h).
 */
#include "status.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

static const Status by_sqlstate[] = {
	{"PF001", 503, "ERR_SERVICE_UNAVAILABLE"},
	{"PF002", 403, "ERR_FORBIDDEN"},
	{"PF003", 404, "ERR_NOT_FOUND"},
	{"PF004", 429, "ERR_RATE_LIMIT"},
	{"PF005", 503, "ERR_SERVICE_UNAVAILABLE"},
	{"PF006", 403, "ERR_FORBIDDEN"},
	{"PF101", 400, "ERR_VALIDATION"},
	{"PF102", 400, "ERR_VALIDATION"},
	{"PF103", 404, "ERR_JUD_WORKFLOW_NOT_FOUND"},
	{"PF104", 404, "ERR_JUD_POLICY_NOT_FOUND"},
	{"PF106", 403, "ERR_FORBIDDEN"},
	{"PF1", 500, "ERR_JUD_RULE_ENGINE_ERROR"},
	{"PF202", 504, "ERR_JUD_EXECUTION_TIMEOUT"},
	{"PF203", 502, "ERR_JUD_LLM_PARSE_ERROR"},
	{"PF205", 404, "ERR_NOT_FOUND"},
	{"PF206", 403, "ERR_FORBIDDEN"},
	{"PF2", 502, "ERR_JUD_LLM_ERROR"},
	{"PF301", 400, "ERR_VALIDATION"},
	{"PF302", 404, "ERR_NOT_FOUND"},
	{"PF401", 400, "ERR_VALIDATION"},
	{"PF402", 422, "ERR_BI_PLAN_FAILED"},
	{"PF403", 422, "ERR_BI_PLAN_FAILED"},
	{"PF404", 504, "ERR_BI_QUERY_TIMEOUT"},
	{"PF4", 500, "ERR_BI_PLAN_FAILED"},
	{"08", 503, "ERR_SERVICE_UNAVAILABLE"},
	{"0L", 403, "ERR_FORBIDDEN"},
	{"0P", 403, "ERR_FORBIDDEN"},
	{"21", 400, "ERR_VALIDATION"},
	{"22", 400, "ERR_VALIDATION"},
	{"23503", 409, "ERR_CONFLICT"},
	{"23505", 409, "ERR_CONFLICT"},
	{"23", 400, "ERR_VALIDATION"},
	{"25006", 405, "ERR_READ_ONLY"},
	{"28", 403, "ERR_FORBIDDEN"},
	{"3F000", 404, "ERR_NOT_FOUND"},
	{"40", 409, "ERR_CONFLICT"},
	{"42501", 403, "ERR_FORBIDDEN"},
	{"42883", 404, "ERR_NOT_FOUND"},
	{"42P01", 404, "ERR_NOT_FOUND"},
	{"42P17", 500, "ERR_INTERNAL"},
	{"42", 400, "ERR_VALIDATION"},
	{"44", 400, "ERR_VALIDATION"},
	{"53400", 500, "ERR_INTERNAL"},
	{"53", 503, "ERR_SERVICE_UNAVAILABLE"},
	{"55000", 409, "ERR_CONFLICT"},
	{"55P03", 409, "ERR_CONFLICT"},
	{"57014", 504, "ERR_TIMEOUT"},
	{"57P0", 503, "ERR_SERVICE_UNAVAILABLE"},
	{"P0001", 400, "ERR_VALIDATION"},
	{"P0002", 404, "ERR_NOT_FOUND"},
	{"", 500, "ERR_INTERNAL"},
};

/* Ours before anything reached the database. */
static const Status by_status[] = {
	{NULL, 400, "ERR_VALIDATION"},
	{NULL, 401, "ERR_UNAUTHORIZED"},
	{NULL, 403, "ERR_FORBIDDEN"},
	{NULL, 404, "ERR_NOT_FOUND"},
	{NULL, 405, "ERR_METHOD_NOT_ALLOWED"},
	{NULL, 408, "ERR_TIMEOUT"},
	{NULL, 409, "ERR_CONFLICT"},
	{NULL, 413, "ERR_TOO_LARGE"},
	{NULL, 415, "ERR_MEDIA_TYPE"},
	{NULL, 422, "ERR_VALIDATION"},
	{NULL, 429, "ERR_RATE_LIMIT"},
	{NULL, 431, "ERR_TOO_LARGE"},
	{NULL, 503, "ERR_SERVICE_UNAVAILABLE"},
	{NULL, 504, "ERR_TIMEOUT"},
};

#define ROWS(table) (sizeof(table) / sizeof(table[0]))

/* RAISE ... USING ERRCODE = 'PT418' names a status itself, as with PostgREST. */
static const Status *
status_by_name(const char *sqlstate)
{
	long status = strtol(sqlstate + 2, NULL, 10);

	for (size_t i = 0; i < ROWS(by_status); i++)
		if (by_status[i].status == status)
			return &by_status[i];
	return NULL;
}

const Status *
status_of_sqlstate(const char *sqlstate, bool anonymous)
{
	static const Status who_are_you = {"42501", 401, "ERR_UNAUTHORIZED"};
	const Status *row;

	if (anonymous && strcmp(sqlstate, "42501") == 0)
		return &who_are_you;
	if (strncmp(sqlstate, "PT", 2) == 0 && (row = status_by_name(sqlstate)) != NULL)
		return row;
	for (row = by_sqlstate; strncmp(row->sqlstate, sqlstate, strlen(row->sqlstate)) != 0;
		 row++)
		;
	return row;
}

const char *
status_code(int status)
{
	for (size_t i = 0; i < ROWS(by_status); i++)
		if (by_status[i].status == status)
			return by_status[i].code;
	return status < 500 ? "ERR_VALIDATION" : "ERR_INTERNAL";
}
