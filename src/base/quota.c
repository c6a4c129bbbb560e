/*
 * quota.c
 *		How much a tenant has used of what it may use.
 *
 * Counts lie in shared memory, one slot a tenant and database, and are taken without
 * a lock.  A slot begins at zero when it is first used after the server started; what
 * was used before in this month is then counted in the rooms' own logs, but no further
 * than the quota reaches.  A month begins at midnight of the server's log_timezone.
 *
 * Slots are never given back while their database exists: backends keep pointers.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/house.h"
#include "base/quota.h"
#include "base/settings.h"
#include "base/tenant_int.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define QUOTA_TRANCHE "pg_factory_quotas"
#define QUOTA_WARNING_PART 5 /* warned when a fifth is left */

struct QuotaSlot
{
	Oid database; /* InvalidOid: free */
	char name[TENANT_NAME_MAX + 1];
	pg_atomic_uint64 month_end; /* TimestampTz */
	TimestampTz month_start;
	TimestampTz counted_since;
	pg_atomic_uint64 used[QUOTA_COUNT];
	pg_atomic_flag loaded[QUOTA_COUNT]; /* what lies before counted_since is in */
	pg_atomic_flag logged[QUOTA_COUNT]; /* the server's log was told of the 80 % */
};

typedef struct QuotaShared
{
	LWLock *lock; /* of giving out slots and of turning the month */
	QuotaSlot slots[FLEXIBLE_ARRAY_MEMBER];
} QuotaShared;

typedef struct QuotaRow
{
	const char *name;
	const char *unit; /* in errors: "has used all of its 100 ..." */
} QuotaRow;

static const QuotaRow quota_table[QUOTA_COUNT] = {
	[QUOTA_JUDGMENTS] = {"judgments_per_month", "judgments of this month"},
	[QUOTA_TOKENS] = {"tokens_per_month", "model tokens of this month"},
	[QUOTA_JOBS] = {"concurrent_jobs", "concurrent jobs"},
};

static const char *history[QUOTA_COUNT]; /* see quota_count_from() */
static const char *census[QUOTA_COUNT];  /* see quota_counted_by() */
static QuotaShared *shared = NULL;
static int max_tenants = 256;

static const Setting settings[] = {
	{"factory.max_tenants", "Sets how many tenants, of all databases, are counted.",
	 SETTING_INT, &max_tenants, .boot = 256, .min = 1, .max = 65536,
	 .context = PGC_POSTMASTER},
};

void
quota_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

static Size
quota_shmem_size(void)
{
	return add_size(offsetof(QuotaShared, slots),
					mul_size(max_tenants, sizeof(QuotaSlot)));
}

void
quota_request_shmem(void)
{
	RequestAddinShmemSpace(quota_shmem_size());
	RequestNamedLWLockTranche(QUOTA_TRANCHE, 1);
}

void
quota_attach_shmem(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("pg_factory quotas", quota_shmem_size(), &found);
	if (!found)
	{
		memset(shared, 0, quota_shmem_size());
		shared->lock = &GetNamedLWLockTranche(QUOTA_TRANCHE)->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
quota_count_from(Quota quota, const char *sql)
{
	history[quota] = sql;
}

void
quota_counted_by(Quota quota, const char *sql)
{
	census[quota] = sql;
}

/* --- months --------------------------------------------------------------------------- */

/* Midnight of the first of a month, so many months after that of now. */
static TimestampTz
month_of(TimestampTz now, int later)
{
	struct pg_tm tm;
	fsec_t fraction;
	int offset;
	const char *zone_name;
	TimestampTz midnight;

	if (timestamp2tm(now, &offset, &tm, &fraction, &zone_name, log_timezone) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("timestamp out of range")));
	tm.tm_mon += later;
	if (tm.tm_mon > MONTHS_PER_YEAR)
	{
		tm.tm_mon -= MONTHS_PER_YEAR;
		tm.tm_year++;
	}
	tm.tm_mday = 1;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	offset = DetermineTimeZoneOffset(&tm, log_timezone);
	if (tm2timestamp(&tm, 0, &offset, &midnight) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("timestamp out of range")));
	return midnight;
}

/* The caller holds the lock.  Jobs that wait or run do so across the month's end. */
static void
begin_month(QuotaSlot *slot, TimestampTz now)
{
	slot->month_start = month_of(now, 0);
	slot->counted_since = now;
	for (int i = 0; i < QUOTA_COUNT; i++)
		if (i != QUOTA_JOBS)
		{
			pg_atomic_write_u64(&slot->used[i], 0);
			pg_atomic_clear_flag(&slot->loaded[i]);
			pg_atomic_clear_flag(&slot->logged[i]);
		}
	pg_atomic_write_u64(&slot->month_end, (uint64) month_of(now, 1));
}

/* --- slots ------------------------------------------------------------------------------ */

