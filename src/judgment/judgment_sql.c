/*
 * judgment_sql.c
 *		The room's door to SQL, and its settings.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/activity.h"
#include "base/argument.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/months.h"
#include "base/quota.h"
#include "base/settings.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "judgment/judgment.h"
#include "judgment/judgment_int.h"
#include "judgment/result.h"
#include "metrics/metrics.h"
#include "miscadmin.h"
#include "rules/limits.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static const struct config_enum_entry log_modes[] = {{"async", LOG_ASYNC, false},
													 {"off", LOG_OFF, false},
													 {"sync", LOG_SYNC, false},
													 {NULL, 0, false}};

/* Read by the room's SQL. */
static int review_reminder_minutes;
static int log_retention_minutes;
static struct
{
	double accuracy;
	double error_rate;
	int interval_ms;
	int latency_ms;
	int lookback_s;
	int window_s;
	bool automatic;
} canary;
static struct
{
	double accuracy;
	double hit_rate;
	double negative;
} review_list;

static const Setting settings[] = {
	{"factory.canary_accuracy", "Sets the accuracy below which a canary is rolled back.",
	 SETTING_REAL, &canary.accuracy, .boot = 0.85, .min = 0, .max = 1,
	 .context = PGC_SIGHUP},
	{"factory.canary_auto_rollback",
	 "Enables that canaries are rolled back and promoted by themselves.", SETTING_BOOL,
	 &canary.automatic, .boot = true, .context = PGC_SIGHUP},
	{"factory.canary_error_rate",
	 "Sets the share of unknown results above which a canary is rolled back.",
	 SETTING_REAL, &canary.error_rate, .boot = 0.01, .min = 0, .max = 1,
	 .context = PGC_SIGHUP},
	{"factory.canary_interval", "Sets how often canaries are looked at.", SETTING_INT,
	 &canary.interval_ms, .boot = 10000, .min = 100, .max = 3600 * 1000,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MS},
	{"factory.canary_latency",
	 "Sets the 95th percentile of time above which a canary is rolled back.", SETTING_INT,
	 &canary.latency_ms, .boot = 2000, .min = 1, .max = INT_MAX, .context = PGC_SIGHUP,
	 .flags = GUC_UNIT_MS},
	{"factory.canary_lookback", "Sets how much of the past a canary is measured by.",
	 SETTING_INT, &canary.lookback_s, .boot = 300, .min = 1, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_S},
	{"factory.canary_window", "Sets after what time a good canary is promoted.",
	 SETTING_INT, &canary.window_s, .boot = 3600, .min = 1, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_S},
	{"factory.judgment_cache_ttl",
	 "Sets how long a model's answer to a judgment may be given again; 0 asks each time.",
	 SETTING_INT, &judgment_cache_ttl_ms, .boot = 300000, .min = 0, .max = 86400000,
	 .context = PGC_SUSET, .flags = GUC_UNIT_MS,
	 .detail = "A decision's own cache_ttl goes before it."},
	{"factory.log", "Sets how judgments are logged.", SETTING_ENUM, &judgment_log_mode,
	 .boot = LOG_SYNC, .context = PGC_SUSET, .choices = log_modes,
	 .detail = "sync writes each in the caller's transaction; async hands each to a "
			   "worker, whatever becomes of that transaction; off writes none."},
	{"factory.log_cached", "Enables rows in the log for judgments out of the cache.",
	 SETTING_BOOL, &judgment_log_cached, .boot = false, .context = PGC_SUSET,
	 .detail = "Without, such a judgment has the execution_id of the one it repeats."},
	{"factory.log_retention",
	 "Sets how long the judgment log is kept at least; 0 means for ever.", SETTING_INT,
	 &log_retention_minutes, .boot = 731 * 24 * 60, .min = 0, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MIN},
	{"factory.review_accuracy",
	 "Sets the accuracy below which a version is on the review list.", SETTING_REAL,
	 &review_list.accuracy, .boot = 0.8, .min = 0, .max = 1, .context = PGC_SUSET},
	{"factory.review_confidence",
	 "Sets the confidence below which a judgment is put before a person.", SETTING_REAL,
	 &review_confidence, .boot = 0.7, .min = 0, .max = 1, .context = PGC_SUSET},
	{"factory.review_critical",
	 "Enables that critical judgments are put before a person.", SETTING_BOOL,
	 &review_critical, .boot = true, .context = PGC_SUSET},
	{"factory.review_deadline", "Sets how long a person has for a review; 0 has no end.",
	 SETTING_INT, &review_deadline_minutes, .boot = 240, .min = 0, .max = 366 * 24 * 60,
	 .context = PGC_SUSET, .flags = GUC_UNIT_MIN},
	{"factory.review_hit_rate",
	 "Sets the share of judgments that rules decide below which a version is on the "
	 "review list.",
	 SETTING_REAL, &review_list.hit_rate, .boot = 0.5, .min = 0, .max = 1,
	 .context = PGC_SUSET},
	{"factory.review_negative",
	 "Sets the share of negative feedback above which a version is on the review list.",
	 SETTING_REAL, &review_list.negative, .boot = 0.2, .min = 0, .max = 1,
	 .context = PGC_SUSET},
	{"factory.review_reminder",
	 "Sets how long before its deadline listeners are reminded of a review; 0 reminds "
	 "nobody.",
	 SETTING_INT, &review_reminder_minutes, .boot = 60, .min = 0, .max = 366 * 24 * 60,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MIN},
};

