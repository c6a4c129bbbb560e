/*
 * rest.h
 *		PostgREST's conventions: tables, views and what functions return.
 */
#ifndef FACTORYD_REST_H
#define FACTORYD_REST_H

#include "exchange.h"
#include "rest_query.h"
#include "rest_sql.h"

/* A form of answer that is understood. */
typedef struct RestMedia
{
	const char *type;   /* as it is asked for */
	const char *answer; /* Content-Type */
	RestShape shape;
	bool single;
} RestMedia;

typedef enum RestCounting
{
	COUNTING_NONE,
	COUNTING_EXACT,
	COUNTING_PLANNED,
	COUNTING_ESTIMATED
} RestCounting;

typedef struct RestPreferences
{
	RestReturn returns;
	bool returns_said;
	RestConflict conflict;
	bool conflict_said;
	RestCounting counting;
	bool defaults;
	bool strict;
	bool rolls_back;
	long long max_affected;
} RestPreferences;

/* What an exchange needs for these conventions; its arena's texts live as long. */
typedef struct Rest
{
	RestQuery query;
	RestMedia media;
	RestPreferences prefer;
	RestProblem problem;
	Values count_values[2];
	Buffer count_sql[2];
	Buffer sql;
	Buffer rows;      /* of the answer, as far as they are not sent */
	long long count;  /* of them, ever */
	bool scalar;      /* not a list but its only value */
	bool head;        /* HEAD: rows are only counted */
	bool offset_over; /* a range that nothing is in */
	RestWrite write;
	const char *location; /* path of what is written */
	json_t *body;
	const char **columns;
	char *body_text; /* CSV as JSON */
} Rest;

/* GET, HEAD, POST, PATCH, PUT and DELETE of a table or view. */
extern void rest_serve(Exchange *exchange);

/*
 * Reads the query string and the headers into exchange->rest; answers where they cannot
 * be read: false.
 */
extern bool rest_begin(Exchange *exchange,
					   bool (*is_argument)(const char *name, void *context),
					   void *context);

/* The schema that the request names, NULL for none; false where it is not served. */
extern bool rest_profile(Exchange *exchange, const char **schema);

/* What the headers Accept, Prefer and Range ask for; false, and answered, where they cannot. */
extern bool rest_read_accept(Exchange *exchange);
extern bool rest_read_prefer(Exchange *exchange);
extern void rest_read_range(Exchange *exchange);

/* Runs a SELECT of what the query asks for, from that source. */
extern void rest_run_select(Exchange *exchange, const RestSource *source);

/* Runs a statement that gives one JSON text a row. */
extern void rest_run_rows(Exchange *exchange, const char *sql);

extern void rest_free(struct Rest *rest); /* NULL is none */

#endif /* FACTORYD_REST_H */