static void
begin_slot(QuotaSlot *slot, const char *name, TimestampTz now)
{
	slot->database = MyDatabaseId;
	strlcpy(slot->name, name, sizeof(slot->name));
	pg_atomic_init_u64(&slot->month_end, 0);
	for (int i = 0; i < QUOTA_COUNT; i++)
	{
		pg_atomic_init_u64(&slot->used[i], 0);
		pg_atomic_init_flag(&slot->loaded[i]);
		pg_atomic_init_flag(&slot->logged[i]);
	}
	begin_month(slot, now);
}

static bool
is_free(const QuotaSlot *slot)
{
	return !OidIsValid(slot->database) ||
		   !SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(slot->database));
}

/* The tenant's slot, or NULL where all are taken. */
static QuotaSlot *
find_slot(const char *name, TimestampTz now)
{
	QuotaSlot *free = NULL;

	for (int i = 0; i < max_tenants; i++)
	{
		QuotaSlot *slot = &shared->slots[i];

		if (slot->database == MyDatabaseId && strcmp(slot->name, name) == 0)
			return slot;
		if (free == NULL && !OidIsValid(slot->database))
			free = slot;
	}
	/* Only when there is no other: it asks the catalogue. */
	for (int i = 0; free == NULL && i < max_tenants; i++)
		if (is_free(&shared->slots[i]))
			free = &shared->slots[i];
	if (free != NULL)
		begin_slot(free, name, now);
	return free;
}

static QuotaSlot *
slot_of(Tenant *tenant, TimestampTz now)
{
	if (tenant->slot != NULL &&
		(uint64) now < pg_atomic_read_u64(&tenant->slot->month_end))
		return tenant->slot;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (tenant->slot == NULL)
		tenant->slot = find_slot(tenant->name, now);
	if (tenant->slot != NULL &&
		(uint64) now >= pg_atomic_read_u64(&tenant->slot->month_end))
	{
		begin_month(tenant->slot, now);
		memset(tenant->warned, 0, sizeof(tenant->warned));
	}
	LWLockRelease(shared->lock);
	return tenant->slot;
}

/* --- what was used before we counted ------------------------------------------------------ */

static int64
count_history(const Tenant *tenant, Quota quota, const QuotaSlot *slot)
{
	Oid types[] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};
	Datum values[] = {CStringGetTextDatum(tenant->name),
					  TimestampTzGetDatum(slot->month_start),
					  TimestampTzGetDatum(slot->counted_since),
					  Int64GetDatum(tenant->limits[quota])};
	HouseRights saved;
	bool isnull;
	int64 used;

	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_with_args(history[quota], lengthof(types), types, values, NULL, true,
							  0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not count what tenant \"%s\" has used", tenant->name);
	used = DatumGetInt64(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	house_leave(&saved);
	return isnull ? 0 : used;
}

static void
load_history(const Tenant *tenant, Quota quota, QuotaSlot *slot)
{
	int64 used;

	if (history[quota] == NULL || !pg_atomic_unlocked_test_flag(&slot->loaded[quota]))
		return;
	used = count_history(tenant, quota, slot);
	/* Of several that counted, one adds. */
	if (pg_atomic_test_set_flag(&slot->loaded[quota]))
		pg_atomic_fetch_add_u64(&slot->used[quota], used);
}

/* --- taking ----------------------------------------------------------------------------------- */

static char *
exceeded_reason(const Tenant *tenant, Quota quota)
{
	return psprintf("tenant \"%s\" has used all of its " INT64_FORMAT " %s", tenant->name,
					tenant->limits[quota], quota_table[quota].unit);
}

static const char *
exceeded_hint(Quota quota)
{
	if (quota == QUOTA_JOBS)
		return "Wait until one of them is done, or ask your administrator.";
	return psprintf("Ask your administrator to raise %s with factory.alter_tenant(), or "
					"wait for the next month.",
					quota_table[quota].name);
}

/*
 * From 80 % on each session is told once, and the server's log once by whoever comes
 * first.  Where it has become less again (a raised quota, jobs that are done), the
 * next time is news again.
 */
static void
warn_once(Tenant *tenant, QuotaSlot *slot, Quota quota, int64 used)
{
	int64 limit = tenant->limits[quota];
	int64 mark = limit - limit / QUOTA_WARNING_PART;
	char *text;

	if (used < mark)
	{
		tenant->warned[quota] = false;
		/* Others may have taken more meanwhile, and told. */
		if (!pg_atomic_unlocked_test_flag(&slot->logged[quota]) &&
			(int64) pg_atomic_read_u64(&slot->used[quota]) < mark)
			pg_atomic_clear_flag(&slot->logged[quota]);
		return;
	}
	if (tenant->warned[quota])
		return;
	tenant->warned[quota] = true;
	text = psprintf("tenant \"%s\" has used " INT64_FORMAT " of its " INT64_FORMAT " %s",
					tenant->name, used, limit, quota_table[quota].unit);
	if (pg_atomic_test_set_flag(&slot->logged[quota]))
		ereport(LOG_SERVER_ONLY, (errcode(ERRCODE_WARNING), errmsg_internal("%s", text)));
	ereport(WARNING_CLIENT_ONLY,
			(errcode(ERRCODE_WARNING), errmsg_internal("%s", text),
			 errhint("At the limit further ones are refused; view factory.tenant_usage "
					 "shows how far it is.")));
	pfree(text);
}

