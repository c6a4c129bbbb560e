/*
 * explain.c
 *		Why a judgment came out as it did, and what it was made of.
 */
#include "postgres.h"

#include "judgment/judgment_int.h"
#include "rules/alternatives.h"
#include "utils/timestamp.h"

/* What a model said, and maybe the rules, or a person is to. */
static char *
summary_of_both(const Judgment *judgment)
{
	Evaluation *rules = judgment->evaluation;
	const ModelVerdict *model = judgment->model;
	bool model_spoke = model != NULL && model->failure == NULL;
	const char *words = model_spoke ? model->verdict.explanation : NULL;

	if (words != NULL && *words == '\0')
		words = NULL;
	if (judgment->done == POLICY_ESCALATE)
		return psprintf(phrase(judgment->decision, PHRASE_PERSON_DECIDES),
						judgment->conflict
							? phrase(judgment->decision, PHRASE_DISAGREEMENT)
							: evaluation_reason(rules));
	if (rules == NULL && !model_spoke)
		return psprintf(phrase(judgment->decision, PHRASE_MODEL_SILENT),
						judgment->degraded);
	if (rules == NULL)
		return pstrdup(words ? words : phrase(judgment->decision, PHRASE_MODEL_WORDLESS));
	if (words == NULL)
		return evaluation_reason(rules);
	return psprintf(phrase(judgment->decision, PHRASE_AND_MODEL),
					evaluation_reason(rules), words);
}

static DocText
summary(const Judgment *judgment)
{
	char *words;

	if (judgment->model == NULL && judgment->evaluation != NULL &&
		judgment->done != POLICY_ESCALATE)
		return evaluation_reason_text(judgment->evaluation);
	words = summary_of_both(judgment);
	return (DocText){words, (int) strlen(words)};
}

/* The condition, with the values of what it names. */
static void
put_hit_sentence(DocBuilder *b, Decision *decision, Rule *rule, ColumnTexts *texts)
{
	const RuleWords *words = rule_words(decision, rule);

	doc_begin_text(b);
	doc_append_text(b, words->holds);
	for (int i = 0; i < words->named_count; i++)
	{
		doc_append_text(b, words->named[i].lead);
		doc_append_text(b, column_texts_get(texts, words->named[i].attno));
	}
	doc_end_text(b, NULL);
}

static void
put_undecided(DocBuilder *b, const Judgment *judgment)
{
	ListCell *cell;

	doc_begin_list(b, "undecided", list_length(judgment->evaluation->undecided));
	foreach (cell, judgment->evaluation->undecided)
	{
		const Undecided *one = lfirst(cell);

		doc_begin_object(b, NULL);
		if (one->rule >= 0)
			doc_put_string(b, "rule", decision_rule(judgment->decision, one->rule)->id);
		doc_put_string(b, "why", one->why);
		doc_end_object(b);
	}
	doc_end_list(b);
}

static int
count_reasons(const Judgment *judgment)
{
	const Evaluation *rules = judgment->evaluation;
	int count = judgment->model != NULL;

	if (rules != NULL)
		count += Max(list_length(rules->hits) + list_length(rules->undecided), 1);
	return count;
}

static void
put_reasoning(DocBuilder *b, const Judgment *judgment, ColumnTexts *texts)
{
	Evaluation *rules = judgment->evaluation;
	const ModelVerdict *model = judgment->model;
	ListCell *cell;

	doc_begin_list(b, "reasoning", count_reasons(judgment));
	if (rules != NULL)
	{
		foreach (cell, rules->hits)
			put_hit_sentence(b, judgment->decision, lfirst(cell), texts);
		if (rules->hits == NIL && rules->undecided == NIL)
			doc_put_string(b, NULL, evaluation_reason(rules));
		foreach (cell, rules->undecided)
		{
			const Undecided *one = lfirst(cell);

			doc_put_string(b, NULL,
						   psprintf(phrase(judgment->decision, PHRASE_UNDECIDED),
									one->what, one->why));
		}
	}
	if (model != NULL && model->failure == NULL)
		doc_put_string(b, NULL,
					   psprintf(phrase(judgment->decision, PHRASE_MODEL_ANSWERS),
								model->answer->model ? model->answer->model : "",
								model->verdict.status, model->verdict.confidence));
	else if (model != NULL)
		doc_put_string(b, NULL,
					   psprintf(phrase(judgment->decision, PHRASE_MODEL),
								model->failure));
	doc_end_list(b);
}

static void
put_references(DocBuilder *b, const Judgment *judgment)
{
	const Evaluation *rules = judgment->evaluation;
	ListCell *cell;

	doc_begin_list(b, "references", rules ? list_length(rules->hits) : 0);
	if (rules != NULL)
		foreach (cell, rules->hits)
			doc_put_doc(b, NULL, rule_words(judgment->decision, lfirst(cell))->reference);
	doc_end_list(b);
}

/* The parts that an explanation has not always. */
enum
{
	HAS_FLIPS = 1,
	HAS_UNDECIDED = 2,
	HAS_MISS = 4
};

static const DocShape *
explanation_shape(int parts)
{
	static DocShape shapes[8];
	const char *keys[8];
	int count = 0;

	if (parts & HAS_FLIPS)
		keys[count++] = "flips";
	keys[count++] = "summary";
	keys[count++] = "evidence";
	keys[count++] = "language";
	keys[count++] = "reasoning";
	if (parts & HAS_UNDECIDED)
		keys[count++] = "undecided";
	keys[count++] = "references";
	if (parts & HAS_MISS)
		keys[count++] = "nearest_miss";
	doc_shape_once(&shapes[parts], keys, count);
	return &shapes[parts];
}

