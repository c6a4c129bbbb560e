/*
 * decision.c
 *		From a definition, the document, to a Decision, compiled.
 *
 * Every part is read by one function that reports what it does not like and goes
 * on, so that an author sees all mistakes at once.  Everything that stays lives in
 * the decision's own memory context.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "base/attempt.h"
#include "base/errors.h"
#include "base/nearest.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "judgment/dependency.h"
#include "judgment/judgment_int.h"
#include "judgment/limits.h"
#include "judgment/rule_image.h"
#include "judgment/rule_index.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

typedef struct Reader
{
	Decision *decision;
	Problems *problems;
	const char *rule; /* id of the rule being read, or NULL */
	bool lazily;      /* rules are read when they are asked for */
} Reader;

/* The name of the hidden column with the judgment's time: no input can have it. */
#define TIME_COLUMN " time"

#define PATH(...) psprintf(__VA_ARGS__)

static void
report(Reader *reader, char *path, char *message, char *hint)
{
	problem_report(reader->problems, "error", reader->rule, path, message, hint);
}

/* --- keys and kinds -------------------------------------------------------------- */

/* Reports keys that nobody knows, with the nearest one that is known. */
static void
check_keys(Reader *reader, Jsonb *object, const char *path, const char *const *known,
		   int count)
{
	ListCell *cell;

	foreach (cell, doc_keys(object))
	{
		const char *key = lfirst(cell);
		const char *near;
		bool found = false;

		for (int i = 0; i < count && !found; i++)
			found = strcmp(known[i], key) == 0;
		if (found)
			continue;
		near = nearest_name(key, known, count);
		report(reader, PATH("%s.%s", path, key), PATH("key \"%s\" is not known", key),
			   near ? PATH("Did you mean \"%s\"?", near) : NULL);
	}
}

/* How a value of each kind is written. */
static char *
kind_hint(const char *kind)
{
	if (strcmp(kind, "string") == 0)
		return "Write it in double quotes.";
	if (strcmp(kind, "number") == 0)
		return "Write digits without quotes.";
	if (strcmp(kind, "boolean") == 0)
		return "Write true or false, without quotes.";
	if (strcmp(kind, "array") == 0)
		return "Write a list in brackets: [...].";
	return "Write names and values in braces: {\"name\": ...}.";
}

static void
report_kind(Reader *reader, char *path, const JsonbValue *value, const char *kind)
{
	report(reader, path,
		   PATH("%s %s is wanted, not %s", strchr("aeiou", kind[0]) ? "an" : "a", kind,
				doc_value_kind(value)),
		   kind_hint(kind));
}

/* The value under a key if it is of the kind; else reports and returns NULL. */
static JsonbValue *
get_kind(Reader *reader, Jsonb *object, const char *path, const char *key,
		 const char *kind)
{
	JsonbValue *value = doc_get(object, key);

	if (value == NULL)
		return NULL;
	if (strcmp(doc_value_kind(value), kind) == 0)
		return value;
	report_kind(reader, PATH("%s.%s", path, key), value, kind);
	return NULL;
}

static Jsonb *
get_object(Reader *reader, Jsonb *object, const char *path, const char *key)
{
	JsonbValue *value = get_kind(reader, object, path, key, "object");

	return value ? doc_from_value(value) : NULL;
}

static char *
get_string(Reader *reader, Jsonb *object, const char *path, const char *key)
{
	JsonbValue *value = get_kind(reader, object, path, key, "string");

	return value ? doc_value_text(value) : NULL;
}

static bool
get_boolean(Reader *reader, Jsonb *object, const char *path, const char *key)
{
	JsonbValue *value = get_kind(reader, object, path, key, "boolean");

	return value != NULL && value->val.boolean;
}

/* Every member of a list is to be a string. */
static void
check_strings(Reader *reader, Jsonb *list, const char *path)
{
	ListCell *cell;

	foreach (cell, doc_elements(list))
	{
		const JsonbValue *member = lfirst(cell);

		if (member->type != jbvString)
			report_kind(reader, PATH("%s[%d]", path, foreach_current_index(cell)), member,
						"string");
	}
}

/* A number in 0..1, or the given one where absent. */
static double
get_share(Reader *reader, Jsonb *object, const char *path, const char *key,
		  double otherwise)
{
	JsonbValue *value = get_kind(reader, object, path, key, "number");
	double share;

	if (value == NULL)
		return otherwise;
	share = doc_value_number(value);
	if (share >= 0 && share <= 1)
		return share;
	report(reader, PATH("%s.%s", path, key),
		   PATH("%s is not between 0 and 1", doc_value_text(value)),
		   pstrdup("0.95 means 95 percent."));
	return otherwise;
}