void
judgment_define_settings(void)
{
	settings_define(settings, lengthof(settings));
	judgment_log_register();
	escalation_register();
	months_keep(&(
		MonthlyLog){"judgment_log", "SELECT factory.make_log_months()",
					"SELECT factory.drop_log_before() "
					"WHERE pg_catalog.current_setting('factory.log_retention') <> '0'"});
	quota_count_from(QUOTA_JUDGMENTS,
					 "SELECT count(*) FROM (SELECT FROM factory.judgment_log "
					 "WHERE tenant_id = $1 AND created_at >= $2 AND created_at < $3 "
					 "LIMIT $4) AS judged");
}

/* --- places that call ------------------------------------------------------------- */

/* What a place that calls keeps from one call to the next, in its FmgrInfo. */
typedef struct CallSite
{
	DecisionPin pin;
	DecisionPin canary;
	const ResultShape *result;
	bool takes_row; /* argument 2 is one */
} CallSite;

static CallSite *
call_site(FunctionCallInfo fcinfo)
{
	FmgrInfo *call = fcinfo->flinfo;
	CallSite *site = call->fn_extra;
	Oid type;

	if (site != NULL)
		return site;
	type = get_fn_expr_rettype(call);
	site = MemoryContextAllocZero(call->fn_mcxt, sizeof(CallSite));
	site->result = result_shape(OidIsValid(type) ? type : get_func_rettype(call->fn_oid));
	call->fn_extra = site;
	return site;
}

/* --- judging ----------------------------------------------------------------------------- */

typedef enum Outcome
{
	OUTCOME_SUCCESS,
	OUTCOME_UNKNOWN,
	OUTCOME_DEGRADED,
	OUTCOME_COUNT
} Outcome;

static const char *const outcome_labels[OUTCOME_COUNT] = {
	[OUTCOME_SUCCESS] = "success",
	[OUTCOME_UNKNOWN] = "unknown",
	[OUTCOME_DEGRADED] = "degraded",
};

/* Where a decision's judgments are counted, found at the first of each kind. */
typedef struct JudgmentSeries
{
	struct MetricSeries *requests;
	struct MetricSeries *executions[OUTCOME_COUNT][POLICY_COUNT];
	struct MetricSeries *durations[POLICY_COUNT];
} JudgmentSeries;

static JudgmentSeries *
judgment_series(Decision *decision)
{
	if (decision->series == NULL)
	{
		decision->series =
			MemoryContextAllocZero(decision->context, sizeof(JudgmentSeries));
		decision->series->requests =
			metric_series(METRIC_JUDGMENT_REQUESTS, METRIC_NO_LABELS);
	}
	return decision->series;
}

void
judgment_count_request(Decision *decision)
{
	metric_series_add(judgment_series(decision)->requests, 1);
}

void
judgment_count_end(const Judgment *judgment)
{
	const char *name = judgment->decision->name;
	JudgmentSeries *series = judgment_series(judgment->decision);
	Outcome outcome = judgment->degraded != NULL ? OUTCOME_DEGRADED
					  : judgment->known          ? OUTCOME_SUCCESS
												 : OUTCOME_UNKNOWN;
	struct MetricSeries **executions = &series->executions[outcome][judgment->done];
	struct MetricSeries **duration = &series->durations[judgment->done];

	if (*executions == NULL)
		*executions =
			metric_series(METRIC_JUDGMENT_EXECUTIONS,
						  METRIC_LABELS(name, outcome_labels[outcome], judgment->method));
	if (*duration == NULL)
		*duration = metric_series(METRIC_JUDGMENT_DURATION,
								  METRIC_LABELS(name, judgment->method));
	metric_series_add(*executions, 1);
	metric_series_observe(*duration, judgment->elapsed_ms / 1000.0);
}

void
judgment_count_error(const char *decision, JudgmentPolicy policy)
{
	char method[NAMEDATALEN];

	strlcpy(method, judgment_policy_names[policy], sizeof(method));
	for (char *c = method; *c; c++)
		*c = pg_tolower((unsigned char) *c);
	metric_add(METRIC_JUDGMENT_EXECUTIONS, 1, METRIC_LABELS(decision, "error", method));
}

typedef struct JudgeRequest
{
	Jsonb *input; /* or */
	HeapTupleHeader row;
	char *policy; /* NULL: the decision's own */
	Jsonb *context;
	bool skip_cache;
} JudgeRequest;