static void
put_explanation(DocBuilder *b, Judgment *judgment, const Alternatives *near, int parts)
{
	Decision *decision = judgment->decision;
	ColumnTexts texts;
	DocText said;

	column_texts_begin(&texts, decision);
	doc_begin_shaped(b, NULL, explanation_shape(parts));
	if (parts & HAS_FLIPS)
		alternatives_put_flips(b, near, &texts);
	said = summary(judgment);
	doc_put_text(b, "summary", said.data, said.length);
	decision_put_values(b, "evidence", decision, true);
	doc_put_string(b, "language", decision->language);
	put_reasoning(b, judgment, &texts);
	if (parts & HAS_UNDECIDED)
		put_undecided(b, judgment);
	put_references(b, judgment);
	if (parts & HAS_MISS)
		alternatives_put_miss(b, near, &texts);
	doc_end_shaped(b);
}

Jsonb *
judgment_explain(Judgment *judgment)
{
	const Evaluation *rules = judgment->evaluation;
	Alternatives near = {0};
	int parts = 0;
	DocBuilder b;

	if (judgment->explanation != NULL)
		return judgment->explanation;
	if (rules != NULL && alternatives_find(&near, rules))
		parts |= (near.has_flips ? HAS_FLIPS : 0) | (near.miss >= 0 ? HAS_MISS : 0);
	if (rules != NULL && rules->undecided != NIL)
		parts |= HAS_UNDECIDED;
	doc_build(&b);
	put_explanation(&b, judgment, &near, parts);
	judgment->explanation = doc_finish(&b);
	return judgment->explanation;
}

static void
put_rules(DocBuilder *b, const Judgment *judgment)
{
	Evaluation *rules = judgment->evaluation;
	const Verdict *verdict = rules->verdict;

	if (verdict != NULL)
		doc_put_number(b, "rule_confidence", verdict->confidence);
	else
		doc_put_null(b, "rule_confidence");
	doc_put_string(b, "rule_status", verdict ? verdict->status : "unknown");
	doc_put_int(b, "rules_evaluated", rules->decided);
	doc_put_decimal(b, "rule_time_ms", (int64) (rules->elapsed_ms * 1e6), 6);
	if (verdict == NULL)
		doc_put_string(b, "rule_reason", evaluation_reason(rules));
}

static void
put_model(DocBuilder *b, const Judgment *judgment)
{
	const ModelVerdict *model = judgment->model;
	const LlmAnswer *answer = model->answer;

	if (model->failure == NULL)
	{
		doc_put_number(b, "llm_confidence", model->verdict.confidence);
		doc_put_string(b, "llm_status", model->verdict.status);
	}
	else
	{
		doc_put_null(b, "llm_confidence");
		doc_put_string(b, "llm_failure", model->failure);
	}
	doc_begin_object(b, "llm");
	doc_put_string(b, "model", answer->model);
	doc_put_int(b, "prompt_tokens", answer->prompt_tokens);
	doc_put_int(b, "completion_tokens", answer->completion_tokens);
	doc_put_number(b, "cost_usd", answer->cost_usd);
	doc_put_number(b, "latency_ms", answer->latency_ms);
	doc_put_int(b, "attempts", answer->attempts);
	if (answer->ladder != NULL)
		doc_put_doc(b, "ladder", answer->ladder);
	doc_end_object(b);
}

static void
put_review(DocBuilder *b, const Judgment *judgment)
{
	const char *obstacle;
	ListCell *cell;

	if (judgment->review == NIL)
		return;
	obstacle = escalation_obstacle();
	doc_begin_object(b, "review");
	doc_put_string(b, "state", obstacle ? obstacle : "open");
	doc_begin_array(b, "reasons");
	foreach (cell, judgment->review)
		doc_put_string(b, NULL, lfirst(cell));
	doc_end_array(b);
	doc_end_object(b);
}

static void
put_recalled(DocBuilder *b, const CacheFound *recalled)
{
	doc_begin_object(b, "cache");
	doc_put_string(b, "level", cache_level_names[recalled->level]);
	doc_put_string(b, "cached_at", pstrdup(timestamptz_to_str(recalled->created_at)));
	doc_put_string(b, "expires_at", pstrdup(timestamptz_to_str(recalled->expires_at)));
	doc_end_object(b);
}

Jsonb *
judgment_components(Judgment *judgment)
{
	DocBuilder b;

	if (judgment->components != NULL)
		return judgment->components;
	doc_build(&b);
	doc_begin_object(&b, NULL);
	if (judgment->evaluation != NULL)
		put_rules(&b, judgment);
	if (judgment->model != NULL)
		put_model(&b, judgment);
	if (judgment->evaluation != NULL && judgment->model != NULL)
	{
		doc_put_number(&b, "rule_weight", judgment->decision->rule_weight);
		doc_put_number(&b, "llm_weight", judgment->decision->llm_weight);
	}
	put_review(&b, judgment);
	if (judgment->recalled != NULL)
		put_recalled(&b, judgment->recalled);
	doc_put_string(&b, "log", judgment->log);
	doc_end_object(&b);
	judgment->components = doc_finish(&b);
	return judgment->components;
}
