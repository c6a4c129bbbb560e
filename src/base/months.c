/*
 * months.c
 *		Making and dropping the months of the logs.
 */
#include "postgres.h"

#include "base/activity.h"
#include "base/attempt.h"
#include "base/house.h"
#include "base/months.h"
#include "executor/spi.h"
#include "utils/timestamp.h"

#define MONTHS_MAX_LOGS 4

static MonthlyLog logs[MONTHS_MAX_LOGS];
static int log_count = 0;

void
months_keep(const MonthlyLog *log)
{
	if (log_count == MONTHS_MAX_LOGS)
		elog(ERROR, "too many logs are kept by the month");
	logs[log_count++] = *log;
}

int
months_log_count(void)
{
	return log_count;
}

static void
month_name(const char *log, TimestampTz moment, int ahead, char *name, size_t size)
{
	struct pg_tm tm;
	fsec_t fraction;
	int month;

	/* Months are UTC's: the same on every server that a log is brought to. */
	if (timestamp2tm(moment, NULL, &tm, &fraction, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	month = tm.tm_mon - 1 + ahead;
	snprintf(name, size, "%s_%04d_%02d", log, tm.tm_year + month / 12, month % 12 + 1);
}

static bool
has_next_month(const MonthlyLog *log)
{
	char name[NAMEDATALEN];

	month_name(log->name, GetCurrentTimestamp(), 1, name, sizeof(name));
	return OidIsValid(house_relation_if_exists(name));
}

static void
run(const char *statement)
{
	SPI_connect();
	if (SPI_execute(statement, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", statement);
	SPI_finish();
}

static void
make(void *log)
{
	HouseRights saved;

	house_enter(&saved);
	run(((const MonthlyLog *) log)->make);
	house_leave(&saved);
}

static void
make_missing(MonthlyLog *log)
{
	ErrorData *error = attempt(make, log);

	if (error != NULL)
		ereport(LOG,
				(errmsg("could not make months of \"%s\": %s", log->name, error->message),
				 errdetail("Its default partition takes the rows.")));
}

/*
 * The next month is made while this one lasts: what makes it holds a lock on the
 * default partition until its transaction ends, and then nobody writes there.  A
 * restored dump brings its own months, so none are made before it is activated.
 */
void
months_make(void)
{
	static char seen[NAMEDATALEN] = "";
	char this_month[NAMEDATALEN];
	bool complete = true;
	const char *reason;

	month_name("", GetCurrentTimestamp(), 0, this_month, sizeof(this_month));
	if (strcmp(seen, this_month) == 0)
		return;
	for (int i = 0; i < log_count; i++)
	{
		if (has_next_month(&logs[i]))
			continue;
		complete = false;
		if (house_may_act(&reason))
			make_missing(&logs[i]);
	}
	if (complete)
		strlcpy(seen, this_month, sizeof(seen));
}

void
months_drop_old(int log)
{
	run(logs[log].drop);
}
