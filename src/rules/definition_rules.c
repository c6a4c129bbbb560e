/*
 * definition_rules.c
 *		Rules and what they say.
 */
#include "postgres.h"

#include "base/errors.h"
#include "miscadmin.h"
#include "rules/definition.h"
#include "rules/limits.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

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

void
read_then(Reader *reader, Jsonb *document, const char *path, Verdict *verdict)
{
	MemoryContext caller;
	char *severity;

	(void) reader_share(reader, document, path, "confidence", 0);
	(void) reader_string(reader, document, path, "status");
	(void) reader_string(reader, document, path, "result");
	(void) reader_string(reader, document, path, "explanation");
	severity = reader_string(reader, document, path, "severity");
	if (severity != NULL && severity_from_name(severity) == SEVERITY_NONE)
		reader_report(reader, PATH("%s.severity", path),
					  PATH("\"%s\" is not known", severity),
					  pstrdup("Severities are info, warning and critical."));
	(void) reader_kind(reader, document, path, "recommended_actions", "array");
	caller = MemoryContextSwitchTo(reader->decision->context);
	verdict_read(document, verdict);
	MemoryContextSwitchTo(caller);
}

/* --- rules ------------------------------------------------------------------------------ */

static void
read_computed(Reader *reader, Jsonb *document, const char *path, Rule *rule)
{
	Jsonb *set = reader_object(reader, document, path, "set");
	ListCell *cell;

	foreach (cell, doc_keys(set))
	{
		const char *name = lfirst(cell);
		char *text = reader_string(reader, set, PATH("%s.set", path), name);
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
	Jsonb *then = reader_object(reader, document, path, "then");
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
		reader_report(
			reader, PATH("%s.then", path), pstrdup("a rule needs an outcome"),
			pstrdup("Write \"then\": {\"status\": \"...\", \"severity\": \"...\"}."));
	read_then(reader, then, PATH("%s.then", path), &rule->then);
	rule->then.confidence =
		reader_share(reader, document, path, "confidence", rule->then.confidence);
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
			reader_report(reader, path,
						  PATH("\"{%s}\" is neither an input nor a let value", name),
						  NULL);
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
	id = reader_string(reader, document, path, "id");
	if (id != NULL && id[0] == '\0')
		reader_report(reader, PATH("%s.id", path), pstrdup("a rule's id is empty"),
					  pstrdup("Give it a name, or leave \"id\" out."));
	caller = MemoryContextSwitchTo(decision->context);
	rule->alone = list_make1(rule);
	MemoryContextSwitchTo(caller);
	rule->id =
		MemoryContextStrdup(decision->context, id ? id : PATH("rule %d", index + 1));
	reader->rule = rule->id;
	reader_check_keys(reader, document, path, keys, lengthof(keys));
	when = reader_string(reader, document, path, "when");
	if (doc_get(document, "when") == NULL)
		reader_report(reader, PATH("%s.when", path), pstrdup("a rule needs a condition"),
					  pstrdup("Write \"when\": \"true\" for one that always holds."));
	if (when != NULL &&
		expression_compile(decision, when, BOOLOID, &rule->when, reader->problems,
						   rule->id, PATH("%s.when", path)))
		expression_warn(&rule->when, reader->problems, rule->id, PATH("%s.when", path));
	read_outcome(reader, document, path, rule);
	read_computed(reader, document, path, rule);
	because = reader_string(reader, document, path, "because");
	if (because != NULL)
	{
		check_template(reader, because, PATH("%s.because", path));
		rule->because = MemoryContextStrdup(decision->context, because);
	}
	(void) reader_string(reader, document, path, "name");
	(void) reader_string(reader, document, path, "description");
	priority = reader_kind(reader, document, path, "priority", "number");
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
			reader_report(reader, PATH("$.rules[%d].id", rules[i]->index),
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

const Rule *
decision_rule_words(const Decision *decision, int number)
{
	Rule *rule = &decision->rules[number];
	MemoryContext caller;
	Jsonb *document, *then;
	char *id;

	if (rule->ready || rule->id != NULL)
		return rule;
	caller = MemoryContextSwitchTo(decision->context);
	document =
		doc_from_value(getIthJsonbValueFromContainer(&decision->rule_list->root, number));
	then = doc_get_doc(document, "then");
	verdict_read(then ? then : doc_parse_trusted("{}"), &rule->then);
	id = doc_get_string(document, "id");
	rule->id = id ? id : psprintf("rule %d", number + 1);
	pfree(document);
	MemoryContextSwitchTo(caller);
	return rule;
}

void
read_rules(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	JsonbValue *list = reader_kind(reader, definition, "$", "rules", "array");
	List *members;
	ListCell *cell;

	if (doc_get(definition, "rules") == NULL)
		reader_report(
			reader, pstrdup("$.rules"), pstrdup("rules are missing"),
			pstrdup("Write \"rules\": [{\"id\": ..., \"when\": ..., \"then\": ...}]."));
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
			reader_report(reader, PATH("$.rules[%d]", index),
						  pstrdup("a rule is an object"),
						  pstrdup("Write {\"id\": ..., \"when\": ..., \"then\": ...}."));
			continue;
		}
		read_rule(reader, doc_from_value(member), index,
				  &decision->rules[decision->rule_count++]);
	}
	if (reader->problems->collect)
		check_rule_ids(reader);
}