/* The slot of a tenant that has such a quota, with its history in it; or NULL. */
static QuotaSlot *
limited_slot(Tenant *tenant, Quota quota, QuotaSlot *slot)
{
	if (tenant->limits[quota] == QUOTA_NONE)
		return NULL;
	if (slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("quota of tenant \"%s\" cannot be kept", tenant->name),
				 errdetail("All %d places for counting tenants are taken.", max_tenants),
				 errhint("Raise factory.max_tenants and restart the server.")));
	load_history(tenant, quota, slot);
	return slot;
}

static void refuse(const Tenant *tenant, Quota quota) __attribute__((noreturn));

static void
refuse(const Tenant *tenant, Quota quota)
{
	ereport(ERROR, (errcode(ERRCODE_FACTORY_QUOTA_EXCEEDED),
					errmsg_internal("%s", exceeded_reason(tenant, quota)),
					errhint("%s", exceeded_hint(quota))));
}

void
quota_take(Quota quota, int64 amount, TimestampTz now)
{
	Tenant *tenant = tenant_session();
	QuotaSlot *slot = slot_of(tenant, now);
	int64 used;

	if (limited_slot(tenant, quota, slot) == NULL)
	{
		if (slot != NULL)
			pg_atomic_fetch_add_u64(&slot->used[quota], amount);
		return;
	}
	used = (int64) pg_atomic_fetch_add_u64(&slot->used[quota], amount) + amount;
	if (used > tenant->limits[quota])
	{
		pg_atomic_fetch_sub_u64(&slot->used[quota], amount);
		refuse(tenant, quota);
	}
	warn_once(tenant, slot, quota, used);
}

int64
quota_limit(Quota quota)
{
	return tenant_session()->limits[quota];
}

void
quota_check(Quota quota, int64 used, TimestampTz now)
{
	Tenant *tenant = tenant_session();
	QuotaSlot *slot = limited_slot(tenant, quota, slot_of(tenant, now));

	if (slot == NULL)
		return;
	pg_atomic_write_u64(&slot->used[quota], (uint64) used);
	if (used > tenant->limits[quota])
		refuse(tenant, quota);
	warn_once(tenant, slot, quota, used);
}

char *
quota_obstacle(Quota quota, const char **hint)
{
	Tenant *tenant = tenant_session();
	QuotaSlot *slot = limited_slot(tenant, quota, slot_of(tenant, clock_now()));
	int64 used;

	if (slot == NULL)
		return NULL;
	used = (int64) pg_atomic_read_u64(&slot->used[quota]);
	if (used < tenant->limits[quota])
	{
		warn_once(tenant, slot, quota, used);
		return NULL;
	}
	*hint = exceeded_hint(quota);
	return exceeded_reason(tenant, quota);
}

void
quota_add(Quota quota, int64 amount)
{
	QuotaSlot *slot = slot_of(tenant_session(), clock_now());

	if (slot != NULL)
		pg_atomic_fetch_add_u64(&slot->used[quota], (uint64) amount);
}

/* --- for SQL ----------------------------------------------------------------------------------- */

#define USAGE_COLUMNS 5

FACTORY_FUNCTION(factory_quota_usage);

static void
put_usage(ReturnSetInfo *result, QuotaSlot *slot, Quota quota)
{
	bool loaded = !pg_atomic_unlocked_test_flag(&slot->loaded[quota]);
	bool nulls[USAGE_COLUMNS] = {0};
	Datum values[USAGE_COLUMNS] = {
		CStringGetTextDatum(slot->name), CStringGetTextDatum(quota_table[quota].name),
		Int64GetDatum((int64) pg_atomic_read_u64(&slot->used[quota])),
		TimestampTzGetDatum(slot->month_start),
		TimestampTzGetDatum(loaded ? slot->month_start : slot->counted_since)};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* What a table counts, it counts for each tenant at this moment. */
static void
put_census(ReturnSetInfo *result, Quota quota)
{
	HouseRights saved;

	house_enter_for_all(&saved);
	SPI_connect();
	if (SPI_execute(census[quota], true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", census[quota]);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		char *tenant = SPI_getvalue(row, SPI_tuptable->tupdesc, 1);
		bool nulls[USAGE_COLUMNS] = {false, false, false, true, true};
		Datum values[USAGE_COLUMNS] = {0};

		if (!tenant_may_see(tenant))
			continue;
		values[0] = CStringGetTextDatum(tenant);
		values[1] = CStringGetTextDatum(quota_table[quota].name);
		values[2] = SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &nulls[2]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	SPI_finish();
	house_leave(&saved);
}

/* What each tenant of this database has used since we count, as far as the caller may see. */
Datum
factory_quota_usage(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int quota = 0; quota < QUOTA_COUNT; quota++)
	{
		if (census[quota] != NULL)
			put_census(result, quota);
		else
			for (int i = 0; i < max_tenants; i++)
				if (shared->slots[i].database == MyDatabaseId &&
					tenant_may_see(shared->slots[i].name))
					put_usage(result, &shared->slots[i], quota);
	}
	return (Datum) 0;
}
