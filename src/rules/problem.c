/*
 * problem.c
 *		What is wrong with a definition: all of it at once, with the place.
 */
#include "postgres.h"

#include "base/errors.h"
#include "lib/stringinfo.h"
#include "rules/rules_int.h"

/* A definition with hundreds of mistakes has one: list no more than these. */
#define PROBLEMS_IN_DETAIL 20

static void
problem_raise(const Problem *first, int errors, const char *others)
{
	ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_DEFINITION),
					first->rule ? errmsg("rule \"%s\" is not valid: %s", first->rule,
										 first->message)
								: errmsg("definition is not valid: %s", first->message),
					errors > 1 ? errdetail("At %s. %d problems in all:\n%s", first->path,
										   errors, others)
							   : errdetail("At %s.", first->path),
					first->hint ? errhint("%s", first->hint) : 0));
}

void
problem_report(Problems *problems, const char *level, const char *rule, char *path,
			   char *message, char *hint)
{
	/* What is being read may lie in the decision's memory, which an error takes away. */
	MemoryContext caller =
		MemoryContextSwitchTo(problems->memory ? problems->memory : CurrentMemoryContext);
	Problem *problem = palloc(sizeof(Problem));
	bool is_error = strcmp(level, "error") == 0;

	problem->level = level;
	problem->rule = rule ? pstrdup(rule) : NULL;
	problem->path = pstrdup(path);
	problem->message = pstrdup(message);
	problem->hint = hint ? pstrdup(hint) : NULL;
	if (is_error)
		problems->errors++;
	if (problems->collect)
		problems->list = lappend(problems->list, problem);
	MemoryContextSwitchTo(caller);
	if (!problems->collect && is_error)
		problem_raise(problem, 1, "");
}

void
problems_raise(const Problems *problems)
{
	const Problem *first = NULL;
	StringInfoData others;
	int listed = 0;
	ListCell *cell;

	if (problems->errors == 0)
		return;
	initStringInfo(&others);
	foreach (cell, problems->list)
	{
		const Problem *problem = lfirst(cell);

		if (strcmp(problem->level, "error") != 0)
			continue;
		if (first == NULL)
			first = problem;
		if (listed++ < PROBLEMS_IN_DETAIL)
			appendStringInfo(&others, "%s%s: %s", listed > 1 ? "\n" : "", problem->path,
							 problem->message);
	}
	problem_raise(first, problems->errors, others.data);
}