/* An index into names, by a string under the key; -1 where absent or unknown. */
static int
get_choice(Reader *reader, Jsonb *object, const char *path, const char *key,
		   const char *const *names, int count)
{
	char *text = get_string(reader, object, path, key);
	const char *near;

	if (text == NULL)
		return -1;
	for (int i = 0; i < count; i++)
		if (pg_strcasecmp(text, names[i]) == 0)
			return i;
	near = nearest_name(text, names, count);
	report(reader, PATH("%s.%s", path, key), PATH("\"%s\" is not known", text),
		   near ? PATH("Did you mean \"%s\"?", near) : NULL);
	return -1;
}

/* --- inputs ------------------------------------------------------------------------ */

static const char *const on_null_names[] = {"unknown", "no_match", "error"};

/* A JSON value as one of the input's type, for default, min, max and enum. */
static bool
read_constant(Reader *reader, Input *input, const JsonbValue *json, const char *path,
			  Datum *result)
{
	MemoryContext caller = MemoryContextSwitchTo(reader->decision->context);
	bool isnull;
	char *why;

	*result = value_from_json(&input->value, json, &isnull, &why);
	/* A number of JSON lies in its document. */
	if (why == NULL && !isnull)
		*result = datumCopy(*result, input->value.by_value, input->value.length);
	MemoryContextSwitchTo(caller);
	if (why == NULL && !isnull)
		return true;
	report(reader, pstrdup(path), why ? why : pstrdup("null has no meaning here"), NULL);
	return false;
}

static bool
read_bound(Reader *reader, Input *input, Jsonb *spec, const char *path, const char *key,
		   Datum *bound, char **text)
{
	JsonbValue *value = doc_get(spec, key);

	if (value == NULL)
		return false;
	if (!read_constant(reader, input, value, PATH("%s.%s", path, key), bound))
		return false;
	*text = MemoryContextStrdup(reader->decision->context, doc_value_text(value));
	return true;
}

static void
read_allowed(Reader *reader, Input *input, Jsonb *spec, const char *path)
{
	JsonbValue *list = get_kind(reader, spec, path, "enum", "array");
	MemoryContext caller;
	ListCell *cell;

	if (list == NULL)
		return;
	caller = MemoryContextSwitchTo(reader->decision->context);
	input->allowed_text = doc_value_text(list);
	foreach (cell, doc_elements(doc_from_value(list)))
	{
		Datum *member = palloc(sizeof(Datum));

		if (read_constant(reader, input, lfirst(cell),
						  PATH("%s.enum[%d]", path, foreach_current_index(cell)), member))
			input->allowed = lappend(input->allowed, member);
	}
	MemoryContextSwitchTo(caller);
}

/* min, max and enum compare with the type's own btree order. */
static void
prepare_comparison(Reader *reader, Input *input, const char *path)
{
	TypeCacheEntry *entry;

	if (!input->has_min && !input->has_max && input->allowed == NIL)
		return;
	entry = lookup_type_cache(input->value.type, TYPECACHE_CMP_PROC_FINFO);
	if (!OidIsValid(entry->cmp_proc_finfo.fn_oid))
	{
		report(reader, pstrdup(path),
			   PATH("values of type %s have no order", input->type_name), NULL);
		return;
	}
	fmgr_info_cxt(entry->cmp_proc_finfo.fn_oid, &input->compare,
				  reader->decision->context);
}

/* An input that nothing fits, or not even its own default, is a slip of the pen. */
static void
check_constants(Reader *reader, Input *input, Jsonb *spec, const char *path)
{
	Datum otherwise = input->default_value;
	char *text;

	if (!reader->problems->collect || !OidIsValid(input->compare.fn_oid))
		return;
	if (input->has_min && input->has_max &&
		input_compare(input, input->min, input->max) > 0)
		report(reader, PATH("%s.min", path),
			   PATH("min %s is greater than max %s", input->min_text, input->max_text),
			   "No value lies between them: exchange or correct them.");
	if (!input->has_default)
		return;
	text = doc_value_text(doc_get(spec, "default"));
	if (input->has_min && input_compare(input, otherwise, input->min) < 0)
		report(reader, PATH("%s.default", path),
			   PATH("default %s is less than min %s", text, input->min_text),
			   "An absent input would always be refused.");
	if (input->has_max && input_compare(input, otherwise, input->max) > 0)
		report(reader, PATH("%s.default", path),
			   PATH("default %s is greater than max %s", text, input->max_text),
			   "An absent input would always be refused.");
	if (!input_is_allowed(input, otherwise))
		report(reader, PATH("%s.default", path),
			   PATH("default %s is not one of %s", text, input->allowed_text),
			   "An absent input would always be refused.");
}

