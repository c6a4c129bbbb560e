/*
 * expression.c
 *		Conditions, let values and computed outcomes: SQL expressions over the
 *		decision's own columns.
 *
 * The text is parsed and analysed by PostgreSQL against a synthetic column list:
 * a column becomes Var(1, attno), which the executor reads from the decision's
 * slot.  It goes in parentheses, so that "a, b", "a FROM t" and "*" are syntax
 * errors.  The whole runs with the rights of the version's owner, in a restricted
 * context.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "base/attempt.h"
#include "base/errors.h"
#include "base/nearest.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_clause.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parser.h"
#include "rules/limits.h"
#include "rules/rules_int.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#define WRAP_PREFIX "SELECT ("

/* --- rights ------------------------------------------------------------------- */

void
owner_rights_begin(Oid owner, bool pin_search_path, OwnerRights *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->security_context);
	saved->settings_level = 0;
	SetUserIdAndSecContext(owner, saved->security_context | SECURITY_LOCAL_USERID_CHANGE |
									  SECURITY_RESTRICTED_OPERATION);
	if (!pin_search_path)
		return;
	saved->settings_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
owner_rights_end(const OwnerRights *saved)
{
	if (saved->settings_level != 0)
		AtEOXact_GUC(true, saved->settings_level);
	SetUserIdAndSecContext(saved->user, saved->security_context);
}

/* --- from text to a raw tree ----------------------------------------------------- */

static bool
contains_star(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, A_Star))
		return true;
	return raw_expression_tree_walker(node, contains_star, context);
}

/* Nothing but one target: no other clause can have come in through the text. */
static bool
is_bare_select(const SelectStmt *select)
{
	return list_length(select->targetList) == 1 && select->distinctClause == NIL &&
		   select->intoClause == NULL && select->fromClause == NIL &&
		   select->whereClause == NULL && select->groupClause == NIL &&
		   select->havingClause == NULL && select->windowClause == NIL &&
		   select->valuesLists == NIL && select->sortClause == NIL &&
		   select->limitCount == NULL && select->limitOffset == NULL &&
		   select->lockingClause == NIL && select->withClause == NULL &&
		   select->op == SETOP_NONE;
}

static Node *
expression_parse(const char *wrapped)
{
	List *statements = raw_parser(wrapped, RAW_PARSE_DEFAULT);
	SelectStmt *select;
	ResTarget *target;

	if (list_length(statements) != 1)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("an expression is wanted, not several statements")));
	select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;
	if (!IsA(select, SelectStmt) || !is_bare_select(select))
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("an expression is wanted, not a statement")));
	target = linitial_node(ResTarget, select->targetList);
	if (contains_star(target->val, NULL))
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("\"*\" has no meaning in a condition")));
	return target->val;
}

/* --- columns -------------------------------------------------------------------- */

typedef struct NameList
{
	const char **names;
	int count;
} NameList;

static NameList
decision_names(const Decision *decision)
{
	NameList list;

	list.names = palloc(sizeof(char *) * (decision->input_count + decision->let_count));
	list.count = 0;
	for (int i = 0; i < decision->input_count; i++)
		list.names[list.count++] = decision->inputs[i].name;
	for (int i = 0; i < decision->let_count; i++)
		list.names[list.count++] = decision->lets[i].name;
	return list;
}

static Node *
column_var(int attno, const ValueType *type, int location)
{
	Var *var = makeVar(1, attno, type->type, type->typmod, type->collation, 0);

	var->location = location;
	return (Node *) var;
}

