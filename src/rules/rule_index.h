/*
 * rule_index.h
 *		Which rules a set of inputs leaves standing, without evaluating them.
 */
#ifndef FACTORY_RULE_INDEX_H
#define FACTORY_RULE_INDEX_H

#include "rules/rule_test.h"

/* What the index knows of a rule once the inputs are there. */
typedef enum RuleStanding
{
	RULE_FAILS, /* some test of it is false */
	RULE_HOLDS, /* its tests are the whole condition, and all are true */
	RULE_NULL,  /* its tests are the whole condition, and NULL: a column is */
	RULE_OPEN   /* a part that is no test: evaluate it */
} RuleStanding;

extern bool rule_index_enabled;  /* setting factory.enable_rule_index */
extern int rule_index_memory_kb; /* setting factory.rule_index_memory */

/* Builds decision->index; called once, when the decision is compiled. */
extern void rule_index_build(Decision *decision);

/* The same from an image (rule_image.h), and into one. */
struct ImageReader;
extern void rule_index_write(const Decision *decision, StringInfo image);
extern bool rule_index_restore(Decision *decision, struct ImageReader *reader);

/*
 * Takes in what is in the decision's slot; before any of the two below.  Returns which
 * time it is: until the next, nothing need be taken in again.
 */
extern uint64 rule_index_load(Decision *decision);
extern bool rule_index_has(const Decision *decision, uint64 load);

/* The first rule at or after the given one that is not known to fail, or -1. */
extern int rule_index_next(const Decision *decision, int from, RuleStanding *standing);

/* What the index was made of. */
extern const TestSet *rule_index_tests(const Decision *decision);

/* The key of what was taken in for a column of the test set; false for NULL. */
extern bool rule_index_key(const Decision *decision, int column, int64 *key);

/* Rules that all columns, or all but one, leave standing: of what was taken in. */
typedef struct Nearness
{
	int count;
	struct NearRules *rules; /* 64 of them each, in order, where there are any */
} Nearness;

extern Nearness rule_index_nearness(const Decision *decision);

/* Of the rules before the given one that fail, the first with the fewest failing tests. */
extern int rule_index_nearest_miss(const Decision *decision, const Nearness *nearness,
								   int before);

/* A change of one column alone, to the nearest keys where another rule is the first. */
typedef struct IndexStep
{
	int column; /* in the test set */
	int segment;
	KeyRange range;
	bool upward;
	int rule; /* which is then the first to hold, or -1 */
} IndexStep;

/* At most two a column; how many. */
extern int rule_index_steps(const Decision *decision, const Nearness *nearness,
							IndexStep **steps);

/* Of a column of the test set. */
extern int rule_index_segments(const Decision *decision, int column);

/* Memory that the index takes, in bytes. */
extern Size rule_index_size(const Decision *decision);

#endif /* FACTORY_RULE_INDEX_H */