static void
read_input_spec(Reader *reader, Input *input, Jsonb *spec, const char *path)
{
	static const char *const keys[] = {"type", "required", "enum",    "min",        "max",
									   "pii",  "default",  "on_null", "description"};
	JsonbValue *otherwise;
	int choice;

	check_keys(reader, spec, path, keys, lengthof(keys));
	input->required = get_boolean(reader, spec, path, "required");
	input->pii = get_boolean(reader, spec, path, "pii");
	choice =
		get_choice(reader, spec, path, "on_null", on_null_names, lengthof(on_null_names));
	if (choice >= 0)
		input->on_null = (OnNull) choice;
	(void) get_string(reader, spec, path, "description");
	otherwise = doc_get(spec, "default");
	if (otherwise != NULL)
		input->has_default =
			read_constant(reader, input, otherwise, PATH("%s.default", path),
						  &input->default_value);
	input->has_min =
		read_bound(reader, input, spec, path, "min", &input->min, &input->min_text);
	input->has_max =
		read_bound(reader, input, spec, path, "max", &input->max, &input->max_text);
	read_allowed(reader, input, spec, path);
	prepare_comparison(reader, input, path);
	check_constants(reader, input, spec, path);
}

static void
read_input(Reader *reader, Input *input, const char *name, JsonbValue *value)
{
	const char *path = PATH("$.inputs.%s", name);
	Jsonb *spec = NULL;
	char *type_name;
	char *why;
	MemoryContext caller;
	bool known;

	memset(input, 0, sizeof(*input));
	input->name = MemoryContextStrdup(reader->decision->context, name);
	input->name_length = strlen(name);
	input->on_null = reader->decision->on_null;
	if (strcmp(doc_value_kind(value), "object") == 0)
	{
		spec = doc_from_value(value);
		type_name = get_string(reader, spec, path, "type");
	}
	else
		type_name = value->type == jbvString ? doc_value_text(value) : NULL;

	caller = MemoryContextSwitchTo(reader->decision->context);
	input->type_name = type_name ? pstrdup(type_name) : "text";
	known = type_name && value_type_resolve(type_name, &input->value, &why);
	if (!known)
		value_type_init(TEXTOID, -1, &input->value);
	MemoryContextSwitchTo(caller);
	dependency_note_type(reader->decision, input->value.type);
	if (!known)
		report(reader, pstrdup(path), type_name ? why : pstrdup("an input needs a type"),
			   pstrdup("Write \"name\": \"type\", or \"name\": {\"type\": \"...\"}."));
	if (spec != NULL && known)
		read_input_spec(reader, input, spec, path);
}

static void
read_inputs(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	Jsonb *inputs = get_object(reader, definition, "$", "inputs");
	List *names = doc_keys(inputs);
	ListCell *cell;

	if (doc_get(definition, "inputs") == NULL)
		report(reader, pstrdup("$.inputs"), pstrdup("inputs are missing"),
			   pstrdup("Declare them: \"inputs\": {\"defect_rate\": \"float8\"}."));
	if (!limit_inputs(reader->problems, list_length(names)))
		return;
	decision->inputs = MemoryContextAllocZero(decision->context,
											  sizeof(Input) * Max(list_length(names), 1));
	foreach (cell, names)
	{
		const char *name = lfirst(cell);

		read_input(reader, &decision->inputs[decision->input_count], name,
				   doc_get(inputs, name));
		decision->input_count++;
	}
}

