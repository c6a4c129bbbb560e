/*
 * definition_lets.c
 *		let: values that build on inputs and on one another, in an order without circles.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "nodes/nodeFuncs.h"
#include "parser/parser.h"
#include "rules/definition.h"
#include "rules/limits.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

typedef struct LetSource
{
	const char *name;
	char *text;
	List *uses; /* names it refers to */
	enum
	{
		LET_NEW,
		LET_OPEN, /* on the way down: meeting it again is a circle */
		LET_DONE
	} state;
} LetSource;

static bool
collect_names(Node *node, void *context)
{
	List **names = context;

	if (node == NULL)
		return false;
	if (IsA(node, ColumnRef) && list_length(((ColumnRef *) node)->fields) == 1 &&
		IsA(linitial(((ColumnRef *) node)->fields), String))
		*names = lappend(*names, strVal(linitial(((ColumnRef *) node)->fields)));
	return raw_expression_tree_walker(node, collect_names, context);
}

typedef struct NamesAttempt
{
	const char *text;
	List *names;
} NamesAttempt;

/* Which names a text refers to; one that does not parse is reported later. */
static void
names_body(void *argument)
{
	NamesAttempt *work = argument;
	List *raw = raw_parser(psprintf("SELECT (%s\n)", work->text), RAW_PARSE_DEFAULT);
	SelectStmt *select = (SelectStmt *) linitial_node(RawStmt, raw)->stmt;

	if (IsA(select, SelectStmt))
		(void) collect_names((Node *) select->targetList, &work->names);
}

static List *
names_used(Reader *reader, const char *text)
{
	NamesAttempt work = {text, NIL};

	if (!reader->problems->collect)
		names_body(&work);
	else if (attempt(names_body, &work) != NULL)
		return NIL;
	return work.names;
}

static void
compile_let(Reader *reader, LetSource *source)
{
	Decision *decision = reader->decision;
	Let *let = &decision->lets[decision->let_count];
	MemoryContext caller;

	if (!expression_compile(decision, source->text, InvalidOid, &let->value,
							reader->problems, NULL, PATH("$.let.%s", source->name)))
		return;
	caller = MemoryContextSwitchTo(decision->context);
	let->name = pstrdup(source->name);
	value_type_init(let->value.type, exprTypmod((Node *) let->value.expr), &let->type);
	let->type.collation = exprCollation((Node *) let->value.expr);
	MemoryContextSwitchTo(caller);
	decision->let_count++;
	expression_warn(&let->value, reader->problems, NULL, PATH("$.let.%s", source->name));
}

/* Depth first: what a let value uses is compiled before it. */
static void
visit_let(Reader *reader, LetSource *sources, int count, int at)
{
	LetSource *source = &sources[at];
	ListCell *cell;

	if (source->state == LET_DONE)
		return;
	if (source->state == LET_OPEN)
	{
		reader_report(reader, PATH("$.let.%s", source->name),
					  PATH("let value \"%s\" depends on itself", source->name),
					  pstrdup("Write one of the values in the circle over inputs only."));
		return;
	}
	source->state = LET_OPEN;
	foreach (cell, source->uses)
	{
		for (int i = 0; i < count; i++)
			if (strcmp(sources[i].name, lfirst(cell)) == 0)
				visit_let(reader, sources, count, i);
	}
	source->state = LET_DONE;
	compile_let(reader, source);
}

static bool
is_input(const Decision *decision, const char *name)
{
	for (int i = 0; i < decision->input_count; i++)
		if (strcmp(decision->inputs[i].name, name) == 0)
			return true;
	return false;
}

void
read_lets(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	Jsonb *lets = reader_object(reader, definition, "$", "let");
	List *names = doc_keys(lets);
	LetSource *sources = palloc0(sizeof(LetSource) * Max(list_length(names), 1));
	int count = 0;
	ListCell *cell;

	if (!limit_lets(reader->problems, list_length(names)))
		return;
	decision->lets = MemoryContextAllocZero(decision->context,
											sizeof(Let) * Max(list_length(names), 1));
	foreach (cell, names)
	{
		const char *name = lfirst(cell);
		char *text = reader_string(reader, lets, "$.let", name);

		if (is_input(decision, name))
			reader_report(reader, PATH("$.let.%s", name),
						  PATH("\"%s\" is also an input", name),
						  pstrdup("Give the let value another name."));
		else if (text != NULL &&
				 limit_condition(reader->problems, NULL, PATH("$.let.%s", name), text))
		{
			sources[count].name = name;
			sources[count].text = text;
			sources[count++].uses = names_used(reader, text);
		}
	}
	for (int i = 0; i < count; i++)
		visit_let(reader, sources, count, i);
}
