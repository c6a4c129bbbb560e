/*
 * judgment_sql.c
 *		The room's door to SQL, and its settings.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/activity.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/months.h"
#include "base/quota.h"
#include "base/settings.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "judgment/analysis.h"
#include "judgment/dependency.h"
#include "judgment/judgment.h"
#include "judgment/judgment_int.h"
#include "judgment/limits.h"
#include "judgment/result.h"
#include "judgment/rule_index.h"
#include "judgment/store.h"
#include "metrics/metrics.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

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
	{"factory.dangerous_actions",
	 "Sets the recommended actions that need a person's approval.", SETTING_STRING,
	 &dangerous_actions,
	 .boot_text = "stop_line, line_stop, stop_production, production_stop, "
				  "halt_equipment, equipment_halt",
	 .context = PGC_SUSET, .assign_text = dangerous_actions_assign,
	 .detail = "A list of names separated by commas; letters and digits count."},
	{"factory.enable_rule_index",
	 "Enables the index that decides most rules unevaluated.", SETTING_BOOL,
	 &rule_index_enabled, .boot = true, .context = PGC_USERSET,
	 .flags = GUC_NOT_IN_SAMPLE,
	 .detail = "Answers are the same without; it is off to compare and to measure."},
	{"factory.judgment_cache_ttl",
	 "Sets how long a model's answer to a judgment may be given again; 0 asks each time.",
	 SETTING_INT, &judgment_cache_ttl_ms, .boot = 300000, .min = 0, .max = 86400000,
	 .context = PGC_SUSET, .flags = GUC_UNIT_MS,
	 .detail = "A decision's own cache_ttl goes before it."},
	{"factory.judgment_max_condition",
	 "Sets the longest condition, let value or computed outcome of a definition.",
	 SETTING_INT, &judgment_limits.condition_bytes, .boot = 64 * 1024, .min = 16,
	 .max = 16 * 1024 * 1024, .context = PGC_SUSET, .flags = GUC_UNIT_BYTE},
	{"factory.judgment_max_definition", "Sets the largest definition that is saved.",
	 SETTING_INT, &judgment_limits.definition_bytes, .boot = 16 * 1024 * 1024,
	 .min = 1024, .max = 256 * 1024 * 1024, .context = PGC_SUSET, .flags = GUC_UNIT_BYTE},
	{"factory.judgment_max_depth",
	 "Sets how deep objects and lists may be nested in definitions and inputs.",
	 SETTING_INT, &judgment_limits.depth, .boot = 64, .min = 8, .max = 1000,
	 .context = PGC_SUSET},
	{"factory.judgment_max_input", "Sets the largest input document that is judged.",
	 SETTING_INT, &judgment_limits.input_bytes, .boot = 1024 * 1024, .min = 1024,
	 .max = 256 * 1024 * 1024, .context = PGC_SUSET, .flags = GUC_UNIT_BYTE},
	{"factory.judgment_max_inputs",
	 "Sets the most inputs, and the most let values, that a decision may have.",
	 SETTING_INT, &judgment_limits.inputs, .boot = 500, .min = 1, .max = 1600,
	 .context = PGC_SUSET},
	{"factory.judgment_max_rules", "Sets the most rules that a version may have.",
	 SETTING_INT, &judgment_limits.rules, .boot = 10000, .min = 1, .max = 100000,
	 .context = PGC_SUSET},
	{"factory.judgment_time_limit",
	 "Sets how long the conditions of one judgment may be evaluated.", SETTING_INT,
	 &judgment_time_limit_ms, .boot = 500, .min = 0, .max = 60000, .context = PGC_SUSET,
	 .flags = GUC_UNIT_MS, .detail = "0 sets no limit."},
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
	{"factory.require_second_person",
	 "Enables that who saved a version may not deploy it, nor who had something judged "
	 "decide on its review.",
	 SETTING_BOOL, &require_second_person, .boot = false, .context = PGC_SUSET},
	{"factory.review_confidence",
	 "Sets the confidence below which a judgment is put before a person.", SETTING_REAL,
	 &review_confidence, .boot = 0.7, .min = 0, .max = 1, .context = PGC_SUSET},
	{"factory.review_critical",
	 "Enables that critical judgments are put before a person.", SETTING_BOOL,
	 &review_critical, .boot = true, .context = PGC_SUSET},
	{"factory.review_deadline", "Sets how long a person has for a review; 0 has no end.",
	 SETTING_INT, &review_deadline_minutes, .boot = 240, .min = 0, .max = 366 * 24 * 60,
	 .context = PGC_SUSET, .flags = GUC_UNIT_MIN},
	{"factory.review_reminder",
	 "Sets how long before its deadline listeners are reminded of a review; 0 reminds "
	 "nobody.",
	 SETTING_INT, &review_reminder_minutes, .boot = 60, .min = 0, .max = 366 * 24 * 60,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MIN},
	{"factory.rule_index_memory",
	 "Sets how much memory the bitmaps of one decision's rule index may take.",
	 SETTING_INT, &rule_index_memory_kb, .boot = 8 * 1024, .min = 64, .max = 1024 * 1024,
	 .context = PGC_SUSET, .flags = GUC_UNIT_KB,
	 .detail = "With less, more rules are tested one by one; answers are the same."},
};

void
judgment_define_settings(void)
{
	settings_define(settings, lengthof(settings));
	judgment_log_register();
	dependency_watch();
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

/* --- arguments ---------------------------------------------------------------------- */

