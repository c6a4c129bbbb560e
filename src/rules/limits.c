/*
 * limits.c
 *		How large definitions and inputs may be.
 *
 * Definitions are held to the limits where an author hears of it: when a version or a
 * function is made, or checked.  What was saved stays valid when a limit is lowered.
 */
#include "postgres.h"

#include "base/document.h"
#include "rules/limits.h"
#include "rules/rules_int.h"

JudgmentLimits judgment_limits;

static bool
hold_to(Problems *problems, const char *rule, char *path, Size size, int most,
		const char *what, const char *setting)
{
	if (!problems->collect || size <= (Size) most)
		return true;
	problem_report(problems, "error", rule, path,
				   psprintf("%zu %s are more than the limit of %d", size, what, most),
				   psprintf("A superuser can raise %s.", setting));
	return false;
}

bool
limit_definition(Problems *problems, Jsonb *definition)
{
	if (!hold_to(problems, NULL, "$", VARSIZE(definition),
				 judgment_limits.definition_bytes, "bytes",
				 "factory.judgment_max_definition"))
		return false;
	if (!problems->collect || !doc_is_deeper_than(definition, judgment_limits.depth))
		return true;
	problem_report(problems, "error", NULL, "$",
				   psprintf("objects and lists are nested more than %d deep",
							judgment_limits.depth),
				   pstrdup("A superuser can raise factory.judgment_max_depth."));
	return false;
}

bool
limit_rules(Problems *problems, int rules)
{
	return hold_to(problems, NULL, "$.rules", rules, judgment_limits.rules, "rules",
				   "factory.judgment_max_rules");
}

bool
limit_inputs(Problems *problems, int inputs)
{
	return hold_to(problems, NULL, "$.inputs", inputs, judgment_limits.inputs, "inputs",
				   "factory.judgment_max_inputs");
}

bool
limit_lets(Problems *problems, int lets)
{
	return hold_to(problems, NULL, "$.let", lets, judgment_limits.inputs, "let values",
				   "factory.judgment_max_inputs");
}

bool
limit_condition(Problems *problems, const char *rule, char *path, const char *text)
{
	return hold_to(problems, rule, path, strlen(text), judgment_limits.condition_bytes,
				   "bytes of one expression", "factory.judgment_max_condition");
}

void
limit_input(const char *decision, Jsonb *input)
{
	if (VARSIZE(input) > judgment_limits.input_bytes)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("input of decision \"%s\" is too large", decision),
						errdetail("It has %zu bytes; the limit is %d.",
								  (Size) VARSIZE(input), judgment_limits.input_bytes),
						errhint("Send only what the decision reads, or raise "
								"factory.judgment_max_input.")));
	if (doc_is_deeper_than(input, judgment_limits.depth))
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("input of decision \"%s\" is nested too deep", decision),
						errdetail("The limit is %d objects and lists in one another.",
								  judgment_limits.depth),
						errhint("Send only what the decision reads, or raise "
								"factory.judgment_max_depth.")));
}