/* Post-columnref hook: names of inputs and of lets compiled so far. */
static Node *
resolve_column(ParseState *pstate, ColumnRef *reference, Node *found)
{
	Decision *decision = pstate->p_ref_hook_state;
	const char *name;
	const char *near;
	NameList known;

	if (found != NULL)
		return found;
	if (list_length(reference->fields) != 1)
		return NULL;
	name = strVal(linitial(reference->fields));
	for (int i = 0; i < decision->input_count; i++)
		if (strcmp(decision->inputs[i].name, name) == 0)
			return column_var(DECISION_INPUT_ATTNO(i), &decision->inputs[i].value,
							  reference->location);
	for (int i = 0; i < decision->let_count; i++)
		if (strcmp(decision->lets[i].name, name) == 0)
			return column_var(DECISION_LET_ATTNO(decision, i), &decision->lets[i].type,
							  reference->location);

	known = decision_names(decision);
	near = nearest_name(name, known.names, known.count);
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
					errmsg("\"%s\" is neither an input nor a let value", name),
					near ? errhint("Did you mean \"%s\"?", near)
						 : errhint("Declare it under \"inputs\" or \"let\"."),
					parser_errposition(pstate, reference->location)));
}

/* --- the judgment's own time ------------------------------------------------------- */

static Node *
time_call(Oid function, Oid result, Node *moment)
{
	return (Node *) makeFuncExpr(function, result, list_make1(moment), InvalidOid,
								 InvalidOid, COERCE_EXPLICIT_CALL);
}

/*
 * now() and its relatives become the hidden column that holds the judgment's time:
 * a replayed judgment sees the time of then.
 */
static Node *
pin_time(Node *node, void *context)
{
	Decision *decision = context;
	Node *moment;

	if (node == NULL)
		return NULL;
	moment = (Node *) makeVar(1, DECISION_TIME_ATTNO(decision), TIMESTAMPTZOID, -1,
							  InvalidOid, 0);
	if (IsA(node, FuncExpr) && (((FuncExpr *) node)->funcid == F_NOW ||
								((FuncExpr *) node)->funcid == F_TRANSACTION_TIMESTAMP))
	{
		decision->uses_time = true;
		return moment;
	}
	if (IsA(node, SQLValueFunction))
	{
		decision->uses_time = true;
		switch (((SQLValueFunction *) node)->op)
		{
			case SVFOP_CURRENT_TIMESTAMP:
				return moment;
			case SVFOP_CURRENT_DATE:
				return time_call(F_DATE_TIMESTAMPTZ, DATEOID, moment);
			case SVFOP_LOCALTIMESTAMP:
				return time_call(F_TIMESTAMP_TIMESTAMPTZ, TIMESTAMPOID, moment);
			default:
				return node;
		}
	}
	return expression_tree_mutator(node, pin_time, context);
}

/* --- compiling ------------------------------------------------------------------------ */

/*
 * The parts of an AND in an order in which those that cannot raise come first: SQL
 * leaves the order open, and so a part that raises is asked only where no other
 * part has said no.  The rule index counts on it.
 */
static Node *
order_parts(Node *condition)
{
	List *safe = NIL;
	List *others = NIL;
	ListCell *cell;

	foreach (cell, make_ands_implicit((Expr *) condition))
	{
		if (expression_may_raise(lfirst(cell)))
			others = lappend(others, lfirst(cell));
		else
			safe = lappend(safe, lfirst(cell));
	}
	if (safe == NIL || others == NIL)
		return condition;
	return (Node *) make_ands_explicit(list_concat(safe, others));
}

typedef struct CompileAttempt
{
	Decision *decision;
	const char *text;
	Oid wanted; /* InvalidOid: whatever comes */
	bool to_json;
	Expression *result;
	bool check_rights;
} CompileAttempt;

static Node *
expression_analyse(CompileAttempt *work, ParseState *pstate)
{
	Node *node = expression_parse(pstate->p_sourcetext);

	node = transformExpr(pstate, node, EXPR_KIND_CHECK_CONSTRAINT);
	if (work->wanted == BOOLOID)
		node = coerce_to_boolean(pstate, node, "\"when\"");
	else if (exprType(node) == UNKNOWNOID)
		node = coerce_type(pstate, node, UNKNOWNOID, TEXTOID, -1, COERCION_IMPLICIT,
						   COERCE_IMPLICIT_CAST, -1);
	assign_expr_collations(pstate, node);
	node = pin_time(node, work->decision);
	expression_refuse_calls(node);
	if (work->to_json && exprType(node) != JSONBOID)
		node = (Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(node), InvalidOid,
									 exprCollation(node), COERCE_EXPLICIT_CALL);
	return node;
}

