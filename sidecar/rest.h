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
	const char *type; /* as it is asked for */
	size_t type_length;
	const char *answer; /* Content-Type */
	RestShape shape;
	bool single;
} RestMedia;

/* A form of one value that is no JSON. */
typedef struct RestRaw
{
	const char *type;
	size_t type_length;
	const char *answer;
	const char *of; /* type that it is the form of; NULL for any */
	bool binary;    /* hex in the database's answer */
} RestRaw;

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
	char timezone[64]; /* "" for none */
} RestPreferences;

/* What an exchange needs for these conventions; its arena's texts live as long. */
typedef struct Rest
{
	/* Memory that the next exchange takes over; all else begins as zeros. */
	Buffer sql;
	Buffer rows; /* of the answer, as far as they are not sent */
	Buffer call; /* of a function, as a part of the statement */

	RestQuery query; /* must be the first that is zeroed */
	RestMedia media;
	const RestRaw *raw; /* asked for before media; NULL for none */
	bool only_raw;      /* and media was not asked for */
	RestPreferences prefer;
	RestProblem problem;
	Values count_values[2];
	Buffer count_sql[2];
	long long count;  /* of rows of the answer, ever */
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

/* Says that the answer has no form that was asked for. */
extern void rest_reply_no_media(Exchange *exchange);

/* Whether the body is declared as of that type. */
extern bool rest_body_is(const HttpRequest *request, const char *type);

/*
 * The body as JSON's text, parsed into rest->body, and which columns it is for; false,
 * and answered, where it cannot be read.
 */
extern bool rest_read_body(Exchange *exchange, const char **text);
extern bool rest_read_columns(Exchange *exchange);
extern bool rest_refuse_body(Exchange *exchange, const char *message, const char *detail);

/* Runs a SELECT of what the query asks for, from that source. */
extern void rest_run_select(Exchange *exchange, const RestSource *source);

/* Runs a statement that gives one JSON text a row. */
extern void rest_run_rows(Exchange *exchange, const char *sql);

/* Frees all, or all but what the next exchange takes over; NULL is none. */
extern void rest_free(struct Rest *rest);
extern void rest_clear(struct Rest *rest);

#endif /* FACTORYD_REST_H */