static char *
required_text(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be null", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static char *
optional_text(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static Jsonb *
required_doc(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be null", name)));
	return PG_GETARG_JSONB_P(number);
}

/* --- places that call ------------------------------------------------------------- */

/* What a place that calls keeps from one call to the next, in its FmgrInfo. */
typedef struct CallSite
{
	DecisionPin pin;
	DecisionPin canary;
	ResultShape result;
	bool takes_row; /* argument 2 is one */
} CallSite;

static CallSite *
call_site(FunctionCallInfo fcinfo)
{
	FmgrInfo *call = fcinfo->flinfo;
	CallSite *site = call->fn_extra;
	MemoryContext caller;

	if (site != NULL)
		return site;
	caller = MemoryContextSwitchTo(call->fn_mcxt);
	site = palloc0(sizeof(CallSite));
	result_shape_init(fcinfo, &site->result);
	MemoryContextSwitchTo(caller);
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
	char *name = required_text(fcinfo, 0, "decision");
	JudgeRequest request = {
		.input = required_doc(fcinfo, 1, "input"),
		.policy = optional_text(fcinfo, 2),
		.context = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4),
		.skip_cache = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5),
	};
	bool explain = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);
	CallSite *site = call_site(fcinfo);

	limit_input(name, request.input);
	return result_make(&site->result,
					   judge(decision_for_request(site, name, &request), &request),
					   explain);
}

FACTORY_FUNCTION(factory_judge_row);

Datum
factory_judge_row(PG_FUNCTION_ARGS)
{
	char *name = required_text(fcinfo, 0, "decision");
	JudgeRequest request = {.policy = optional_text(fcinfo, 2)};
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
	return result_make(&site->result,
					   judge(decision_for_request(site, name, &request), &request),
					   explain);
}

static void
put_compiled(const Decision *decision, void *set)
{
	ReturnSetInfo *result = set;
	int read = 0;
	Datum values[7];
	bool nulls[7] = {false};

	for (int i = 0; i < decision->rule_count; i++)
		read += decision->rules[i].ready;
	values[0] = CStringGetTextDatum(decision->name);
	values[1] = Int32GetDatum(decision->version);
	values[2] = Int32GetDatum(decision->rule_count);
	values[3] = Int32GetDatum(read);
	values[4] = BoolGetDatum(decision->rule_list != NULL);
	values[5] = Int64GetDatum(rule_index_size(decision));
	values[6] = Int64GetDatum(MemoryContextMemAllocated(decision->context, true));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

FACTORY_FUNCTION(factory_list_compiled_decisions);

Datum
factory_list_compiled_decisions(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	decisions_compiled(put_compiled, fcinfo->resultinfo);
	return (Datum) 0;
}

FACTORY_FUNCTION(factory_decide);

Datum
factory_decide(PG_FUNCTION_ARGS)
{
	char *name = required_text(fcinfo, 0, "decision");
	Jsonb *input = required_doc(fcinfo, 1, "input");
	CallSite *site = call_site(fcinfo);
	Decision *decision =
		decision_for_call(&site->pin, name, PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2));
	Judgment *judgment;

	limit_input(name, input);
	inputs_from_json(decision, input);
	judgment = judgment_decide(decision);
	judgment->log = "not written: decide() logs nothing";
	return result_make(&site->result, judgment, true);
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

/* --- versions ------------------------------------------------------------------------------ */

FACTORY_FUNCTION(factory_create_decision);

Datum
factory_create_decision(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(decision_create(required_text(fcinfo, 0, "name"),
									required_doc(fcinfo, 1, "definition"),
									optional_text(fcinfo, 2)));
}

FACTORY_FUNCTION(factory_save_version);

Datum
factory_save_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(decision_save(required_text(fcinfo, 0, "decision"),
								  required_doc(fcinfo, 1, "definition"),
								  required_text(fcinfo, 2, "changelog")));
}