/* --- let --------------------------------------------------------------------------- */

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
		report(reader, PATH("$.let.%s", source->name),
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

static void
read_lets(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	Jsonb *lets = get_object(reader, definition, "$", "let");
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
		char *text = get_string(reader, lets, "$.let", name);

		if (is_input(decision, name))
			report(reader, PATH("$.let.%s", name), PATH("\"%s\" is also an input", name),
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

/* --- verdicts ------------------------------------------------------------------------ */

static List *
read_actions(Jsonb *document)
{
	List *actions = NIL;
	ListCell *cell;

	foreach (cell, doc_elements(doc_get_doc(document, "recommended_actions")))
		if (((JsonbValue *) lfirst(cell))->type != jbvNull)
			actions = lappend(actions, lfirst(cell));
	return actions;
}

/*
 * status and result are two words for one thing in the documents; severity is
 * stated, or follows from a well-known status, or is not there.
 */
void
verdict_read(Jsonb *document, Verdict *verdict)
{
	char *severity = doc_get_string(document, "severity");
	char *result = doc_get_string(document, "result");

	document = actions_mark(document);
	memset(verdict, 0, sizeof(*verdict));
	verdict->status = doc_get_string(document, "status");
	if (verdict->status == NULL)
		verdict->status = result;
	verdict->severity = severity_from_name(severity);
	if (verdict->severity == SEVERITY_NONE)
		verdict->severity = severity_from_name(result);
	if (verdict->severity == SEVERITY_NONE)
		verdict->severity = severity_from_status(verdict->status);
	verdict->confidence =
		doc_get_number(document, "confidence", JUDGMENT_RULE_CONFIDENCE);
	verdict->actions = read_actions(document);
	verdict->explanation = doc_get_string(document, "explanation");
	verdict->outcome = document;
}

static void
read_then(Reader *reader, Jsonb *document, const char *path, Verdict *verdict)
{
	MemoryContext caller;
	char *severity;

	(void) get_share(reader, document, path, "confidence", 0);
	(void) get_string(reader, document, path, "status");
	(void) get_string(reader, document, path, "result");
	(void) get_string(reader, document, path, "explanation");
	severity = get_string(reader, document, path, "severity");
	if (severity != NULL && severity_from_name(severity) == SEVERITY_NONE)
		report(reader, PATH("%s.severity", path), PATH("\"%s\" is not known", severity),
			   pstrdup("Severities are info, warning and critical."));
	(void) get_kind(reader, document, path, "recommended_actions", "array");
	caller = MemoryContextSwitchTo(reader->decision->context);
	verdict_read(document, verdict);
	MemoryContextSwitchTo(caller);
}

/* --- rules ------------------------------------------------------------------------------ */

static void
read_computed(Reader *reader, Jsonb *document, const char *path, Rule *rule)
{
	Jsonb *set = get_object(reader, document, path, "set");
	ListCell *cell;

	foreach (cell, doc_keys(set))
	{
		const char *name = lfirst(cell);
		char *text = get_string(reader, set, PATH("%s.set", path), name);
		MemoryContext caller;
		Computed *computed;

		if (text == NULL)
			continue;
		caller = MemoryContextSwitchTo(reader->decision->context);
		computed = palloc0(sizeof(Computed));
		computed->name = pstrdup(name);
		MemoryContextSwitchTo(caller);
		if (!expression_compile_json(reader->decision, text, &computed->value,
									 reader->problems, rule->id,
									 PATH("%s.set.%s", path, name)))
			continue;
		caller = MemoryContextSwitchTo(reader->decision->context);
		rule->computed = lappend(rule->computed, computed);
		MemoryContextSwitchTo(caller);
	}
}

/* Confidence may stand beside "then" or in it. */
static void
read_outcome(Reader *reader, Jsonb *document, const char *path, Rule *rule)
{
	Jsonb *then = get_object(reader, document, path, "then");
	MemoryContext caller = MemoryContextSwitchTo(reader->decision->context);

	if (then == NULL)
		then = doc_parse_trusted("{}");
	else
	{
		Jsonb *copy = palloc(VARSIZE(then));

		memcpy(copy, then, VARSIZE(then));
		then = copy;
	}
	MemoryContextSwitchTo(caller);
	if (doc_get(document, "then") == NULL && doc_get(document, "set") == NULL)
		report(reader, PATH("%s.then", path), pstrdup("a rule needs an outcome"),
			   pstrdup("Write \"then\": {\"status\": \"...\", \"severity\": \"...\"}."));
	read_then(reader, then, PATH("%s.then", path), &rule->then);
	rule->then.confidence =
		get_share(reader, document, path, "confidence", rule->then.confidence);
}

/* Names in braces must be there: a reason with a hole in it helps nobody. */
static void
check_template(Reader *reader, const char *text, char *path)
{
	const char *at = text;
	const char *open, *close;

	while ((open = strchr(at, '{')) != NULL && (close = strchr(open, '}')) != NULL)
	{
		char *name = pnstrdup(open + 1, close - open - 1);

		if (decision_column(reader->decision, name) == 0)
			report(reader, path,
				   PATH("\"{%s}\" is neither an input nor a let value", name), NULL);
		at = close + 1;
	}
}

static void
read_rule(Reader *reader, Jsonb *document, int index, Rule *rule)
{
	static const char *const keys[] = {"id",      "when",       "then",
									   "set",     "confidence", "name",
									   "because", "priority",   "description"};
	const char *path = PATH("$.rules[%d]", index);
	Decision *decision = reader->decision;
	char *id, *when, *because;
	JsonbValue *priority;
	MemoryContext caller;

	rule->index = index;
	id = get_string(reader, document, path, "id");
	if (id != NULL && id[0] == '\0')
		report(reader, PATH("%s.id", path), pstrdup("a rule's id is empty"),
			   pstrdup("Give it a name, or leave \"id\" out."));
	caller = MemoryContextSwitchTo(decision->context);
	rule->alone = list_make1(rule);
	MemoryContextSwitchTo(caller);
	rule->id =
		MemoryContextStrdup(decision->context, id ? id : PATH("rule %d", index + 1));
	reader->rule = rule->id;
	check_keys(reader, document, path, keys, lengthof(keys));
	when = get_string(reader, document, path, "when");
	if (doc_get(document, "when") == NULL)
		report(reader, PATH("%s.when", path), pstrdup("a rule needs a condition"),
			   pstrdup("Write \"when\": \"true\" for one that always holds."));
	if (when != NULL &&
		expression_compile(decision, when, BOOLOID, &rule->when, reader->problems,
						   rule->id, PATH("%s.when", path)))
		expression_warn(&rule->when, reader->problems, rule->id, PATH("%s.when", path));
	read_outcome(reader, document, path, rule);
	read_computed(reader, document, path, rule);
	because = get_string(reader, document, path, "because");
	if (because != NULL)
	{
		check_template(reader, because, PATH("%s.because", path));
		rule->because = MemoryContextStrdup(decision->context, because);
	}
	(void) get_string(reader, document, path, "name");
	(void) get_string(reader, document, path, "description");
	priority = get_kind(reader, document, path, "priority", "number");
	rule->priority = priority ? doc_value_number(priority) : 0;
	rule->ready = true;
	reader->rule = NULL;
}

/* By id, and by place in the list where ids are the same. */
static int
compare_rules(const void *left, const void *right)
{
	const Rule *a = *(Rule *const *) left;
	const Rule *b = *(Rule *const *) right;
	int order = strcmp(a->id, b->id);

	return order != 0 ? order : a->index - b->index;
}

static void
check_rule_ids(Reader *reader)
{
	Decision *decision = reader->decision;
	Rule **rules = palloc(sizeof(Rule *) * Max(decision->rule_count, 1));

	for (int i = 0; i < decision->rule_count; i++)
		rules[i] = &decision->rules[i];
	qsort(rules, decision->rule_count, sizeof(Rule *), compare_rules);
	for (int i = 1; i < decision->rule_count; i++)
		if (strcmp(rules[i]->id, rules[i - 1]->id) == 0)
			report(reader, PATH("$.rules[%d].id", rules[i]->index),
				   PATH("rule id \"%s\" is used twice", rules[i]->id),
				   pstrdup("Ids tell rules apart: give one of them another."));
	pfree(rules);
}

static void
keep_rule_list(Decision *decision, const JsonbValue *list)
{
	MemoryContext caller = MemoryContextSwitchTo(decision->context);

	decision->rule_list = doc_from_value(list);
	decision->rule_count = JB_ROOT_COUNT(decision->rule_list);
	decision->rules = palloc0(sizeof(Rule) * Max(decision->rule_count, 1));
	MemoryContextSwitchTo(caller);
}

/* With the owner's rights, as when all were read at once. */
void
decision_read_rule(const Decision *decision, int number)
{
	Problems problems = {.collect = false};
	Reader reader = {unconstify(Decision *, decision), &problems};
	OwnerRights rights;

	owner_rights_begin(decision->owner, true, &rights);
	read_rule(&reader,
			  doc_from_value(
				  getIthJsonbValueFromContainer(&decision->rule_list->root, number)),
			  number, &decision->rules[number]);
	owner_rights_end(&rights);
}

static void
read_rules(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	JsonbValue *list = get_kind(reader, definition, "$", "rules", "array");
	List *members;
	ListCell *cell;

	if (doc_get(definition, "rules") == NULL)
		report(reader, pstrdup("$.rules"), pstrdup("rules are missing"),
			   pstrdup(
				   "Write \"rules\": [{\"id\": ..., \"when\": ..., \"then\": ...}]."));
	if (list == NULL)
		return;
	if (reader->lazily)
	{
		keep_rule_list(decision, list);
		return;
	}
	members = doc_elements(doc_from_value(list));
	if (!limit_rules(reader->problems, list_length(members)))
		return;
	decision->rules = MemoryContextAllocZero(decision->context,
											 sizeof(Rule) * Max(list_length(members), 1));
	foreach (cell, members)
	{
		int index = foreach_current_index(cell);
		JsonbValue *member = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (strcmp(doc_value_kind(member), "object") != 0)
		{
			report(reader, PATH("$.rules[%d]", index), pstrdup("a rule is an object"),
				   pstrdup("Write {\"id\": ..., \"when\": ..., \"then\": ...}."));
			continue;
		}
		read_rule(reader, doc_from_value(member), index,
				  &decision->rules[decision->rule_count++]);
	}
	if (reader->problems->collect)
		check_rule_ids(reader);
}

/* --- the rest of the document --------------------------------------------------------------- */

static void
read_default(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	Jsonb *otherwise = get_object(reader, definition, "$", "default");
	MemoryContext caller;
	Jsonb *copy;

	if (otherwise == NULL)
		return;
	caller = MemoryContextSwitchTo(decision->context);
	copy = palloc(VARSIZE(otherwise));
	memcpy(copy, otherwise, VARSIZE(otherwise));
	decision->otherwise = palloc0(sizeof(Verdict));
	decision->otherwise_because = doc_get_string(copy, "because");
	MemoryContextSwitchTo(caller);
	(void) get_string(reader, copy, "$.default", "because");
	read_then(reader, copy, "$.default", decision->otherwise);
}

static void
read_collect(Reader *reader, Jsonb *definition)
{
	static const char *const functions[] = {"sum", "min", "max", "count", "list"};
	Decision *decision = reader->decision;
	Jsonb *collect = get_object(reader, definition, "$", "collect");
	ListCell *cell;

	foreach (cell, doc_keys(collect))
	{
		const char *name = lfirst(cell);
		int choice = get_choice(reader, collect, "$.collect", name, functions,
								lengthof(functions));
		MemoryContext caller = MemoryContextSwitchTo(decision->context);

		if (choice >= 0)
		{
			Collected *collected = palloc0(sizeof(Collected));

			collected->name = pstrdup(name);
			collected->function = pstrdup(functions[choice]);
			decision->collected = lappend(decision->collected, collected);
		}
		MemoryContextSwitchTo(caller);
	}
}

/* What a model may answer: "statuses", else those that rules and default give. */
static void
read_statuses(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	JsonbValue *list = get_kind(reader, definition, "$", "statuses", "array");
	MemoryContext caller = MemoryContextSwitchTo(decision->context);
	ListCell *cell;

	if (list != NULL)
	{
		check_strings(reader, doc_from_value(list), "$.statuses");
		foreach (cell, doc_elements(doc_from_value(list)))
			decision->statuses =
				lappend(decision->statuses, makeString(doc_value_text(lfirst(cell))));
	}
	else if (!reader->lazily) /* which no model is asked for */
	{
		for (int i = 0; i < decision->rule_count; i++)
			if (decision->rules[i].then.status != NULL)
				decision->statuses =
					list_append_unique(decision->statuses,
									   makeString(decision->rules[i].then.status));
		if (decision->otherwise && decision->otherwise->status)
			decision->statuses =
				list_append_unique(decision->statuses,
								   makeString(decision->otherwise->status));
	}
	MemoryContextSwitchTo(caller);
}

static Jsonb *
answer_schema(const Decision *decision)
{
	DocBuilder b;
	ListCell *cell;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "type", "object");
	doc_begin_object(&b, "properties");
	doc_begin_object(&b, "status");
	doc_put_string(&b, "type", "string");
	if (decision->statuses != NIL)
	{
		doc_begin_array(&b, "enum");
		foreach (cell, decision->statuses)
			doc_put_string(&b, NULL, strVal(lfirst(cell)));
		doc_end_array(&b);
	}
	doc_end_object(&b);
	doc_put_doc(
		&b, "severity",
		doc_parse_trusted(
			"{\"type\": \"string\", \"enum\": [\"info\", \"warning\", \"critical\"]}"));
	doc_put_doc(&b, "confidence",
				doc_parse_trusted(
					"{\"type\": \"number\", \"minimum\": 0, \"maximum\": 1}"));
	doc_put_doc(&b, "explanation", doc_parse_trusted("{\"type\": \"string\"}"));
	doc_put_doc(&b, "recommended_actions",
				doc_parse_trusted(
					"{\"type\": \"array\", \"items\": {\"type\": \"string\"}}"));
	doc_end_object(&b);
	doc_put_doc(&b, "required",
				doc_parse_trusted("[\"status\", \"severity\", \"confidence\", "
								  "\"explanation\", \"recommended_actions\"]"));
	doc_put_bool(&b, "additionalProperties", false);
	doc_end_object(&b);
	return doc_finish(&b);
}

static void
read_ladder(Reader *reader, Jsonb *prompt)
{
	Decision *decision = reader->decision;

	decision->prompt_ladder = get_boolean(reader, prompt, "$.prompt", "ladder");
	decision->prompt_ladder_confidence =
		get_share(reader, prompt, "$.prompt", "ladder_confidence", NAN);
	if (!decision->prompt_ladder && !isnan(decision->prompt_ladder_confidence))
		report(reader, pstrdup("$.prompt.ladder_confidence"),
			   pstrdup("a prompt without a ladder needs no ladder_confidence"),
			   pstrdup("Add \"ladder\": true."));
}

/* The prompt of a definition that has no words of its own for it. */
#define PROMPT_OF_ALL_VALUES "{{ . }}"

static void
read_prompt(Reader *reader, Jsonb *definition)
{
	static const char *const keys[] = {"model", "system", "user", "ladder",
									   "ladder_confidence"};
	Decision *decision = reader->decision;
	Jsonb *prompt = get_object(reader, definition, "$", "prompt");
	char *model, *system, *user;
	MemoryContext caller;

	if (prompt == NULL)
		return;
	check_keys(reader, prompt, "$.prompt", keys, lengthof(keys));
	model = get_string(reader, prompt, "$.prompt", "model");
	system = get_string(reader, prompt, "$.prompt", "system");
	user = get_string(reader, prompt, "$.prompt", "user");
	read_ladder(reader, prompt);
	if (model == NULL && !decision->prompt_ladder)
		report(reader, pstrdup("$.prompt"), pstrdup("a prompt needs a model or a ladder"),
			   pstrdup("Write \"prompt\": {\"model\": \"mini\"}."));
	caller = MemoryContextSwitchTo(decision->context);
	decision->prompt_model = model ? pstrdup(model) : NULL;
	decision->prompt_system = system ? pstrdup(system) : NULL;
	decision->prompt_user = pstrdup(user ? user : PROMPT_OF_ALL_VALUES);
	decision->answer_schema = answer_schema(decision);
	MemoryContextSwitchTo(caller);
}

static void
read_policy(Reader *reader, Jsonb *definition)
{
	static const char *const weight_keys[] = {"rule", "llm"};
	static const char *const languages[] = {"en", "ko"};
	static const char *const resolutions[] = {
		[CONFLICT_CONFIDENCE] = "confidence",
		[CONFLICT_RULE_PRIORITY] = "rule_priority",
		[CONFLICT_LLM_PRIORITY] = "llm_priority",
		[CONFLICT_HUMAN_ESCALATE] = "human_escalate",
	};
	Decision *decision = reader->decision;
	char *policy = get_string(reader, definition, "$", "policy");
	Jsonb *weights = get_object(reader, definition, "$", "weights");
	int choice;

	decision->policy = decision->prompt_user ? POLICY_HYBRID_WEIGHTED : POLICY_RULE_ONLY;
	if (policy != NULL && !judgment_policy_lookup(policy, &decision->policy))
	{
		const char *near = nearest_name(policy, judgment_policy_names, POLICY_COUNT);

		report(reader, pstrdup("$.policy"), PATH("policy \"%s\" does not exist", policy),
			   near ? PATH("Did you mean \"%s\"?", near) : NULL);
	}
	if (weights != NULL)
		check_keys(reader, weights, "$.weights", weight_keys, lengthof(weight_keys));
	decision->rule_weight =
		get_share(reader, weights, "$.weights", "rule", JUDGMENT_RULE_WEIGHT);
	decision->llm_weight =
		get_share(reader, weights, "$.weights", "llm", JUDGMENT_LLM_WEIGHT);
	if (fabs(decision->rule_weight + decision->llm_weight - 1) > 1e-9)
		report(reader, pstrdup("$.weights"),
			   PATH("weights %g and %g do not add up to 1", decision->rule_weight,
					decision->llm_weight),
			   pstrdup("Write \"weights\": {\"rule\": 0.6, \"llm\": 0.4}."));
	decision->gate = get_share(reader, definition, "$", "gate", JUDGMENT_GATE);
	decision->fallback_confidence =
		get_share(reader, definition, "$", "fallback_confidence",
				  JUDGMENT_FALLBACK_CONFIDENCE);
	choice =
		get_choice(reader, definition, "$", "language", languages, lengthof(languages));
	decision->language = choice == 1 ? "ko" : "en";
	choice = get_choice(reader, definition, "$", "conflict_resolution", resolutions,
						lengthof(resolutions));
	decision->conflict_resolution = Max(choice, CONFLICT_CONFIDENCE);
}

/* By this input's value, rather than by the whole input, a canary takes its share. */
static void
read_canary_key(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	char *key = get_string(reader, definition, "$", "canary_key");
	int attno = key ? decision_column(decision, key) : 0;

	if (key == NULL)
		return;
	if (attno < 1 || attno > decision->input_count)
		report(reader, pstrdup("$.canary_key"), PATH("\"%s\" is no input", key),
			   pstrdup("Name one of the inputs of this definition."));
	decision->canary_key = MemoryContextStrdup(decision->context, key);
}

/* "300s" in milliseconds. */
static void
read_cache_ttl(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	char *text = get_string(reader, definition, "$", "cache_ttl");
	int milliseconds;
	const char *hint;

	decision->cache_ttl_ms = -1;
	if (text == NULL)
		return;
	if (parse_int(text, &milliseconds, GUC_UNIT_MS, &hint) && milliseconds >= 0)
		decision->cache_ttl_ms = milliseconds;
	else
		report(reader, pstrdup("$.cache_ttl"), PATH("\"%s\" is no time", text),
			   pstrdup("Write \"cache_ttl\": \"300s\"; \"0\" keeps nothing."));
}

/* --- working space ------------------------------------------------------------------------------ */

static void
add_column(TupleDesc columns, int attno, const char *name, const ValueType *type)
{
	TupleDescInitEntry(columns, attno, name, type->type, type->typmod, 0);
	TupleDescInitEntryCollation(columns, attno, type->collation);
}

static void
prepare_slot(Decision *decision)
{
	MemoryContext caller = MemoryContextSwitchTo(decision->context);
	ValueType moment;

	value_type_init(TIMESTAMPTZOID, -1, &moment);
	decision->columns = CreateTemplateTupleDesc(DECISION_COLUMN_COUNT(decision));
	for (int i = 0; i < decision->input_count; i++)
		add_column(decision->columns, DECISION_INPUT_ATTNO(i), decision->inputs[i].name,
				   &decision->inputs[i].value);
	for (int i = 0; i < decision->let_count; i++)
		add_column(decision->columns, DECISION_LET_ATTNO(decision, i),
				   decision->lets[i].name, &decision->lets[i].type);
	add_column(decision->columns, DECISION_TIME_ATTNO(decision), TIME_COLUMN, &moment);
	compat_finish_tuple_desc(decision->columns);
	decision->slot = MakeSingleTupleTableSlot(decision->columns, &TTSOpsVirtual);
	decision->econtext = CreateStandaloneExprContext();
	decision->econtext->ecxt_scantuple = decision->slot;
	decision->econtext_memory = decision->econtext->ecxt_per_tuple_memory;
	decision->let_errors = palloc0(sizeof(char *) * Max(decision->let_count, 1));
	MemoryContextSwitchTo(caller);
}

static void
note_what_may_raise(Decision *decision)
{
	for (int i = 0; i < decision->let_count; i++)
		decision->lets_may_raise |= decision->lets[i].value.may_raise;
}

/* --- the whole --------------------------------------------------------------------------------------- */

static void
read_definition(Reader *reader, Jsonb *definition)
{
	static const char *const keys[] = {"inputs",      "let",
									   "hit_policy",  "collect",
									   "rules",       "default",
									   "policy",      "weights",
									   "gate",        "fallback_confidence",
									   "prompt",      "strict",
									   "statuses",    "cache_ttl",
									   "on_null",     "language",
									   "description", "conflict_resolution",
									   "canary_key"};
	Decision *decision = reader->decision;
	int choice;

	if (strcmp(doc_kind(definition), "object") != 0)
	{
		report(reader, pstrdup("$"),
			   PATH("a definition is an object, not %s", doc_kind(definition)),
			   pstrdup("Write {\"inputs\": {...}, \"rules\": [...]}."));
		return;
	}
	if (!limit_definition(reader->problems, definition))
		return;
	check_keys(reader, definition, "$", keys, lengthof(keys));
	choice = get_choice(reader, definition, "$", "hit_policy", hit_policy_names,
						HIT_POLICY_COUNT);
	(void) get_string(reader, definition, "$", "description");
	decision->hit_policy = choice < 0 ? HIT_FIRST : (HitPolicy) choice;
	decision->strict = get_boolean(reader, definition, "$", "strict");
	choice = get_choice(reader, definition, "$", "on_null", on_null_names,
						lengthof(on_null_names));
	decision->on_null = choice < 0 ? ON_NULL_UNKNOWN : (OnNull) choice;
	read_inputs(reader, definition);
	read_lets(reader, definition);
	read_rules(reader, definition);
	read_default(reader, definition);
	read_collect(reader, definition);
	read_statuses(reader, definition);
	read_prompt(reader, definition);
	read_policy(reader, definition);
	read_canary_key(reader, definition);
	read_cache_ttl(reader, definition);
}

static Decision *
decision_begin(const char *name, int version, Oid owner)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_factory decision",
							  ALLOCSET_DEFAULT_SIZES);
	Decision *decision = MemoryContextAllocZero(context, sizeof(Decision));

	decision->context = context;
	decision->name = MemoryContextStrdup(context, name);
	decision->version = version;
	decision->owner = owner;
	return decision;
}

