/*
 * definition_policy.c
 *		What becomes of the rules' verdicts: default, collecting, prompt, policy, canary, cache.
 */
#include "postgres.h"

#include <math.h>

#include "base/nearest.h"
#include "rules/definition.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

void
read_default(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	Jsonb *otherwise = reader_object(reader, definition, "$", "default");
	MemoryContext caller;
	Jsonb *copy;

	if (otherwise == NULL)
		return;
	caller = MemoryContextSwitchTo(decision->context);
	copy = palloc(VARSIZE(otherwise));
	memcpy(copy, otherwise, VARSIZE(otherwise));
	decision->otherwise = palloc0(sizeof(Verdict));
	decision->otherwise_because = doc_get_string(copy, "because");
	MemoryContextSwitchTo(caller);
	(void) reader_string(reader, copy, "$.default", "because");
	read_then(reader, copy, "$.default", decision->otherwise);
}

/* What rules say outright is a number where numbers are asked for. */
static void
check_collected(Reader *reader, const Collected *collected)
{
	const Decision *decision = reader->decision;

	if (strcmp(collected->function, "count") == 0 ||
		strcmp(collected->function, "list") == 0 || reader->lazily)
		return;
	for (int i = 0; i < decision->rule_count; i++)
	{
		const Rule *rule = &decision->rules[i];
		JsonbValue *value = doc_get(rule->then.outcome, collected->name);

		if (value != NULL && value->type != jbvNumeric && value->type != jbvNull)
			reader_report(reader, PATH("$.rules[%d].then.%s", i, collected->name),
						  PATH("\"%s\" of rule \"%s\" is a %s, and %s takes numbers",
							   collected->name, rule->id, doc_value_kind(value),
							   collected->function),
						  pstrdup("Write a number, or collect it by count or list."));
	}
}

void
read_collect(Reader *reader, Jsonb *definition)
{
	static const char *const functions[] = {"sum", "min", "max", "count", "list"};
	Decision *decision = reader->decision;
	Jsonb *collect = reader_object(reader, definition, "$", "collect");
	ListCell *cell;

	foreach (cell, doc_keys(collect))
	{
		const char *name = lfirst(cell);
		int choice = reader_choice(reader, collect, "$.collect", name, functions,
								   lengthof(functions));
		MemoryContext caller = MemoryContextSwitchTo(decision->context);

		if (choice >= 0)
		{
			Collected *collected = palloc0(sizeof(Collected));

			collected->name = pstrdup(name);
			collected->function = pstrdup(functions[choice]);
			decision->collected = lappend(decision->collected, collected);
		}
		MemoryContextSwitchTo(caller);
		if (choice >= 0)
			check_collected(reader, llast(decision->collected));
	}
}

/* What a model may answer: "statuses", else those that rules and default give. */
void
read_statuses(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	JsonbValue *list = reader_kind(reader, definition, "$", "statuses", "array");
	MemoryContext caller = MemoryContextSwitchTo(decision->context);
	ListCell *cell;

	if (list != NULL)
	{
		reader_check_strings(reader, doc_from_value(list), "$.statuses");
		foreach (cell, doc_elements(doc_from_value(list)))
			decision->statuses =
				lappend(decision->statuses, makeString(doc_value_text(lfirst(cell))));
	}
	else if (!reader->lazily) /* which no model is asked for */
	{
		for (int i = 0; i < decision->rule_count; i++)
			if (decision->rules[i].then.status != NULL)
				decision->statuses =
					list_append_unique(decision->statuses,
									   makeString(decision->rules[i].then.status));
		if (decision->otherwise && decision->otherwise->status)
			decision->statuses =
				list_append_unique(decision->statuses,
								   makeString(decision->otherwise->status));
	}
	MemoryContextSwitchTo(caller);
}

static Jsonb *
answer_schema(const Decision *decision)
{
	DocBuilder b;
	ListCell *cell;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "type", "object");
	doc_begin_object(&b, "properties");
	doc_begin_object(&b, "status");
	doc_put_string(&b, "type", "string");
	if (decision->statuses != NIL)
	{
		doc_begin_array(&b, "enum");
		foreach (cell, decision->statuses)
			doc_put_string(&b, NULL, strVal(lfirst(cell)));
		doc_end_array(&b);
	}
	doc_end_object(&b);
	doc_put_doc(
		&b, "severity",
		doc_parse_trusted(
			"{\"type\": \"string\", \"enum\": [\"info\", \"warning\", \"critical\"]}"));
	doc_put_doc(&b, "confidence",
				doc_parse_trusted(
					"{\"type\": \"number\", \"minimum\": 0, \"maximum\": 1}"));
	doc_put_doc(&b, "explanation", doc_parse_trusted("{\"type\": \"string\"}"));
	doc_put_doc(&b, "recommended_actions",
				doc_parse_trusted(
					"{\"type\": \"array\", \"items\": {\"type\": \"string\"}}"));
	doc_end_object(&b);
	doc_put_doc(&b, "required",
				doc_parse_trusted("[\"status\", \"severity\", \"confidence\", "
								  "\"explanation\", \"recommended_actions\"]"));
	doc_put_bool(&b, "additionalProperties", false);
	doc_end_object(&b);
	return doc_finish(&b);
}

