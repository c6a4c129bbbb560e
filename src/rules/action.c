/*
 * action.c
 *		Recommended actions that nobody may carry out unasked: marked where an
 *		outcome is read, so that none leaves the house as a plain action.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "rules/rules_int.h"
#include "rules/store.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#define ACTIONS "recommended_actions"
#define APPROVAL "requires_approval"

char *dangerous_actions = NULL;

/* What was read with the list of before is read anew. */
void
dangerous_actions_assign(const char *text, void *extra)
{
	decisions_outdate();
}

/* "Stop the line!" and "stop_the_line" are one name. */
static void
append_name(StringInfo name, const char *text, int length)
{
	for (int i = 0; i < length; i++)
	{
		unsigned char c = text[i];

		if (IS_HIGHBIT_SET(c) || isalnum(c))
			appendStringInfoChar(name, pg_tolower(c));
		else if (name->len > 0 && name->data[name->len - 1] != '_')
			appendStringInfoChar(name, '_');
	}
	while (name->len > 0 && name->data[name->len - 1] == '_')
		name->data[--name->len] = '\0';
}

static bool
is_listed(const char *action)
{
	StringInfoData wanted, listed;
	bool found = false;

	initStringInfo(&wanted);
	initStringInfo(&listed);
	append_name(&wanted, action, strlen(action));
	for (const char *item = dangerous_actions; item != NULL && *item != '\0' && !found;)
	{
		int length = strcspn(item, ",");

		resetStringInfo(&listed);
		append_name(&listed, item, length);
		found = listed.len > 0 && strcmp(listed.data, wanted.data) == 0;
		item += length + (item[length] == ',');
	}
	return found;
}

/* The name of an action, which is a text or an object that has one; or NULL. */
static char *
action_name(const JsonbValue *action)
{
	static const char *const keys[] = {"action", "action_type", "action_id", "type"};
	Jsonb *document;

	if (action->type == jbvString)
		return pnstrdup(action->val.string.val, action->val.string.len);
	if (action->type != jbvBinary)
		return NULL;
	document = doc_from_value(action);
	for (int i = 0; i < lengthof(keys); i++)
	{
		char *name = doc_get_string(document, keys[i]);

		if (name != NULL && is_listed(name))
			return name;
	}
	return NULL;
}

static bool
is_dangerous(const JsonbValue *action)
{
	char *name = action_name(action);

	return name != NULL && is_listed(name);
}

static void
put_marked(DocBuilder *b, const JsonbValue *action)
{
	doc_begin_object(b, NULL);
	if (action->type == jbvString)
		doc_put_value(b, "action", action);
	else
	{
		Jsonb *document = doc_from_value(action);
		ListCell *cell;

		foreach (cell, doc_keys(document))
			if (strcmp(lfirst(cell), APPROVAL) != 0)
				doc_put_value(b, lfirst(cell), doc_get(document, lfirst(cell)));
	}
	doc_put_bool(b, APPROVAL, true);
	doc_end_object(b);
}

static Jsonb *
marked(Jsonb *outcome, List *actions)
{
	DocBuilder b;
	ListCell *cell;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	foreach (cell, doc_keys(outcome))
		if (strcmp(lfirst(cell), ACTIONS) != 0)
			doc_put_value(&b, lfirst(cell), doc_get(outcome, lfirst(cell)));
	doc_begin_array(&b, ACTIONS);
	foreach (cell, actions)
	{
		if (is_dangerous(lfirst(cell)))
			put_marked(&b, lfirst(cell));
		else
			doc_put_value(&b, NULL, lfirst(cell));
	}
	doc_end_array(&b);
	doc_end_object(&b);
	return doc_finish(&b);
}

Jsonb *
actions_mark(Jsonb *outcome)
{
	List *actions = doc_elements(doc_get_doc(outcome, ACTIONS));
	ListCell *cell;

	foreach (cell, actions)
		if (is_dangerous(lfirst(cell)))
			return marked(outcome, actions);
	return outcome;
}

bool
actions_need_approval(const List *actions)
{
	ListCell *cell;

	foreach (cell, actions)
	{
		const JsonbValue *action = lfirst(cell);

		if (action->type == jbvBinary &&
			doc_get_bool(doc_from_value(action), APPROVAL, false))
			return true;
	}
	return false;
}

static bool
same_action(const JsonbValue *one, const JsonbValue *other)
{
	return strcmp(doc_value_kind(one), doc_value_kind(other)) == 0 &&
		   strcmp(doc_value_text(one), doc_value_text(other)) == 0;
}

List *
actions_add(List *actions, const List *more)
{
	ListCell *cell;

	foreach (cell, more)
	{
		bool seen = false;
		ListCell *other;

		foreach (other, actions)
			seen |= same_action(lfirst(other), lfirst(cell));
		if (!seen)
			actions = lappend(actions, lfirst(cell));
	}
	return actions;
}

Jsonb *
verdict_actions(const Verdict *verdict)
{
	DocBuilder b;
	ListCell *cell;

	doc_build(&b);
	doc_begin_array(&b, NULL);
	foreach (cell, verdict->actions)
		doc_put_value(&b, NULL, lfirst(cell));
	doc_end_array(&b);
	return doc_finish(&b);
}
