/*
 * rest_query_int.h
 *		What rest_query.c, rest_query_select.c and rest_query_logic.c share: a reader.
 */
#ifndef FACTORYD_REST_QUERY_INT_H
#define FACTORYD_REST_QUERY_INT_H

#include "rest_query.h"

typedef struct Reader
{
	RestQuery *query;
	const char *start;
	const char *at;
	const char *what; /* the parameter that is read */
	int depth;
} Reader;

/* rest_query.c: notes what is wrong, and says false. */
extern bool query_refuse(RestQuery *query, const char *code, const char *message,
						 const char *format, ...) __attribute__((format(printf, 4, 5)));
extern bool reader_expected(Reader *reader, const char *wanted);

/* One level down; false, and refused, where it is one too many. */
extern bool reader_go_deeper(Reader *reader);

/* Goes on behind the token where it is next. */
extern bool reader_take(Reader *reader, const char *token);

/* What is next, in the query's arena; NULL, or false, and refused, where it is none. */
extern char *reader_read_quoted(Reader *reader);
extern char *reader_read_name(Reader *reader, const char *ends);
extern bool reader_read_path(Reader *reader, RestStep **path, const char *ends);

/* rest_query_select.c: a level's list of items. */
extern bool reader_read_items(Reader *reader, RestLevel *level);

/*
 * rest_query_logic.c: [not.]operator.value; where it is alone, the value is the rest of
 * the parameter, whatever is in it.
 */
extern bool reader_read_condition(Reader *reader, RestLogic *condition, bool alone);

/* Behind the opening bracket. */
extern bool reader_read_logic_list(Reader *reader, RestLogic *logic);
extern void query_add_filter(RestLevel *level, RestLogic *logic);

#endif /* FACTORYD_REST_QUERY_INT_H */