static void
compile_body(void *argument)
{
	CompileAttempt *work = argument;
	Decision *decision = work->decision;
	Expression *result = work->result;
	ParseState *pstate = make_parsestate(NULL);
	MemoryContext caller;
	Node *node;

	pstate->p_sourcetext = psprintf(WRAP_PREFIX "%s\n)", work->text);
	pstate->p_post_columnref_hook = resolve_column;
	pstate->p_ref_hook_state = decision;
	node = expression_analyse(work, pstate);
	free_parsestate(pstate);
	/* Before planning puts other things in the place of calls. */
	expression_note_calls(decision, node);
	/* Planning folds constants: a division by a zero written out fails here. */
	node = (Node *) expression_planner((Expr *) node);
	if (work->wanted == BOOLOID)
		node = order_parts(node);

	caller = MemoryContextSwitchTo(decision->context);
	result->text = pstrdup(work->text);
	result->expr = copyObject((Expr *) node);
	result->state = NULL;
	result->type = exprType(node);
	result->may_raise = expression_may_raise(node);
	result->columns = NULL;
	pull_varattnos(node, 1, &result->columns);
	/* Initialising checks the right to execute: an author hears of it now. */
	if (work->check_rights)
		result->state = ExecInitExpr(result->expr, NULL);
	MemoryContextSwitchTo(caller);
}

/* The server speaks of check constraints; our reader wrote a condition. */
static char *
in_our_words(const char *message)
{
	char *text = pstrdup(message);
	static const char *const theirs[] = {"check constraints", "check constraint"};
	static const char *const ours[] = {"conditions", "a condition"};

	for (int i = 0; i < lengthof(theirs); i++)
	{
		char *at = strstr(text, theirs[i]);

		if (at != NULL)
			return psprintf("%.*s%s%s", (int) (at - text), text, ours[i],
							at + strlen(theirs[i]));
	}
	return text;
}

static void
report_error(const ErrorData *error, const CompileAttempt *work, Problems *problems,
			 const char *rule, const char *path)
{
	int position = error->cursorpos - (int) strlen(WRAP_PREFIX);
	int length = pg_mbstrlen(work->text);
	char *place = pstrdup(path);

	if (error->cursorpos > 0 && position >= 1 && position <= length)
		place = psprintf("%s, character %d", path, position);
	else if (error->cursorpos > 0 && position > length)
		place = psprintf("%s, at the end", path);
	problem_report(problems, "error", rule, place,
				   psprintf("%s, in: %s", in_our_words(error->message), work->text),
				   error->hint ? pstrdup(error->hint) : NULL);
}

static void
compile_context(void *argument)
{
	const CompileAttempt *work = argument;
	int position = geterrposition();

	/* The position is in our text, not in the caller's statement. */
	if (position > 0)
	{
		errposition(0);
		internalerrposition(Max(position - (int) strlen(WRAP_PREFIX), 1));
		internalerrquery(work->text);
	}
	errcontext("expression \"%s\" of decision \"%s\"", work->text, work->decision->name);
}

/* Planning evaluates what is constant, which can take its time. */
static void
compile_in_time(void *argument)
{
	const CompileAttempt *work = argument;

	if (!deadline_run(compile_body, argument))
		ereport(ERROR, (errcode(ERRCODE_FACTORY_JUDGMENT_TIMEOUT),
						errmsg("took more than %d ms to compile", judgment_time_limit_ms),
						errdetail("The expression is \"%s\".", work->text),
						errhint("Simplify what is constant in it.")));
}

