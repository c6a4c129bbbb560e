/*
 * model.c
 *		Questions the catalogue leaves open, put to a language model.
 *
 * The model sees the catalogue and the columns of its datasets, never a row.  It
 * answers with a plan, which is compiled as any other, or with SQL, which the
 * guard judges; what is wrong goes back to it, at most MODEL_ROUNDS times.  It is
 * not trusted: whatever it says, no more runs than the guard lets run.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "bi/bi_int.h"
#include "catalog/pg_attribute.h"
#include "lib/stringinfo.h"
#include "llm/llm.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define MODEL_ROUNDS 3
#define MODEL_MAX_COLUMNS 60

static const char *const model_rules =
	"You turn a question about a factory into a plan over the catalogue below.\n"
	"Use only names that stand there. Prefer \"metrics\" with \"dimensions\", "
	"\"filters\" and a "
	"period; write \"sql\" only where they cannot express the question: one PostgreSQL "
	"SELECT "
	"over the relations below, no locking, no recursion.\n"
	"\"from\" and \"until\" are dates, until is exclusive. \"The last N days\" are the N "
	"whole "
	"days before today.\n"
	"Where the question is unclear, or cannot be answered from this, leave the rest "
	"empty and ask "
	"in \"question_back\", in the language of the question. Never invent a number, a "
	"column or a "
	"value.\n";

static const char *const model_answer_schema =
	"{\"type\": \"object\", \"additionalProperties\": false,"
	" \"required\": [\"metrics\", \"dimensions\", \"filters\", \"from\", \"until\","
	" \"granularity\", \"sql\", \"question_back\"],"
	" \"properties\": {"
	"  \"metrics\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}},"
	"  \"dimensions\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}},"
	"  \"filters\": {\"type\": \"array\", \"items\": {\"type\": \"object\","
	"   \"additionalProperties\": false, \"required\": [\"field\", \"values\"],"
	"   \"properties\": {\"field\": {\"type\": \"string\"},"
	"    \"values\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}}}}},"
	"  \"from\": {\"type\": [\"string\", \"null\"]},"
	"  \"until\": {\"type\": [\"string\", \"null\"]},"
	"  \"granularity\": {\"type\": \"string\","
	"   \"enum\": [\"none\", \"hour\", \"day\", \"week\", \"month\"]},"
	"  \"sql\": {\"type\": [\"string\", \"null\"]},"
	"  \"question_back\": {\"type\": [\"string\", \"null\"]}}}";

/* --- what the model is told --------------------------------------------------- */

static void
tell_columns(StringInfo prompt, Oid relation)
{
	for (AttrNumber column = 1; column <= MODEL_MAX_COLUMNS; column++)
	{
		HeapTuple tuple =
			SearchSysCache2(ATTNUM, ObjectIdGetDatum(relation), Int16GetDatum(column));
		Form_pg_attribute attribute;

		if (!HeapTupleIsValid(tuple))
			break;
		attribute = (Form_pg_attribute) GETSTRUCT(tuple);
		if (!attribute->attisdropped)
			appendStringInfo(prompt, "%s%s %s", column > 1 ? ", " : "",
							 NameStr(attribute->attname),
							 format_type_be(attribute->atttypid));
		ReleaseSysCache(tuple);
	}
}

static char *
model_prompt(QuestionPlan *plan)
{
	Catalog *catalog = plan->catalog;
	StringInfoData prompt;
	ListCell *cell;

	initStringInfo(&prompt);
	appendStringInfoString(&prompt, model_rules);
	appendStringInfo(&prompt, "Today is %s in %s.\n\nMetrics:\n",
					 period_date_text(period_today(catalog_zone(catalog))),
					 catalog_zone(catalog));
	foreach (cell, catalog->metrics)
	{
		Metric *metric = lfirst(cell);

		appendStringInfo(&prompt, "- %s: %s, %s\n", metric->name, metric->label[0],
						 metric->label[1]);
	}
	appendStringInfoString(&prompt, "\nDimensions:\n");
	foreach (cell, catalog->dimensions)
	{
		Dimension *dimension = lfirst(cell);

		appendStringInfo(&prompt, "- %s: %s, %s\n", dimension->name, dimension->label[0],
						 dimension->label[1]);
	}
	appendStringInfoString(&prompt, "\nRelations:\n");
	foreach (cell, catalog->datasets)
	{
		Dataset *dataset = lfirst(cell);

		appendStringInfo(&prompt, "- %s(", dataset->relation);
		tell_columns(&prompt, dataset->relid);
		appendStringInfo(&prompt, "), one row a %s\n", grain_name(dataset->grain));
	}
	return prompt.data;
}

