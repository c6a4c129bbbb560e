/*
 * decision.c
 *		From a definition, the document, to a Decision, compiled.
 *
 * Every part is read by one function that reports what it does not like and goes
 * on, so that an author sees all mistakes at once.  Everything that stays lives in
 * the decision's own memory context.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/errors.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "rules/definition.h"
#include "rules/dependency.h"
#include "rules/limits.h"
#include "rules/rule_image.h"
#include "rules/rule_index.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

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
		reader_report(reader, pstrdup("$"),
					  PATH("a definition is an object, not %s", doc_kind(definition)),
					  pstrdup("Write {\"inputs\": {...}, \"rules\": [...]}."));
		return;
	}
	if (!limit_definition(reader->problems, definition))
		return;
	reader_check_keys(reader, definition, "$", keys, lengthof(keys));
	choice = reader_choice(reader, definition, "$", "hit_policy", hit_policy_names,
						   HIT_POLICY_COUNT);
	(void) reader_string(reader, definition, "$", "description");
	decision->hit_policy = choice < 0 ? HIT_FIRST : (HitPolicy) choice;
	decision->strict = reader_boolean(reader, definition, "$", "strict");
	choice =
		reader_choice(reader, definition, "$", "on_null", on_null_names, ON_NULL_CHOICES);
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

/* Innermost first: what is constant is evaluated meanwhile, and may call anything. */
typedef struct Reading
{
	const char *name;
	int version;
	struct Reading *around;
} Reading;

static Reading *reading = NULL;

static void
refuse_itself(const Decision *decision)
{
	for (const Reading *one = reading; one != NULL; one = one->around)
		if (one->version == decision->version && strcmp(one->name, decision->name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("decision \"%s\" is being compiled already", decision->name),
					 errdetail("A function that its expressions call asks for it again."),
					 errhint("Take that call out of the function.")));
}

static void
read_as_owner(Reader *reader, Jsonb *definition)
{
	const Decision *decision = reader->decision;
	Reading one = {decision->name, decision->version, reading};
	OwnerRights rights;

	refuse_itself(decision);
	owner_rights_begin(decision->owner, true, &rights);
	reading = &one;
	PG_TRY();
	{
		read_definition(reader, definition);
	}
	PG_FINALLY();
	{
		reading = one.around;
	}
	PG_END_TRY();
	owner_rights_end(&rights);
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

	problems->memory = CurrentMemoryContext;
	read_as_owner(&reader, definition);
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

	if (rules == NULL || rules->type != jbvBinary ||
		!JsonContainerIsArray(rules->val.binary.data) ||
		!rule_image_fits(image, hash, JsonContainerSize(rules->val.binary.data)))
		return NULL;
	reader.decision = decision = decision_begin(name, version, owner);
	read_as_owner(&reader, definition);
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
