/*
 * rules_int.h
 *		What the files of this room share: reading and compiling definitions.
 */
#ifndef FACTORY_RULES_INT_H
#define FACTORY_RULES_INT_H

#include "rules/rules.h"

/* --- problems of a definition --------------------------------------------------- */

typedef struct Problem
{
	const char *level; /* "error" or "warning" */
	const char *rule;  /* id, or NULL */
	char *path;        /* "$.rules[2].when" */
	char *message;
	char *hint; /* or NULL */
} Problem;

/*
 * Where problems go.  With collect set they are listed, and reading goes on; else
 * the first error is raised.
 */
typedef struct Problems
{
	bool collect;
	List *list; /* of Problem * */
	int errors;
	MemoryContext memory; /* where they are kept: that of who has something compiled */
} Problems;

extern void problem_report(Problems *problems, const char *level, const char *rule,
						   char *path, char *message, char *hint);
extern void problems_raise(const Problems *problems);

/* --- compiling -------------------------------------------------------------------- */

/*
 * Compiles a definition in a memory context of its own, as its owner.  With
 * problems->collect, NULL where there were errors.
 */
extern Decision *decision_compile(const char *name, int version, Oid owner,
								  Jsonb *definition, Problems *problems);
extern void decision_free(Decision *decision);

/*
 * The same from an image of its tests (rule_image.h), in a fraction of the time: rules
 * are read and compiled when they are asked for.  NULL where the image does not fit.
 */
extern Decision *decision_open(const char *name, int version, Oid owner,
							   Jsonb *definition, const char *hash, const bytea *image);

/* --- expressions -------------------------------------------------------------------- */

/*
 * Compiles text as an SQL expression over the decision's columns.  wanted is a
 * type or InvalidOid.  Reports to problems and returns false where it is not
 * valid.  Must be called with the owner's rights.
 */
extern bool expression_compile(Decision *decision, const char *text, Oid wanted,
							   Expression *result, Problems *problems, const char *rule,
							   char *path);
extern Datum expression_evaluate(Decision *decision, Expression *expression,
								 bool *isnull);
extern void expression_warn(const Expression *expression, Problems *problems,
							const char *rule, char *path);
/* The result of an expression turned into jsonb. */
extern bool expression_compile_json(Decision *decision, const char *text,
									Expression *result, Problems *problems,
									const char *rule, char *path);

/* Raises where it calls what must not be called. */
extern void expression_refuse_calls(Node *node);
/* Leakproof functions promise never to raise; anything else may. */
extern bool expression_may_raise(Node *node);
/* What the labels of a function made of the decision depend on. */
extern void expression_note_calls(Decision *decision, Node *node);

typedef struct OwnerRights
{
	Oid user;
	int security_context;
	int settings_level; /* 0: none was opened */
} OwnerRights;

extern void owner_rights_begin(Oid owner, bool pin_search_path, OwnerRights *saved);
extern void owner_rights_end(const OwnerRights *saved);

extern int judgment_time_limit_ms; /* setting factory.judgment_time_limit; 0: none */

/*
 * Runs the body; false where it took longer than the setting allows.  It was then
 * cancelled: nothing may have been begun that an error does not undo.  Cancels of
 * others, and all other errors, are raised.
 */
extern bool deadline_run(void (*body)(void *), void *argument);
extern bool require_second_person; /* setting factory.require_second_person */

/* --- actions ------------------------------------------------------------------------- */

extern char *dangerous_actions; /* setting factory.dangerous_actions */

extern void dangerous_actions_assign(const char *text, void *extra);

/* An outcome whose dangerous actions are marked; itself where it has none. */
extern Jsonb *actions_mark(Jsonb *outcome);

/* --- outcomes ---------------------------------------------------------------------- */

/* Whether all hits answer, and not one of them. */
extern bool decision_keeps_hits(const Decision *decision);
extern bool evaluation_computes(const Evaluation *run);
/* What such a decision gives where these are the outcomes of its hits. */
extern Jsonb *outcome_collected(const Decision *decision, List *outcomes);
/* Notes what could not be decided, and why; rule -1 is a let value. */
extern void evaluation_undecided(Evaluation *run, int rule, char *what, char *why);
/* Of a rule whose condition is NULL; raises where the decision or an input says so. */
extern void evaluation_null_rule(Evaluation *run, const Rule *rule);
extern char *evaluation_undecided_text(const Decision *decision, const List *undecided);

#endif /* FACTORY_RULES_INT_H */