Decision *
decision_compile(const char *name, int version, Oid owner, Jsonb *definition,
				 Problems *problems)
{
	Decision *decision = decision_begin(name, version, owner);
	Reader reader = {decision, problems};
	OwnerRights rights;

	problems->memory = CurrentMemoryContext;
	owner_rights_begin(owner, true, &rights);
	read_definition(&reader, definition);
	owner_rights_end(&rights);
	if (problems->errors > 0)
	{
		MemoryContextDelete(decision->context);
		return NULL;
	}
	prepare_slot(decision);
	note_what_may_raise(decision);
	rule_index_build(decision);
	return decision;
}

Decision *
decision_open(const char *name, int version, Oid owner, Jsonb *definition,
			  const char *hash, const bytea *image)
{
	JsonbValue *rules = doc_get(definition, "rules");
	Problems problems = {.collect = false};
	Reader reader = {.problems = &problems, .lazily = true};
	Decision *decision;
	OwnerRights rights;

	if (rules == NULL || rules->type != jbvBinary ||
		!JsonContainerIsArray(rules->val.binary.data) ||
		!rule_image_fits(image, hash, JsonContainerSize(rules->val.binary.data)))
		return NULL;
	reader.decision = decision = decision_begin(name, version, owner);
	owner_rights_begin(owner, true, &rights);
	read_definition(&reader, definition);
	owner_rights_end(&rights);
	prepare_slot(decision);
	note_what_may_raise(decision);
	if (rule_image_load(decision,
						memcpy(MemoryContextAlloc(decision->context, VARSIZE(image)),
							   image, VARSIZE(image))))
		return decision;
	decision_free(decision);
	return NULL;
}

void
decision_free(Decision *decision)
{
	decision->econtext->ecxt_per_tuple_memory = decision->econtext_memory;
	FreeExprContext(decision->econtext, false);
	ExecDropSingleTupleTableSlot(decision->slot);
	MemoryContextDelete(decision->context);
}
