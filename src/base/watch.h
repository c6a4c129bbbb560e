/*
 * watch.h
 *		Whether what this backend keeps of a table of ours is still what the table says.
 *
 *		static TableWatch watch = {"model"};
 *
 *		if (!watch_holds(&watch))
 *		{
 *			... forget all that is kept ...
 *			watch_begin(&watch);
 *		}
 *		... look among what is kept, else read the table (lookup.h) and keep it ...
 *
 * The table has the trigger factory.rows_changed(), which tells every backend when a
 * change commits, and this one at once.
 */
#ifndef FACTORY_WATCH_H
#define FACTORY_WATCH_H

typedef struct TableWatch
{
	const char *table;
	Oid relation;
	bool holds;
	struct TableWatch *next;
} TableWatch;

extern bool watch_holds(TableWatch *watch);

/* Before the table is read. */
extern void watch_begin(TableWatch *watch);

#endif /* FACTORY_WATCH_H */