static Judgment *
judge_and_log(Decision *decision, const JudgeRequest *request, JudgmentPolicy policy)
{
	Judgment *judgment;

	if (request->input != NULL)
		inputs_from_json(decision, request->input);
	else
		inputs_from_row(decision, request->row);
	judgment = judgment_begin(decision, policy);
	if (house_is_enabled())
		quota_take(QUOTA_JUDGMENTS, 1, judgment->created_at);
	judgment_make(judgment, request->context,
				  request->skip_cache ? RECALL_AFRESH : RECALL_ALLOWED);
	judgment_log(judgment, request->input);
	return judgment;
}

static Judgment *
judge(Decision *decision, const JudgeRequest *request)
{
	JudgmentPolicy policy =
		request->policy ? judgment_policy_from_name(request->policy) : decision->policy;
	Judgment *volatile judgment = NULL;

	judgment_count_request(decision);
	metric_active_begin(METRIC_JUDGMENT_ACTIVE);
	PG_TRY();
	{
		judgment = judge_and_log(decision, request, policy);
	}
	PG_CATCH();
	{
		metric_active_end(METRIC_JUDGMENT_ACTIVE);
		judgment_count_error(decision->name, policy);
		PG_RE_THROW();
	}
	PG_END_TRY();
	metric_active_end(METRIC_JUDGMENT_ACTIVE);
	judgment_count_end(judgment);
	return judgment;
}

/* The version in force, or the one that is tried on inputs like this. */
static Decision *
decision_for_request(CallSite *site, const char *name, const JudgeRequest *request)
{
	Decision *in_force = decision_for_call(&site->pin, name, 0);
	int version = canary_version(&site->pin, request->input, request->row);

	return version == 0 ? in_force : decision_for_call(&site->canary, name, version);
}

FACTORY_FUNCTION(factory_judge);

Datum
factory_judge(PG_FUNCTION_ARGS)
{
	char *name = argument_text(fcinfo, 0, "decision");
	JudgeRequest request = {
		.input = argument_doc(fcinfo, 1, "input"),
		.policy = argument_text_or_null(fcinfo, 2),
		.context = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4),
		.skip_cache = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5),
	};
	bool explain = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);
	CallSite *site = call_site(fcinfo);

	limit_input(name, request.input);
	return result_make(site->result,
					   judge(decision_for_request(site, name, &request), &request),
					   explain);
}

FACTORY_FUNCTION(factory_judge_row);

Datum
factory_judge_row(PG_FUNCTION_ARGS)
{
	char *name = argument_text(fcinfo, 0, "decision");
	JudgeRequest request = {.policy = argument_text_or_null(fcinfo, 2)};
	bool explain = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);
	CallSite *site = call_site(fcinfo);

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (!site->takes_row && !type_is_rowtype(get_fn_expr_argtype(fcinfo->flinfo, 1)))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("argument \"input\" of judge_row must be a row"),
						errhint("Write factory.judge_row('decision', t) FROM table AS t; "
								"factory.judge takes JSON.")));
	site->takes_row = true;
	request.row = PG_GETARG_HEAPTUPLEHEADER(1);
	return result_make(site->result,
					   judge(decision_for_request(site, name, &request), &request),
					   explain);
}

FACTORY_FUNCTION(factory_decide);

Datum
factory_decide(PG_FUNCTION_ARGS)
{
	char *name = argument_text(fcinfo, 0, "decision");
	Jsonb *input = argument_doc(fcinfo, 1, "input");
	CallSite *site = call_site(fcinfo);
	Decision *decision =
		decision_for_call(&site->pin, name, PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2));
	Judgment *judgment;

	limit_input(name, input);
	inputs_from_json(decision, input);
	judgment = judgment_decide(decision);
	judgment->log = "not written: decide() logs nothing";
	return result_make(site->result, judgment, true);
}

/*
 * {status, result} of the rules alone, for comparing many.  An input that the version
 * does not take is an outcome too; its error was raised before anything was begun, so
 * that nothing needs to be undone.
 */
static Datum
brief_datum(const char *status, const char *result)
{
	Datum values[] = {CStringGetTextDatum(status), CStringGetTextDatum(result)};

	return PointerGetDatum(
		construct_array(values, lengthof(values), TEXTOID, -1, false, TYPALIGN_INT));
}

static bool
takes_input(Decision *decision, Jsonb *input)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool taken = true;

	PG_TRY();
	{
		inputs_from_json(decision, input);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_FACTORY_INVALID_INPUT)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		taken = false;
	}
	PG_END_TRY();
	return taken;
}

FACTORY_FUNCTION(factory_decide_brief);

Datum
factory_decide_brief(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	DecisionPin *pin = fcinfo->flinfo->fn_extra;
	Decision *decision;
	Judgment *judgment;

	if (pin == NULL)
		pin = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(DecisionPin));
	decision = decision_for_call(pin, name, PG_GETARG_INT32(2));
	if (!takes_input(decision, PG_GETARG_JSONB_P(1)))
		return brief_datum("invalid", "unknown");
	judgment = judgment_decide(decision);
	return brief_datum(judgment->known && judgment->verdict.status
						   ? judgment->verdict.status
						   : "unknown",
					   judgment->result ? judgment->result : "unknown");
}
