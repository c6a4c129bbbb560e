/*
 * vocabulary.c
 *		The three result vocabularies, hit policies and judgment policies.
 */
#include "postgres.h"

#include "base/errors.h"
#include "base/nearest.h"
#include "lib/stringinfo.h"
#include "rules/rules_int.h"

static const struct
{
	const char *severity;
	const char *result;
} severities[] = {
	[SEVERITY_INFO] = {"info", "normal"},
	[SEVERITY_WARNING] = {"warning", "warning"},
	[SEVERITY_CRITICAL] = {"critical", "critical"},
};

/* Statuses that the documents use, with the severity they imply (spec 0). */
static const struct
{
	const char *status;
	Severity severity;
} known_statuses[] = {
	{"NORMAL", SEVERITY_INFO},
	{"PASS", SEVERITY_INFO},
	{"MODERATE_DEFECT", SEVERITY_WARNING},
	{"WARNING", SEVERITY_WARNING},
	{"HIGH_DEFECT", SEVERITY_CRITICAL},
	{"CRITICAL", SEVERITY_CRITICAL},
	{"FAIL", SEVERITY_CRITICAL},
};

const char *const hit_policy_names[HIT_POLICY_COUNT] = {
	[HIT_FIRST] = "first",
	[HIT_UNIQUE] = "unique",
	[HIT_ANY] = "any",
	[HIT_PRIORITY] = "priority",
	[HIT_COLLECT] = "collect",
	[HIT_RULE_ORDER] = "rule_order",
	[HIT_OUTPUT_ORDER] = "output_order",
};

const char *const judgment_policy_names[POLICY_COUNT] = {
	[POLICY_RULE_ONLY] = "RULE_ONLY",
	[POLICY_LLM_ONLY] = "LLM_ONLY",
	[POLICY_RULE_FALLBACK] = "RULE_FALLBACK",
	[POLICY_LLM_FALLBACK] = "LLM_FALLBACK",
	[POLICY_HYBRID_WEIGHTED] = "HYBRID_WEIGHTED",
	[POLICY_HYBRID_GATE] = "HYBRID_GATE",
	[POLICY_ESCALATE] = "ESCALATE",
};

const char *const judgment_method_names[POLICY_COUNT] = {
	[POLICY_RULE_ONLY] = "rule_only",
	[POLICY_LLM_ONLY] = "llm_only",
	[POLICY_RULE_FALLBACK] = "rule_fallback",
	[POLICY_LLM_FALLBACK] = "llm_fallback",
	[POLICY_HYBRID_WEIGHTED] = "hybrid_weighted",
	[POLICY_HYBRID_GATE] = "hybrid_gate",
	[POLICY_ESCALATE] = "escalate",
};

/* Both vocabularies are read: info and normal are one severity. */
Severity
severity_from_name(const char *name)
{
	for (int i = 0; name != NULL && i < lengthof(severities); i++)
		if (pg_strcasecmp(name, severities[i].severity) == 0 ||
			pg_strcasecmp(name, severities[i].result) == 0)
			return (Severity) i;
	return SEVERITY_NONE;
}

const char *
severity_name(Severity severity)
{
	return severity == SEVERITY_NONE ? NULL : severities[severity].severity;
}

const char *
severity_result(Severity severity)
{
	return severity == SEVERITY_NONE ? NULL : severities[severity].result;
}

Severity
severity_from_status(const char *status)
{
	for (int i = 0; status != NULL && i < lengthof(known_statuses); i++)
		if (pg_strcasecmp(status, known_statuses[i].status) == 0)
			return known_statuses[i].severity;
	return SEVERITY_NONE;
}

bool
judgment_policy_lookup(const char *name, JudgmentPolicy *policy)
{
	/* RULE_FIRST appears once in the documents and means RULE_FALLBACK. */
	if (pg_strcasecmp(name, "RULE_FIRST") == 0)
	{
		*policy = POLICY_RULE_FALLBACK;
		return true;
	}
	for (int i = 0; i < POLICY_COUNT; i++)
		if (pg_strcasecmp(name, judgment_policy_names[i]) == 0)
		{
			*policy = (JudgmentPolicy) i;
			return true;
		}
	return false;
}

JudgmentPolicy
judgment_policy_from_name(const char *name)
{
	JudgmentPolicy policy;
	StringInfoData known;

	if (judgment_policy_lookup(name, &policy))
		return policy;
	initStringInfo(&known);
	for (int i = 0; i < POLICY_COUNT; i++)
		appendStringInfo(&known, "%s%s", i ? ", " : "", judgment_policy_names[i]);
	ereport(ERROR, (errcode(ERRCODE_FACTORY_UNDEFINED_POLICY),
					errmsg("policy \"%s\" does not exist", name),
					errhint("The policies are %s.", known.data)));
}

/* --- sentences ------------------------------------------------------------------ */

typedef enum Language
{
	LANGUAGE_ENGLISH,
	LANGUAGE_KOREAN,
	LANGUAGE_COUNT
} Language;

static const char *const phrases[PHRASE_COUNT][LANGUAGE_COUNT] = {
	[PHRASE_RULE] = {"rule \"%s\"", "규칙 \"%s\""},
	[PHRASE_RULE_VALUE] = {"\"%s\" of rule \"%s\"", "\"%s\"(규칙 \"%s\")"},
	[PHRASE_RULE_HOLDS] = {"rule \"%s\" holds: %s", "규칙 \"%s\" 성립: %s"},
	/* The values come last: rule_words() leaves them out. */
	[PHRASE_RULE_HOLDS_WHERE] = {"rule \"%s\" holds: %s, where %s",
								 "규칙 \"%s\" 성립: %s, 값 %s"},
	[PHRASE_UNDECIDED] = {"%s is undecided: %s", "%s 판정 불가: %s"},
	[PHRASE_IS_NULL] = {"%s is NULL", "%s 값 없음(NULL)"},
	[PHRASE_CONDITION_IS_NULL] = {"the condition is NULL", "조건이 NULL"},
	[PHRASE_NONE_MATCHES] = {"none of %d rules matches", "규칙 %d개 중 해당하는 것 없음"},
	[PHRASE_NO_DEFAULT] = {"none of %d rules matches and there is no default",
						   "규칙 %d개 중 해당하는 것 없음, 기본값도 없음"},
	[PHRASE_MODEL_ANSWERS] = {"model \"%s\" answers %s with confidence %g",
							  "모델 \"%s\"의 답: %s, 신뢰도 %g"},
	[PHRASE_MODEL] = {"model: %s", "모델: %s"},
	[PHRASE_AND_MODEL] = {"%s; model: %s", "%s; 모델: %s"},
	[PHRASE_MODEL_SILENT] = {"the model did not answer: %s", "모델이 답하지 않음: %s"},
	[PHRASE_MODEL_WORDLESS] = {"the model gave no reason", "모델이 이유를 말하지 않음"},
	[PHRASE_PERSON_DECIDES] = {"a person decides; %s", "사람이 결정함; %s"},
	[PHRASE_DISAGREEMENT] = {"rules and model disagree", "규칙과 모델의 답이 다름"},
};

const char *
phrase(const Decision *decision, Phrase wanted)
{
	return phrases[wanted][strcmp(decision->language, "ko") == 0 ? LANGUAGE_KOREAN
																 : LANGUAGE_ENGLISH];
}