static bool
compile(CompileAttempt *work, Problems *problems, const char *rule, char *path)
{
	ErrorContextCallback context = {.callback = compile_context, .arg = work};
	ErrorData *error;

	if (!limit_condition(problems, rule, path, work->text))
		return false;
	work->check_rights = problems->collect;
	if (!problems->collect)
	{
		context.previous = error_context_stack;
		error_context_stack = &context;
		compile_in_time(work);
		error_context_stack = context.previous;
		return true;
	}
	error = attempt(compile_in_time, work);
	/* What was dropped while it was waited for has no name yet, but the second time. */
	if (error != NULL && error->sqlerrcode == ERRCODE_INTERNAL_ERROR)
		error = attempt(compile_in_time, work);
	if (error == NULL)
		return true;
	report_error(error, work, problems, rule, path);
	return false;
}

bool
expression_compile(Decision *decision, const char *text, Oid wanted, Expression *result,
				   Problems *problems, const char *rule, char *path)
{
	CompileAttempt work = {decision, text, wanted, false, result, false};

	return compile(&work, problems, rule, path);
}

bool
expression_compile_json(Decision *decision, const char *text, Expression *result,
						Problems *problems, const char *rule, char *path)
{
	CompileAttempt work = {decision, text, InvalidOid, true, result, false};

	return compile(&work, problems, rule, path);
}

/* --- warnings --------------------------------------------------------------------------- */

static bool
divides_integers(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, OpExpr))
	{
		switch (((OpExpr *) node)->opfuncid)
		{
			case F_INT2DIV:
			case F_INT4DIV:
			case F_INT8DIV:
			case F_INT24DIV:
			case F_INT42DIV:
			case F_INT48DIV:
			case F_INT84DIV:
				return true;
		}
	}
	return expression_tree_walker(node, divides_integers, context);
}

static bool
is_text_of_number(Node *node)
{
	const Const *constant = (const Const *) node;
	char *words, *end;

	if (!IsA(node, Const) || constant->consttype != TEXTOID || constant->constisnull)
		return false;
	words = text_to_cstring(DatumGetTextPP(constant->constvalue));
	(void) strtod(words, &end);
	return *words != 0 && *end == 0;
}

/* Texts have an order of their own: '10' comes before '9'. */
static bool
orders_text_as_number(Node *node, void *context)
{
	OpExpr *op = (OpExpr *) node;

	if (node == NULL)
		return false;
	if (IsA(node, OpExpr) && list_length(op->args) == 2 &&
		(op->opfuncid == F_TEXT_LT || op->opfuncid == F_TEXT_LE ||
		 op->opfuncid == F_TEXT_GT || op->opfuncid == F_TEXT_GE) &&
		(is_text_of_number(linitial(op->args)) || is_text_of_number(lsecond(op->args))))
		return true;
	return expression_tree_walker(node, orders_text_as_number, context);
}

void
expression_warn(const Expression *expression, Problems *problems, const char *rule,
				char *path)
{
	if (expression->expr == NULL)
		return;
	if (divides_integers((Node *) expression->expr, NULL))
		problem_report(
			problems, "warning", rule, path,
			psprintf("integers are divided: 5/100 is 0, in: %s", expression->text),
			pstrdup("Cast one side: defect_count::float8 / production_count."));
	if (orders_text_as_number((Node *) expression->expr, NULL))
		problem_report(problems, "warning", rule, path,
					   psprintf("a text is compared with a number by its letters: '10' "
								"comes before '9', in: %s",
								expression->text),
					   pstrdup("Declare the input as a number, or cast it."));
}

/* --- evaluating ---------------------------------------------------------------------------- */

/*
 * The value over what is in the decision's slot, in its per-evaluation memory.
 * Initialised at first use, with the owner's rights, which the caller has taken.
 */
Datum
expression_evaluate(Decision *decision, Expression *expression, bool *isnull)
{
	MemoryContext caller;
	Datum value;

	if (expression->state == NULL)
	{
		caller = MemoryContextSwitchTo(decision->context);
		expression->state = ExecInitExpr(expression->expr, NULL);
		MemoryContextSwitchTo(caller);
	}
	value = ExecEvalExprSwitchContext(expression->state, decision->econtext, isnull);
	return value;
}
