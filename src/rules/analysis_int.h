/*
 * analysis_int.h
 *		What the files of the analysis share.
 */
#ifndef FACTORY_ANALYSIS_INT_H
#define FACTORY_ANALYSIS_INT_H

#include "rules/analysis.h"

typedef struct Analysis
{
	Decision *decision;
	const TestSet *set;
	int columns;
	Test **domain;    /* a column: what it may be */
	const Test **box; /* a rule and column: where it can hold; NULL: anywhere */
	bool *empty;      /* a rule: nowhere */
	bool *whole;      /* a rule: it holds everywhere in its box */
	int *order;       /* columns, those that most rules test first */
	int *last;        /* a rule: the last place in order that it tests, or -1 */
	int64 steps;      /* left, of all searches */
	int evaluations;  /* left */
	List *findings;
} Analysis;

static inline const Test *
box_side(const Analysis *a, int rule, int column)
{
	return a->box[(Size) rule * a->columns + column];
}

extern Finding *analysis_finding(Analysis *a, FindingKind kind, const char *level,
								 int rule, char *message);
extern const char *analysis_rule_id(const Analysis *a, int rule);

/* Whether both rules can hold of one input; it is chosen as far as they say. */
extern bool analysis_boxes_meet(const Analysis *a, int one, int other, Choice *choices);
extern void analysis_choose_rest(const Analysis *a, Choice *choices);

/* Which of two rules that hold answers: the one given first, or the other? */
extern bool analysis_comes_before(const Decision *decision, int one, int other);

/* Whether a rule holds at the witness: certain of boxes, tried of rules that are more. */
extern Truth analysis_holds_there(Analysis *a, int rule, const Choice *choices);

/* Rules that never answer, and inputs that no rule answers (analysis_cover.c). */
extern void analysis_find_hidden(Analysis *a);
extern void analysis_find_gaps(Analysis *a);

#endif /* FACTORY_ANALYSIS_INT_H */