/* --- what it answers ------------------------------------------------------------ */

static bool
read_date(char *text, DateADT *date)
{
	int year, month, day;

	if (text == NULL || sscanf(text, "%4d-%2d-%2d", &year, &month, &day) != 3)
		return false;
	return period_date(year, month, day, date);
}

static char *
take_metrics(QuestionPlan *plan, Jsonb *answer)
{
	ListCell *cell;

	foreach (cell, doc_elements(doc_get_doc(answer, "metrics")))
	{
		char *name = doc_value_text(lfirst(cell));
		Metric *metric = catalog_metric(plan->catalog, name);

		if (metric == NULL)
			return psprintf("There is no metric \"%s\".", name);
		plan->metrics = list_append_unique_ptr(plan->metrics, metric);
	}
	foreach (cell, doc_elements(doc_get_doc(answer, "dimensions")))
	{
		char *name = doc_value_text(lfirst(cell));
		Dimension *dimension = catalog_dimension(plan->catalog, name);

		if (dimension == NULL)
			return psprintf("There is no dimension \"%s\".", name);
		plan->dimensions = list_append_unique_ptr(plan->dimensions, dimension);
	}
	return NULL;
}

/* The stored value that is meant; NULL where none is. */
static char *
dimension_value(Dimension *dimension, const char *text)
{
	ListCell *cell;

	foreach (cell, dimension->values)
		if (pg_strcasecmp(lfirst(cell), text) == 0)
			return lfirst(cell);
	foreach (cell, dimension->aliases)
	{
		DimensionAlias *alias = lfirst(cell);

		if (pg_strcasecmp(alias->alias, text) == 0)
			return alias->value;
	}
	return NULL;
}

static char *
take_filters(QuestionPlan *plan, Jsonb *answer)
{
	ListCell *cell, *item;

	foreach (cell, doc_elements(doc_get_doc(answer, "filters")))
	{
		Jsonb *given = doc_from_value(lfirst(cell));
		char *field = doc_get_string(given, "field");
		PlanFilter *filter = palloc0(sizeof(PlanFilter));

		filter->dimension = field ? catalog_dimension(plan->catalog, field) : NULL;
		if (filter->dimension == NULL)
			return psprintf("There is no dimension \"%s\" to filter by.",
							field ? field : "");
		foreach (item, doc_elements(doc_get_doc(given, "values")))
		{
			char *text = doc_value_text(lfirst(item));
			char *value = text ? dimension_value(filter->dimension, text) : NULL;

			if (value == NULL)
				return psprintf("Dimension \"%s\" has no value \"%s\"; ask back.", field,
								text ? text : "null");
			filter->values = lappend(filter->values, value);
		}
		if (filter->values != NIL)
			plan->filters = lappend(plan->filters, filter);
	}
	return NULL;
}

static char *
take_period(QuestionPlan *plan, Jsonb *answer)
{
	char *from = doc_get_string(answer, "from");
	char *until = doc_get_string(answer, "until");

	plan->grain = grain_from_name(doc_get_string(answer, "granularity"));
	if (from == NULL && until == NULL)
		return NULL;
	if (!read_date(from, &plan->period.from) || !read_date(until, &plan->period.until) ||
		plan->period.from >= plan->period.until)
		return pstrdup("\"from\" and \"until\" must be dates such as 2025-11-20, from "
					   "before until.");
	plan->period.set = true;
	plan->period.text = psprintf("%s ~ %s", from, until);
	plan->period.range = plan->period.until - plan->period.from > 1;
	return NULL;
}

