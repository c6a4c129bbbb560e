/*
 * analysis.h
 *		What rules do together, found without judging anything: overlaps, rules that
 *		never answer, inputs that no rule answers.
 */
#ifndef FACTORY_ANALYSIS_H
#define FACTORY_ANALYSIS_H

#include "rules/rule_test.h"

/* Limits, by name. */
#define ANALYSIS_MAX_OVERLAPS 10000     /* listed; all are counted */
#define ANALYSIS_MAX_GAPS 10            /* listed */
#define ANALYSIS_EVALUATIONS 2000       /* of conditions that are more than tests */
#define ANALYSIS_STEPS 20000000         /* of all searches together */
#define ANALYSIS_STEPS_OF_A_RULE 200000 /* of the search for one rule's inputs */

typedef enum FindingKind
{
	FINDING_OVERLAP, /* rows where both rules hold */
	FINDING_HIDDEN,  /* rows where the rule holds, though it never answers */
	FINDING_OTHER    /* rows mean nothing, or are known already */
} FindingKind;

typedef struct Finding
{
	FindingKind kind;
	const char *level; /* "warning", "info" or "undecided" */
	int rule;          /* index, or -1 */
	int other;         /* of an overlap: the rule before it */
	char *message;
	Jsonb *witness; /* an input that shows it, or NULL */
	int64 rows;     /* -1: not counted */
} Finding;

extern List *decision_analyse(Decision *decision);

/*
 * Judges the rows of a query, as the caller, and counts for how many each finding is
 * so; returns the findings with what only rows can tell.
 */
extern List *decision_survey(Decision *decision, List *findings, const char *query);

/* A set of values of one column: where a test holds, within what the input may be. */
typedef struct Choice
{
	bool chosen;
	bool is_null;
	KeyRange range;
} Choice;

/* All keys that the column may have; at_null is NULL_HOLDS where it may be NULL. */
extern Test *column_domain(const Decision *decision, const TestColumn *column,
						   int number);

/* A choice's value as text; NULL where none can be made. */
extern char *choice_text(const Decision *decision, const TestColumn *column,
						 const Choice *choice);

/* An input made of one choice a column. */
extern Jsonb *witness_make(const Decision *decision, const TestSet *set,
						   const Choice *choices);

/* The same in the decision's slot; false where a value cannot be made. */
extern bool witness_load(Decision *decision, const TestSet *set, const Choice *choices);

#endif /* FACTORY_ANALYSIS_H */
