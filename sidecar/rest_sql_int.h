/*
 * rest_sql_int.h
 *		What rest_sql.c, rest_sql_embed.c, rest_way.c and rest_write.c share.
 */
#ifndef FACTORYD_REST_SQL_INT_H
#define FACTORYD_REST_SQL_INT_H

#include "rest_sql.h"

/* One level of a query while its SELECT is written. */
typedef struct Scope
{
	RestStatement *statement;
	const RestLevel *level;
	const CatalogRelation *relation; /* or NULL */
	int number;                      /* of t */
	bool counts;                     /* only how many rows */
	bool is_spread;                  /* to one: the level above makes its aggregates */
	int joins[64];                   /* number of e for each embedding, in order */
} Scope;

/* The parts of a SELECT, written side by side. */
typedef struct Parts
{
	Buffer list;
	Buffer from;
	Buffer where;
	Buffer groups; /* numbers of the columns that are no aggregates */
	int columns;   /* in list so far */
} Parts;

typedef enum LinkKind
{
	LINK_TO_ONE,
	LINK_TO_MANY,
	LINK_ACROSS /* many to many, by a junction */
} LinkKind;

/* How one relation leads to another. */
typedef struct Way
{
	LinkKind kind;
	const CatalogRelation *target;
	const CatalogLink *link;         /* ours, theirs, or across: the junction's to us */
	const CatalogLink *far_link;     /* across: the junction's to them */
	bool forward;                    /* the link is ours */
	const CatalogFunction *function; /* instead of a link: it gives the rows for ours */
} Way;

/* rest_way.c: false where there is none, or several; the problem then says so. */
extern bool rest_find_way(RestStatement *statement, const CatalogRelation *origin,
						  const RestItem *item, Way *way);

/* Notes the problem, and says false. */
extern bool rest_refuse(RestStatement *statement, int status, const char *code,
						const char *format, ...) __attribute__((format(printf, 4, 5)));

/* rest_sql.c: "t1"."column" */
extern void rest_write_column(Buffer *sql, int number, const char *column);

/* The level's conditions, behind what where holds. */
extern void rest_write_filters(const Scope *scope, Buffer *where);

/* What an item is called in the answer. */
extern const char *rest_item_name(const RestItem *item);

/* What stands around the values that an aggregate is of. */
extern void rest_begin_aggregate(Buffer *list, const RestItem *item);
extern void rest_end_aggregate(Buffer *list, const RestItem *item);

/* The SELECT of one level. */
extern bool rest_write_level(Scope *scope, const char *from, const char *condition,
							 Buffer *sql);

/* rest_sql_embed.c: one more column, a group of its own where it is no aggregate. */
extern void rest_begin_column(Parts *parts, bool is_group);

/* What an aggregate is made of, on its way through a level that is spread. */
extern void rest_write_raw_name(Buffer *sql, const RestItem *item);

/* From what and on which condition the target's rows come, for a row of the origin. */
extern void rest_write_way(RestStatement *statement, const Scope *origin, const Way *way,
						   int target, Buffer *from, Buffer *condition);

/* The join of an embedding, and its columns; false where it cannot be. */
extern bool rest_write_embed(Scope *scope, const RestItem *item, int index, Parts *parts);

/* Whether the rows that are counted depend on an embedding. */
extern bool rest_counts_for_rows(const RestLevel *level, const RestItem *item);

/* The SELECT of the whole query, from that source. */
extern bool rest_write_top(RestStatement *statement, const RestSource *source,
						   bool counts, Buffer *sql);

#endif /* FACTORYD_REST_SQL_INT_H */