static void
forget_reading(QuestionPlan *plan)
{
	plan->metrics = plan->dimensions = plan->filters = plan->choices = NIL;
	memset(&plan->period, 0, sizeof(plan->period));
	plan->grain = GRAIN_NONE;
	plan->order_by = NULL;
	plan->limit = 0;
	plan->average_daily = false;
	plan->dataset = NULL;
	plan->next = NULL;
	plan->sql = NULL;
	plan->clarification = NULL;
}

/* The plan it gave, compiled; or what is wrong with it. */
static char *
take_plan(QuestionPlan *plan, Jsonb *answer)
{
	char *wrong = take_metrics(plan, answer);

	if (wrong == NULL)
		wrong = take_filters(plan, answer);
	if (wrong == NULL)
		wrong = take_period(plan, answer);
	if (wrong)
		return wrong;
	plan->intent = plan->grain != GRAIN_NONE ? "trend"
				   : plan->dimensions != NIL ? "comparison"
											 : "summary";
	plan->confidence = 0.7;
	plan_compile(plan);
	if (plan->clarification)
	{
		wrong = plan->clarification;
		plan->clarification = NULL;
	}
	return wrong;
}

static char *
take_sql(QuestionPlan *plan, char *sql)
{
	Verdict verdict;

	guarded_run(sql, GUARD_CATALOG, 0, NULL, &verdict);
	if (!verdict.ok)
		return psprintf("%s%s%s", verdict.reason, verdict.hint ? " " : "",
						verdict.hint ? verdict.hint : "");
	plan->sql = sql;
	plan->intent = "summary";
	plan->confidence = 0.6;
	return NULL;
}

/* NULL where the answer stands (also as a question back), else what is wrong. */
static char *
take_answer(QuestionPlan *plan, Jsonb *answer)
{
	char *sql = doc_get_string(answer, "sql");
	char *question = doc_get_string(answer, "question_back");

	forget_reading(plan);
	if (question && question[0])
	{
		plan_ask_back(plan, 0.4, question, NIL);
		return NULL;
	}
	if (doc_elements(doc_get_doc(answer, "metrics")) != NIL)
		return take_plan(plan, answer);
	if (sql && sql[0])
		return take_sql(plan, sql);
	return pstrdup("The answer has neither metrics, nor sql, nor a question back.");
}

/*
 * Fills the plan from a model's answer.  False leaves it a question back, with
 * "degraded" saying why: the model's failure is never an error of the caller's.
 */
bool
model_plan(QuestionPlan *plan)
{
	QuestionPlan before = *plan;
	StringInfoData question;
	LlmRequest request = {.model = bi_model, .purpose = "question"};
	char *wrong = NULL;

	request.system = model_prompt(plan);
	request.schema = doc_parse_trusted(model_answer_schema);
	initStringInfo(&question);
	appendStringInfoString(&question, plan->question);
	for (int round = 0; round < MODEL_ROUNDS; round++)
	{
		LlmAnswer *answer;

		request.user = question.data;
		answer = llm_finish(llm_start(&request));
		if (answer->failure != LLM_OK)
		{
			*plan = before;
			plan->degraded =
				psprintf("model \"%s\": %s", answer->asked ? answer->asked : bi_model,
						 answer->reason);
			return false;
		}
		wrong = take_answer(plan, answer->json);
		if (wrong == NULL)
		{
			plan->source = "model";
			return plan->clarification == NULL;
		}
		appendStringInfo(&question, "\n\nYour last answer was refused: %s Answer again.",
						 wrong);
	}
	*plan = before;
	plan->degraded = psprintf("model \"%s\" gave no usable answer in %d rounds: %s",
							  bi_model, MODEL_ROUNDS, wrong);
	return false;
}
