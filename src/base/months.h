/*
 * months.h
 *		Logs that are kept by the month: a partition each, made ahead and dropped whole.
 */
#ifndef FACTORY_MONTHS_H
#define FACTORY_MONTHS_H

typedef struct MonthlyLog
{
	const char *name; /* its partitions are name_YYYY_MM */
	const char *make; /* a statement for those that are missing; runs as the house */
	const char *drop; /* one for those beyond its retention; runs as the caller */
} MonthlyLog;

/* At load time; copied. */
extern void months_keep(const MonthlyLog *log);

/* Makes the months that are missing; cheap where none is.  Needs a transaction. */
extern void months_make(void);

extern int months_log_count(void);

/* Drops what is old of one of the logs.  Needs a transaction, and a superuser. */
extern void months_drop_old(int log);

#endif /* FACTORY_MONTHS_H */