FACTORY_FUNCTION(factory_lock_decision);

Datum
factory_lock_decision(PG_FUNCTION_ARGS)
{
	decision_lock(required_text(fcinfo, 0, "decision"));
	PG_RETURN_VOID();
}

typedef struct CheckRow
{
	const char *level;
	const char *rule;
	char *message;
	Jsonb *witness;
	int64 rows; /* -1: none */
} CheckRow;

static void
put_check_row(ReturnSetInfo *result, const CheckRow *row)
{
	Datum values[] = {CStringGetTextDatum(row->level),
					  row->rule ? CStringGetTextDatum(row->rule) : (Datum) 0,
					  CStringGetTextDatum(row->message),
					  row->witness ? JsonbPGetDatum(row->witness) : (Datum) 0,
					  Int64GetDatum(row->rows)};
	bool nulls[] = {false, row->rule == NULL, false, row->witness == NULL, row->rows < 0};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
put_problem(ReturnSetInfo *result, const Problem *problem)
{
	CheckRow row = {problem->level, problem->rule, NULL, NULL, -1};

	row.message = problem->hint ? psprintf("%s (at %s). %s", problem->message,
										   problem->path, problem->hint)
								: psprintf("%s (at %s)", problem->message, problem->path);
	put_check_row(result, &row);
}

static void
put_findings(ReturnSetInfo *result, Decision *decision, const char *query)
{
	List *findings = decision_analyse(decision);
	ListCell *cell;

	if (query != NULL)
		findings = decision_survey(decision, findings, query);
	foreach (cell, findings)
	{
		const Finding *finding = lfirst(cell);
		CheckRow row = {finding->level,
						finding->rule < 0 ? NULL : decision->rules[finding->rule].id,
						finding->message, finding->witness, finding->rows};

		put_check_row(result, &row);
	}
}

FACTORY_FUNCTION(factory_check_decision);

Datum
factory_check_decision(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Problems problems = {.collect = true};
	char *query = optional_text(fcinfo, 1);
	Decision *decision;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	decision = decision_compile("(unnamed)", 0, GetUserId(),
								required_doc(fcinfo, 0, "definition"), &problems);
	foreach (cell, problems.list)
		put_problem(result, lfirst(cell));
	if (decision == NULL)
		return (Datum) 0;
	put_findings(result, decision, query);
	decision_free(decision);
	return (Datum) 0;
}

/* --- invalidation ------------------------------------------------------------------------------ */

static char *
row_text(const TriggerData *trigger, const char *column)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);

	return SPI_getvalue(trigger->tg_trigtuple, desc, SPI_fnumber(desc, column));
}

FACTORY_FUNCTION(factory_deployment_changed);

/*
 * Trigger of factory.deployment: whoever changes it, by our functions, by hand, by a
 * restore or by replication, every backend reads anew what is in force, and what was
 * kept of the decision's answers goes at commit.
 */
Datum
factory_deployment_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"factory.deployment_changed\" can only be "
							   "called as a trigger")));
	trigger = (TriggerData *) fcinfo->context;
	CacheInvalidateRelcacheByRelid(RelationGetRelid(trigger->tg_relation));
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		cache_empty_at_commit(CACHE_JUDGMENT, row_text(trigger, "tenant_id"),
							  row_text(trigger, "decision"));
	else
		cache_empty_at_commit(CACHE_JUDGMENT, NULL, NULL);
	return PointerGetDatum(NULL);
}