static void
read_ladder(Reader *reader, Jsonb *prompt)
{
	Decision *decision = reader->decision;

	decision->prompt_ladder = reader_boolean(reader, prompt, "$.prompt", "ladder");
	decision->prompt_ladder_confidence =
		reader_share(reader, prompt, "$.prompt", "ladder_confidence", NAN);
	if (!decision->prompt_ladder && !isnan(decision->prompt_ladder_confidence))
		reader_report(reader, pstrdup("$.prompt.ladder_confidence"),
					  pstrdup("a prompt without a ladder needs no ladder_confidence"),
					  pstrdup("Add \"ladder\": true."));
}

/* The prompt of a definition that has no words of its own for it. */
#define PROMPT_OF_ALL_VALUES "{{ . }}"

void
read_prompt(Reader *reader, Jsonb *definition)
{
	static const char *const keys[] = {"model", "system", "user", "ladder",
									   "ladder_confidence"};
	Decision *decision = reader->decision;
	Jsonb *prompt = reader_object(reader, definition, "$", "prompt");
	char *model, *system, *user;
	MemoryContext caller;

	if (prompt == NULL)
		return;
	reader_check_keys(reader, prompt, "$.prompt", keys, lengthof(keys));
	model = reader_string(reader, prompt, "$.prompt", "model");
	system = reader_string(reader, prompt, "$.prompt", "system");
	user = reader_string(reader, prompt, "$.prompt", "user");
	read_ladder(reader, prompt);
	if (model == NULL && !decision->prompt_ladder)
		reader_report(reader, pstrdup("$.prompt"),
					  pstrdup("a prompt needs a model or a ladder"),
					  pstrdup("Write \"prompt\": {\"model\": \"mini\"}."));
	caller = MemoryContextSwitchTo(decision->context);
	decision->prompt_model = model ? pstrdup(model) : NULL;
	decision->prompt_system = system ? pstrdup(system) : NULL;
	decision->prompt_user = pstrdup(user ? user : PROMPT_OF_ALL_VALUES);
	decision->answer_schema = answer_schema(decision);
	MemoryContextSwitchTo(caller);
}

void
read_policy(Reader *reader, Jsonb *definition)
{
	static const char *const weight_keys[] = {"rule", "llm"};
	static const char *const languages[] = {"en", "ko"};
	static const char *const resolutions[] = {
		[CONFLICT_CONFIDENCE] = "confidence",
		[CONFLICT_RULE_PRIORITY] = "rule_priority",
		[CONFLICT_LLM_PRIORITY] = "llm_priority",
		[CONFLICT_HUMAN_ESCALATE] = "human_escalate",
	};
	Decision *decision = reader->decision;
	char *policy = reader_string(reader, definition, "$", "policy");
	Jsonb *weights = reader_object(reader, definition, "$", "weights");
	int choice;

	decision->policy = decision->prompt_user ? POLICY_HYBRID_WEIGHTED : POLICY_RULE_ONLY;
	if (policy != NULL && !judgment_policy_lookup(policy, &decision->policy))
	{
		const char *near = nearest_name(policy, judgment_policy_names, POLICY_COUNT);

		reader_report(reader, pstrdup("$.policy"),
					  PATH("policy \"%s\" does not exist", policy),
					  near ? PATH("Did you mean \"%s\"?", near) : NULL);
	}
	if (weights != NULL)
		reader_check_keys(reader, weights, "$.weights", weight_keys,
						  lengthof(weight_keys));
	decision->rule_weight =
		reader_share(reader, weights, "$.weights", "rule", JUDGMENT_RULE_WEIGHT);
	decision->llm_weight =
		reader_share(reader, weights, "$.weights", "llm", JUDGMENT_LLM_WEIGHT);
	if (fabs(decision->rule_weight + decision->llm_weight - 1) > 1e-9)
		reader_report(reader, pstrdup("$.weights"),
					  PATH("weights %g and %g do not add up to 1", decision->rule_weight,
						   decision->llm_weight),
					  pstrdup("Write \"weights\": {\"rule\": 0.6, \"llm\": 0.4}."));
	decision->gate = reader_share(reader, definition, "$", "gate", JUDGMENT_GATE);
	decision->fallback_confidence =
		reader_share(reader, definition, "$", "fallback_confidence",
					 JUDGMENT_FALLBACK_CONFIDENCE);
	choice = reader_choice(reader, definition, "$", "language", languages,
						   lengthof(languages));
	decision->language = choice == 1 ? "ko" : "en";
	choice = reader_choice(reader, definition, "$", "conflict_resolution", resolutions,
						   lengthof(resolutions));
	decision->conflict_resolution = Max(choice, CONFLICT_CONFIDENCE);
}

/* By this input's value, rather than by the whole input, a canary takes its share. */
void
read_canary_key(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	char *key = reader_string(reader, definition, "$", "canary_key");
	int attno = key ? decision_column(decision, key) : 0;

	if (key == NULL)
		return;
	if (attno < 1 || attno > decision->input_count)
		reader_report(reader, pstrdup("$.canary_key"), PATH("\"%s\" is no input", key),
					  pstrdup("Name one of the inputs of this definition."));
	decision->canary_key = MemoryContextStrdup(decision->context, key);
}

/* "300s" in milliseconds. */
void
read_cache_ttl(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	char *text = reader_string(reader, definition, "$", "cache_ttl");
	int milliseconds;
	const char *hint;

	decision->cache_ttl_ms = -1;
	if (text == NULL)
		return;
	if (parse_int(text, &milliseconds, GUC_UNIT_MS, &hint) && milliseconds >= 0)
		decision->cache_ttl_ms = milliseconds;
	else
		reader_report(reader, pstrdup("$.cache_ttl"), PATH("\"%s\" is no time", text),
					  pstrdup("Write \"cache_ttl\": \"300s\"; \"0\" keeps nothing."));
}
