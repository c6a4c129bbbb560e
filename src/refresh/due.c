/*
 * due.c
 *		Which schedules are due, among those of all tenants.
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "refresh/refresh_int.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* --- a schedule's row ----------------------------------------------------------- */

/* A shape for what several queries select, so that one function reads it. */
#define SCHEDULE_COLUMNS \
	"tenant_id, view::pg_catalog.oid, view_name, times, timezone, due_why, " \
	"coalesce(catch_up, 'last'), holidays, concurrent, next_due, " \
	"extract(epoch FROM coalesce(catch_up_window, '1 day')) * 1000000, " \
	"extract(epoch FROM coalesce(jitter, '0')) * 1000000, " \
	"extract(epoch FROM within) * 1000000, extract(epoch FROM timeout) * 1000, " \
	"extract(epoch FROM lock_timeout) * 1000, on_change OR coalesce(overlap, '') = " \
	"'cancel_running' OR pg_catalog.cardinality(after_views) > 0, ctid"

static char *
row_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

/* A numeric column as an integer; the default where it is null. */
static int64
row_number(int column, int64 when_null)
{
	char *text = row_text(column);

	return text ? (int64) strtod(text, NULL) : when_null;
}

static RefreshWish
wish_from(const char *concurrent)
{
	if (concurrent == NULL)
		return WISH_ANY;
	return *concurrent == 't' ? WISH_CONCURRENT : WISH_FULL;
}

static void
read_schedule(DueSchedule *due)
{
	bool isnull;

	due->tenant = row_text(1);
	due->view = (Oid) strtoul(row_text(2), NULL, 10);
	due->view_name = row_text(3);
	due->times = row_text(4);
	due->timezone = row_text(5);
	due->why = row_text(6);
	due->catch_up = row_text(7);
	due->holidays = row_text(8);
	due->wish = wish_from(row_text(9));
	due->due = DatumGetTimestampTz(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 10, &isnull));
	due->wave = Max(due->due, refresh_skipped_to(due->view));
	due->window_usec = row_number(11, 0);
	due->jitter_usec = row_number(12, 0);
	due->within_usec = row_number(13, 0);
	due->timeout_ms = (int) Min(row_number(14, refresh_timeout_ms), INT_MAX);
	due->lock_timeout_ms = (int) Min(row_number(15, refresh_lock_timeout_ms), INT_MAX);
	due->by_events = *row_text(16) == 't';
}

/*
 * Reads the row, and locks none: that would be written, too.  A row that a session
 * holds is passed over, so that nobody's open transaction stops the others.
 */
static bool
take_schedule(Oid view, DueSchedule *due)
{
	Oid types[] = {OIDOID, TIMESTAMPTZOID};
	Datum values[] = {ObjectIdGetDatum(view), TimestampTzGetDatum(due->now)};
	Datum place;
	bool isnull;

	refresh_query("SELECT " SCHEDULE_COLUMNS " FROM factory.refresh_schedule "
				  "WHERE view::pg_catalog.oid = $1 AND enabled "
				  "AND paused_since IS NULL AND next_due <= $2",
				  2, types, values, NULL, false, 1);
	if (SPI_processed == 0)
		return false;
	place = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 17, &isnull);
	if (refresh_row_is_held((ItemPointer) DatumGetPointer(place)))
		return false;
	read_schedule(due);
	return true;
}

/* Whether one of the materialized views that this one reads is due or under way. */
static bool
source_is_ahead(Oid view, const List *due)
{
	ListCell *cell;

	/* A view that was dropped reads nothing. */
	if (!refresh_is_view(view))
		return false;
	foreach (cell, refresh_sources(view)->views)
		if (list_member_oid(due, lfirst_oid(cell)) || refresh_is_busy(lfirst_oid(cell)))
			return true;
	return false;
}

/*
 * What was due when the table was read.  As long as each claim ends with a skip, which
 * writes nothing, the next need not read it again: many views may be due together.
 */
static struct
{
	bool known;
	List *views; /* in the transaction's memory */
	TimestampTz next_due;
	int next_count; /* how many views are due then */
} due_now;

static void
note_next(TimestampTz moment)
{
	if (moment < due_now.next_due)
		due_now.next_count = 0;
	due_now.next_due = Min(due_now.next_due, moment);
	if (moment == due_now.next_due)
		due_now.next_count++;
}

/* The views that are due, but for those that somebody refreshes. */
static List *
list_due(const SPITupleTable *rows, uint64 count, TimestampTz now)
{
	List *due = NIL;

	for (uint64 i = 0; i < count; i++)
	{
		bool isnull;
		Oid view =
			DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));
		Datum value = SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull);
		TimestampTz moment = isnull ? DT_NOEND : DatumGetTimestampTz(value);

		moment = Max(moment, refresh_skipped_to(view));
		if (moment > now)
			note_next(moment);
		else if (!refresh_is_busy(view))
			due = lappend_oid(due, view);
	}
	return due;
}

/* False where nothing is scheduled. */
static bool
look_what_is_due(TimestampTz now)
{
	static const char *const query =
		"SELECT view::pg_catalog.oid, next_due FROM factory.refresh_schedule "
		"WHERE enabled AND paused_since IS NULL ORDER BY next_due, view::pg_catalog.oid";
	MemoryContext before;

	if (due_now.known)
		return true;
	due_now.next_due = DT_NOEND;
	due_now.next_count = 0;
	refresh_query(query, 0, NULL, NULL, NULL, false, 0);
	if (SPI_processed == 0)
		return false;
	before = MemoryContextSwitchTo(TopTransactionContext);
	due_now.views = list_due(SPI_tuptable, SPI_processed, now);
	MemoryContextSwitchTo(before);
	due_now.known = true;
	return true;
}

/*
 * The schedule that has been due longest, its row read; else when the next is due.
 * What was skipped because nothing had changed is due when memory says so.  A view
 * comes after those that it reads; when they are done, somebody looks again.
 */
RefreshClaim
refresh_find_due(DueSchedule *due, TimestampTz *next_due)
{
	ListCell *cell;
	bool held = false;

	*next_due = DT_NOEND;
	if (!look_what_is_due(due->now))
		return REFRESH_CLAIM_NOTHING;
	*next_due = due_now.next_due;
	foreach (cell, due_now.views)
	{
		if (refresh_awaits_busy(lfirst_oid(cell)) ||
			source_is_ahead(lfirst_oid(cell), due_now.views))
			continue;
		if (take_schedule(lfirst_oid(cell), due))
			return REFRESH_CLAIM_RUN;
		held = true;
	}
	/* A session holds its row: look again soon. */
	if (held)
		*next_due = due->now;
	return REFRESH_CLAIM_WAIT;
}

int
refresh_due_next(TimestampTz *moment)
{
	*moment = due_now.next_due;
	return due_now.next_count;
}

void
refresh_forget_due(void)
{
	due_now.known = false;
}

void
refresh_skip_due(Oid view, TimestampTz next)
{
	refresh_skip_to(view, next);
	due_now.known = true;
	due_now.views = list_delete_oid(due_now.views, view);
	note_next(next);
}
