/*
 * declaration.h
 *		What a schedule's text says: times, predecessors, changes, a target.
 */
#ifndef FACTORY_DECLARATION_H
#define FACTORY_DECLARATION_H

#include "nodes/pg_list.h"

typedef struct Declaration
{
	char *times;       /* what schedule_parse() takes; NULL where no times are named */
	List *after;       /* OIDs of materialized views; NIL for none */
	bool after_any;    /* one of them is enough */
	bool on_change;    /* when a table it reads was changed */
	int64 within_usec; /* how old its contents may become; 0 for any age */
} Declaration;

/*
 * Parts are joined by "or": a calendar, "after mv_a, mv_b", "after any mv_a, mv_b",
 * "on change", "within 5 minutes".  Each kind at most once.  Names are looked up as
 * the caller sees them.  Raises ERRCODE_FACTORY_INVALID_SCHEDULE.
 */
extern Declaration *declaration_parse(const char *text);

#endif /* FACTORY_DECLARATION_H */
