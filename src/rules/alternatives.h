/*
 * alternatives.h
 *		What nearly was: the rule that misses least, and the single changes that would
 *		flip the outcome.
 */
#ifndef FACTORY_ALTERNATIVES_H
#define FACTORY_ALTERNATIVES_H

#include "rules/rule_index.h"

typedef struct Alternatives
{
	Decision *decision;
	Nearness nearness;
	int answering; /* the rule that answers, or -1 */
	int miss;      /* the one that misses least, or -1 */
	bool has_flips;
} Alternatives;

/* While the slot holds the inputs that were judged.  False where nothing is known. */
extern bool alternatives_find(Alternatives *found, const Evaluation *run);

/* As members of an object: "flips", "nearest_miss". */
extern void alternatives_put_flips(DocBuilder *b, const Alternatives *found,
								   ColumnTexts *texts);
extern void alternatives_put_miss(DocBuilder *b, const Alternatives *found,
								  ColumnTexts *texts);

#endif /* FACTORY_ALTERNATIVES_H */
