/*
 * limits.h
 *		How large definitions and inputs may be; each limit is a setting.
 */
#ifndef FACTORY_RULES_LIMITS_H
#define FACTORY_RULES_LIMITS_H

#include "rules/rules_int.h"

/* The settings factory.judgment_max_*. */
typedef struct JudgmentLimits
{
	int condition_bytes; /* of one condition, let value or computed outcome */
	int definition_bytes;
	int depth; /* of objects and lists in one another, in definitions and inputs */
	int input_bytes;
	int inputs; /* of a decision; and its let values */
	int rules;  /* of a version */
} JudgmentLimits;

extern JudgmentLimits judgment_limits;

/*
 * Each reports what goes beyond its limit and returns false, so that nothing of it is
 * read; where problems are not collected, the definition was saved and anything goes.
 */
extern bool limit_definition(Problems *problems, Jsonb *definition);
extern bool limit_rules(Problems *problems, int rules);
extern bool limit_inputs(Problems *problems, int inputs);
extern bool limit_lets(Problems *problems, int lets);
extern bool limit_condition(Problems *problems, const char *rule, char *path,
							const char *text);

/* Raises where a document is larger or deeper than those that are judged. */
extern void limit_input(const char *decision, Jsonb *input);

#endif /* FACTORY_RULES_LIMITS_H */
