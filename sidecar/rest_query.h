/*
 * rest_query.h
 *		What a query string of PostgREST's conventions asks for.
 *
 * Pure: text in, a tree out.  The tree lives in the query's arena.
 */
#ifndef FACTORYD_REST_QUERY_H
#define FACTORYD_REST_QUERY_H

#include <stdbool.h>

#include "arena.h"

/* Depth of embedding, of and/or, and of JSON paths. */
#define REST_DEPTH_MOST 16

/* One -> or ->> of a JSON path. */
typedef struct RestStep
{
	struct RestStep *next;
	char *key;
	bool is_index;
	bool as_text;
} RestStep;

typedef struct RestField
{
	char *name;
	RestStep *path;
} RestField;

typedef enum RestOperand
{
	OPERAND_VALUE,   /* one value */
	OPERAND_PATTERN, /* one value, * is % */
	OPERAND_LIST,    /* (a,b) */
	OPERAND_WORD,    /* null, true, ... */
	OPERAND_SEARCH   /* one value and a language */
} RestOperand;

typedef struct RestOperator
{
	const char *name;
	const char *sql; /* the operator, or the function that makes a tsquery */
	RestOperand operand;
	bool quantified; /* takes (any) and (all) */
} RestOperator;

typedef enum RestQuantifier
{
	QUANTIFIER_NONE,
	QUANTIFIER_ANY,
	QUANTIFIER_ALL
} RestQuantifier;

typedef enum RestLogicKind
{
	LOGIC_AND,
	LOGIC_OR,
	LOGIC_CONDITION
} RestLogicKind;

typedef struct RestLogic
{
	struct RestLogic *next;
	RestLogicKind kind;
	bool negated;
	struct RestLogic *first; /* of AND and OR */
	/* of a condition: */
	RestField field;
	const RestOperator *operator;
	RestQuantifier quantifier;
	char *language;
	char *value; /* of a list: an array's literal */
} RestLogic;

typedef enum RestNulls
{
	NULLS_UNSAID,
	NULLS_FIRST,
	NULLS_LAST
} RestNulls;

typedef struct RestOrder
{
	struct RestOrder *next;
	char *relation; /* whose field it is; NULL for the level's own */
	RestField field;
	bool descending;
	RestNulls nulls;
} RestOrder;

typedef enum RestItemKind
{
	ITEM_ALL,   /* * */
	ITEM_FIELD, /* a column or a part of one */
	ITEM_EMBED  /* rows of a relation that a foreign key leads to */
} RestItemKind;

typedef struct RestItem
{
	struct RestItem *next;
	RestItemKind kind;
	RestField field;
	char *cast;
	char *alias;
	const char
		*aggregate; /* of the field, or of the rows where it has no name; or NULL */
	char *aggregate_cast;
	int number; /* of its kind in the query */
	/* of an embedding: */
	char *relation;
	char *hint;
	bool inner;
	bool spread;
	struct RestLevel *level;
} RestItem;

/* What is asked of one relation. */
typedef struct RestLevel
{
	RestItem *items; /* NULL: all columns, but where nothing is set */
	bool nothing;    /* rel(): its rows count, their columns do not */
	bool aggregates; /* some items are, or spread some; the others make its groups */
	RestLogic *filters;
	RestOrder *order;
	long long limit; /* -1 for none */
	long long offset;
} RestLevel;

typedef struct RestName
{
	struct RestName *next;
	char *name;
} RestName;

/* A parameter that is none of ours: an argument of a function. */
typedef struct RestArgument
{
	struct RestArgument *next;
	char *name;
	char *value;
} RestArgument;

typedef struct RestQuery
{
	Arena arena;
	RestLevel top;
	RestName *columns;     /* of columns= */
	RestName *on_conflict; /* of on_conflict= */
	bool has_columns;
	bool has_on_conflict;
	bool has_limit;
	int aggregates; /* on all levels */
	RestArgument *arguments;
	const char *code; /* of what is wrong */
	char *message;
	char *detail;
} RestQuery;

/*
 * Reads a query string, which is written over; NULL is an empty one.  is_argument says
 * which names are a function's arguments; NULL for none.  False where it cannot be
 * read: code, message and detail then say why.
 */
extern bool rest_query_read(RestQuery *query, char *text,
							bool (*is_argument)(const char *name, void *context),
							void *context);
extern void rest_query_free(RestQuery *query);

#endif /* FACTORYD_REST_QUERY_H */
