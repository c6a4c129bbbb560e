/*
 * undecided.c
 *		Rules that are neither true nor false of an input, and why.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "base/errors.h"
#include "lib/stringinfo.h"
#include "rules/rules_int.h"

void
evaluation_undecided(Evaluation *run, int rule, char *what, char *why)
{
	Undecided *undecided = palloc(sizeof(Undecided));

	undecided->rule = rule;
	undecided->what = what;
	undecided->why = why;
	run->undecided = lappend(run->undecided, undecided);
}

static OnNull
column_on_null(const Decision *decision, int attno)
{
	return attno <= decision->input_count ? decision->inputs[attno - 1].on_null
										  : decision->on_null;
}

/* The next NULL column that a condition reads after that member, or -1. */
static int
next_null_column(const Decision *decision, const Expression *expression, int *member)
{
	while ((*member = bms_next_member(expression->columns, *member)) >= 0)
	{
		int attno = *member + FirstLowInvalidHeapAttributeNumber;

		if (attno > 0 && attno != DECISION_TIME_ATTNO(decision) &&
			decision->slot->tts_isnull[attno - 1])
			return attno;
	}
	return -1;
}

/* What a condition that is NULL comes to: the strictest of the NULL columns it reads counts. */
static OnNull
null_outcome(const Decision *decision, const Expression *expression)
{
	OnNull strictest = ON_NULL_NO_MATCH;
	int member = -1;
	int attno = next_null_column(decision, expression, &member);

	if (attno < 0)
		return decision->on_null;
	for (; attno > 0; attno = next_null_column(decision, expression, &member))
	{
		OnNull wanted = column_on_null(decision, attno);

		if (wanted == ON_NULL_ERROR || strictest == ON_NULL_NO_MATCH)
			strictest = wanted;
	}
	return strictest;
}

/* Why it is NULL: those columns, and for let values that could not be computed, the reason. */
static char *
null_reason(const Decision *decision, const Expression *expression)
{
	StringInfoData text;
	int member = -1;
	int attno;

	initStringInfo(&text);
	while ((attno = next_null_column(decision, expression, &member)) > 0)
	{
		char *error = NULL;

		if (attno > decision->input_count)
			error =
				decision
					->let_errors[DECISION_LET_OF_ATTNO(decision, attno) - decision->lets];
		appendStringInfoString(&text, text.len > 0 ? ", " : "");
		appendStringInfo(&text, phrase(decision, PHRASE_IS_NULL),
						 decision_column_name(decision, attno));
		if (error != NULL)
			appendStringInfo(&text, " (%s)", error);
	}
	if (text.len == 0)
		appendStringInfoString(&text, phrase(decision, PHRASE_CONDITION_IS_NULL));
	return text.data;
}

void
evaluation_null_rule(Evaluation *run, const Rule *rule)
{
	const Decision *decision = run->decision;
	OnNull on_null = null_outcome(decision, &rule->when);

	if (on_null == ON_NULL_ERROR && !run->every)
		ereport(ERROR,
				(errcode(ERRCODE_FACTORY_INVALID_INPUT),
				 errmsg("rule \"%s\" of decision \"%s\" cannot be decided: %s", rule->id,
						decision->name, null_reason(decision, &rule->when)),
				 errhint("Give the value, or set \"on_null\" to \"unknown\" or "
						 "\"no_match\".")));
	if (on_null != ON_NULL_NO_MATCH)
		evaluation_undecided(run, rule->index,
							 psprintf(phrase(decision, PHRASE_RULE), rule->id),
							 null_reason(decision, &rule->when));
}

char *
evaluation_undecided_text(const Decision *decision, const List *undecided)
{
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	foreach (cell, undecided)
	{
		const Undecided *one = lfirst(cell);

		appendStringInfoString(&text, foreach_current_index(cell) ? "; " : "");
		appendStringInfo(&text, phrase(decision, PHRASE_UNDECIDED), one->what, one->why);
	}
	return text.data;
}
