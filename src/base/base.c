/*
 * base.c
 *		The ground floor's settings and the clock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/activity.h"
#include "base/audit.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/settings.h"
#include "base/tenant_int.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

static char *frozen_clock_text = NULL;
static char *plant_zone_name = NULL;

/* What factory.frozen_clock says; 0 lets the clock run. */
static TimestampTz frozen_clock = 0;

/*
 * A moment in ISO 8601 with its offset ("2026-01-15 09:00:00+09").  Zone names
 * would need catalogue access, which a check hook at server start has not got.
 */
static bool
clock_check_frozen(char **text, void **extra, GucSource source)
{
	char work[MAXDATELEN + MAXDATEFIELDS];
	char *field[MAXDATEFIELDS];
	int field_type[MAXDATEFIELDS];
	int field_count, kind, offset;
	fsec_t fraction;
	struct pg_tm tm;
	TimestampTz *moment;
	TimestampTz result = 0;

	if (*text != NULL && **text != '\0')
	{
		if (ParseDateTime(*text, work, sizeof(work), field, field_type, MAXDATEFIELDS,
						  &field_count) != 0 ||
			compat_decode_datetime(field, field_type, field_count, &kind, &tm, &fraction,
								   &offset) != 0 ||
			kind != DTK_DATE || tm2timestamp(&tm, fraction, &offset, &result) != 0)
		{
			GUC_check_errdetail("\"%s\" is not a point in time.", *text);
			GUC_check_errhint("Write it like 2026-01-15 09:00:00+09.");
			return false;
		}
	}
	moment = (TimestampTz *) compat_guc_malloc(sizeof(TimestampTz));
	if (moment == NULL)
		return false;
	*moment = result;
	*extra = moment;
	return true;
}

static void
clock_assign_frozen(const char *text, void *extra)
{
	frozen_clock = *(TimestampTz *) extra;
}

static const Setting settings[] = {
	{"factory.frozen_clock", "Sets the time at which the clock stands still, for tests.",
	 SETTING_STRING, &frozen_clock_text, .boot_text = "", .context = PGC_SUSET,
	 .flags = GUC_NOT_IN_SAMPLE, .check_text = clock_check_frozen,
	 .assign_text = clock_assign_frozen},
	{"factory.timezone", "Sets the plant's time zone; empty means the session's.",
	 SETTING_STRING, &plant_zone_name, .boot_text = "", .context = PGC_USERSET},
};

void
base_define_settings(void)
{
	settings_define(settings, lengthof(settings));
	tenant_define_settings();
	activity_define_settings();
	audit_define_settings();
	quota_define_settings();
}

TimestampTz
clock_now(void)
{
	return frozen_clock != 0 ? frozen_clock : GetCurrentTimestamp();
}

TimestampTz
clock_statement(void)
{
	return frozen_clock != 0 ? frozen_clock : GetCurrentStatementStartTimestamp();
}

pg_tz *
clock_zone(const char *name)
{
	pg_tz *zone = pg_tzset(name);

	if (zone == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized", name),
				 errhint("View pg_timezone_names lists the names, such as Asia/Seoul.")));
	return zone;
}

const char *
clock_plant_zone(void)
{
	if (plant_zone_name != NULL && plant_zone_name[0] != '\0')
		return plant_zone_name;
	return pg_get_timezone_name(session_timezone);
}

FACTORY_FUNCTION(factory_clock_now);

Datum
factory_clock_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(clock_now());
}
