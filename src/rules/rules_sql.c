/*
 * rules_sql.c
 *		The room's door to SQL, and its settings.
 */
#include "postgres.h"

#include "base/argument.h"
#include "base/base.h"
#include "base/errors.h"
#include "base/settings.h"
#include "cache/cache.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "llm/llm.h"
#include "miscadmin.h"
#include "rules/analysis.h"
#include "rules/dependency.h"
#include "rules/limits.h"
#include "rules/rule_index.h"
#include "rules/rules_int.h"
#include "rules/store.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

static const Setting settings[] = {
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
	{"factory.require_second_person",
	 "Enables that who saved a version may not deploy it, nor who had something judged "
	 "decide on its review.",
	 SETTING_BOOL, &require_second_person, .boot = false, .context = PGC_SUSET},
	{"factory.rule_index_memory",
	 "Sets how much memory the bitmaps of one decision's rule index may take.",
	 SETTING_INT, &rule_index_memory_kb, .boot = 8 * 1024, .min = 64, .max = 1024 * 1024,
	 .context = PGC_SUSET, .flags = GUC_UNIT_KB,
	 .detail = "With less, more rules are tested one by one; answers are the same."},
};

void
rules_define_settings(void)
{
	settings_define(settings, lengthof(settings));
	dependency_watch();
}

/* --- versions ------------------------------------------------------------------------------ */

FACTORY_FUNCTION(factory_create_decision);

Datum
factory_create_decision(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(decision_create(argument_text(fcinfo, 0, "name"),
									argument_doc(fcinfo, 1, "definition"),
									argument_text_or_null(fcinfo, 2)));
}

FACTORY_FUNCTION(factory_save_version);

Datum
factory_save_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(decision_save(argument_text(fcinfo, 0, "decision"),
								  argument_doc(fcinfo, 1, "definition"),
								  argument_text(fcinfo, 2, "changelog")));
}

FACTORY_FUNCTION(factory_lock_decision);

Datum
factory_lock_decision(PG_FUNCTION_ARGS)
{
	decision_lock(argument_text(fcinfo, 0, "decision"));
	PG_RETURN_VOID();
}

FACTORY_FUNCTION(factory_hold_dependencies);

Datum
factory_hold_dependencies(PG_FUNCTION_ARGS)
{
	decision_hold(argument_text(fcinfo, 0, "decision"), PG_GETARG_INT32(1));
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

/* Models may be made later, so this is no error. */
static void
put_ladder_fault(ReturnSetInfo *result, const Decision *decision)
{
	CheckRow row = {"warning", NULL, NULL, NULL, -1};

	if (!decision->prompt_ladder)
		return;
	row.message = llm_ladder_fault(decision->prompt_model);
	if (row.message != NULL)
		put_check_row(result, &row);
}

FACTORY_FUNCTION(factory_check_decision);

Datum
factory_check_decision(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Problems problems = {.collect = true};
	char *query = argument_text_or_null(fcinfo, 1);
	Decision *decision;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	decision = decision_compile("(unnamed)", 0, GetUserId(),
								argument_doc(fcinfo, 0, "definition"), &problems);
	foreach (cell, problems.list)
		put_problem(result, lfirst(cell));
	if (decision == NULL)
		return (Datum) 0;
	put_ladder_fault(result, decision);
	put_findings(result, decision, query);
	decision_free(decision);
	return (Datum) 0;
}

/* --- what this backend keeps ------------------------------------------------------ */

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
