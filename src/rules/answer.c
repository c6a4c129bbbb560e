/*
 * answer.c
 *		What rules answer, ready-made: as the columns of a result.
 *
 * A rule without computed outcomes answers the same each time it matches, so its
 * texts and documents are made once, at its first match, in the decision's memory,
 * and handed out as they are: callers never change what a function gave them.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "rules/rules_int.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

static NullableDatum
text_or_null(const char *text)
{
	NullableDatum result = {.isnull = text == NULL};

	if (text != NULL)
		result.value = CStringGetTextDatum(text);
	return result;
}

static NullableDatum
doc_or_null(Jsonb *doc)
{
	NullableDatum result = {.isnull = doc == NULL};

	if (doc != NULL)
		result.value = JsonbPGetDatum(doc);
	return result;
}

static Datum
id_array(const char *id)
{
	Datum element;

	if (id == NULL)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	element = CStringGetTextDatum(id);
	return PointerGetDatum(
		construct_array(&element, 1, TEXTOID, -1, false, TYPALIGN_INT));
}

static Jsonb *
make_hit(const Rule *rule)
{
	Jsonb *then = rule->then.outcome;
	DocBuilder b;
	ListCell *cell;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "rule", rule->id);
	foreach (cell, doc_keys(then))
		doc_put_value(&b, lfirst(cell), doc_get(then, lfirst(cell)));
	doc_end_object(&b);
	return doc_finish(&b);
}

/* verdict NULL: unknown; rule NULL: none matched. */
static Answer *
answer_make(Decision *decision, const Verdict *verdict, const Rule *rule)
{
	MemoryContext caller = MemoryContextSwitchTo(decision->context);
	Answer *answer = palloc0(sizeof(Answer));

	answer->status = text_or_null(verdict ? verdict->status : NULL);
	answer->result =
		text_or_null(verdict ? severity_result(verdict->severity) : "unknown");
	answer->severity = text_or_null(verdict ? severity_name(verdict->severity) : NULL);
	answer->actions = doc_or_null(verdict ? verdict_actions(verdict) : NULL);
	answer->outcome = doc_or_null(verdict ? verdict->outcome : NULL);
	answer->matched_rules = id_array(rule ? rule->id : NULL);
	answer->id = rule ? CStringGetTextDatum(rule->id) : (Datum) 0;
	if (rule != NULL && rule->computed == NIL && decision_keeps_hits(decision))
	{
		answer->hit = make_hit(rule);
		answer->outcome =
			doc_or_null(outcome_collected(decision, list_make1(answer->hit)));
	}
	MemoryContextSwitchTo(caller);
	return answer;
}

Answer *
answer_of_rule(Decision *decision, Rule *rule)
{
	Answer **answer = rule ? &rule->answer : &decision->otherwise_answer;

	if (*answer == NULL)
		*answer = answer_make(decision, rule ? &rule->then : decision->otherwise, rule);
	return *answer;
}

Answer *
answer_unknown(Decision *decision)
{
	if (decision->unknown_answer == NULL)
		decision->unknown_answer = answer_make(decision, NULL, NULL);
	return decision->unknown_answer;
}

Datum
evaluation_matched_rules(const Evaluation *run)
{
	Datum *ids;
	ListCell *cell;

	if (list_length(run->hits) < 2)
		return run->answer->matched_rules;
	ids = palloc(sizeof(Datum) * list_length(run->hits));
	foreach (cell, run->hits)
		ids[foreach_current_index(cell)] =
			answer_of_rule(run->decision, lfirst(cell))->id;
	return PointerGetDatum(
		construct_array(ids, list_length(run->hits), TEXTOID, -1, false, TYPALIGN_INT));
}

/* --- in an explanation -------------------------------------------------------------- */

static DocText
doc_text(const char *words)
{
	return (DocText){words, (int) strlen(words)};
}

/* The columns that the condition names: the sentence goes on with their values. */
static void
name_columns(const Decision *decision, const Rule *rule, RuleWords *words)
{
	int member = -1;

	words->named =
		palloc(sizeof(NamedColumn) * (bms_num_members(rule->when.columns) + 1));
	words->named_count = 0;
	while ((member = bms_next_member(rule->when.columns, member)) >= 0)
	{
		int attno = member + FirstLowInvalidHeapAttributeNumber;

		if (attno <= 0 || attno == DECISION_TIME_ATTNO(decision))
			continue;
		words->named[words->named_count] =
			(NamedColumn){attno,
						  doc_text(psprintf("%s%s = ", words->named_count > 0 ? ", " : "",
											decision_column_name(decision, attno)))};
		words->named_count++;
	}
}

static Jsonb *
make_reference(const Decision *decision, const Rule *rule)
{
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "type", "rule");
	doc_put_string(&b, "id", rule->id);
	doc_put_int(&b, "version", decision->version);
	doc_end_object(&b);
	return doc_finish(&b);
}

const RuleWords *
rule_words(Decision *decision, Rule *rule)
{
	MemoryContext caller;
	RuleWords *words;

	if (rule->words != NULL)
		return rule->words;
	caller = MemoryContextSwitchTo(decision->context);
	words = palloc(sizeof(RuleWords));
	words->reason =
		psprintf(phrase(decision, PHRASE_RULE_HOLDS), rule->id, rule->when.text);
	words->reason_text = words->holds = doc_text(words->reason);
	name_columns(decision, rule, words);
	if (words->named_count > 0)
		words->holds = doc_text(psprintf(phrase(decision, PHRASE_RULE_HOLDS_WHERE),
										 rule->id, rule->when.text, ""));
	/* An explanation has both: of one memory where they begin alike. */
	if (strncmp(words->holds.data, words->reason, words->reason_text.length) == 0)
		words->reason_text.data = words->holds.data;
	words->reference = make_reference(decision, rule);
	rule->words = words;
	MemoryContextSwitchTo(caller);
	return words;
}

/* --- several hits ------------------------------------------------------------------- */

/*
 * jsonb as it is stored: a container is a header, an entry a child (its length, or,
 * every JB_OFFSET_STRIDE children, the offset of its end), and the children, where
 * containers are aligned to 4 bytes and the gap before them counts as theirs.
 */
#define HITS_KEY "hits"
#define HITS_KEY_LENGTH 4 /* a multiple of 4: what follows is aligned */

static Size
hits_size(List *hits)
{
	Size size = 0;
	ListCell *cell;

	foreach (cell, hits)
		size = INTALIGN(size) + VARSIZE((Jsonb *) lfirst(cell)) - VARHDRSZ;
	return size;
}

static void
put_hits(JsonbContainer *array, List *hits)
{
	char *data = (char *) &array->children[list_length(hits)];
	Size end = 0;
	ListCell *cell;

	array->header = list_length(hits) | JB_FARRAY;
	foreach (cell, hits)
	{
		Jsonb *hit = lfirst(cell);
		Size size = VARSIZE(hit) - VARHDRSZ;
		Size begin = INTALIGN(end);
		int i = foreach_current_index(cell);
		JEntry entry = JENTRY_ISCONTAINER | (JEntry) (begin + size - end);

		memset(data + end, 0, begin - end);
		memcpy(data + begin, &hit->root, size);
		end = begin + size;
		if (i % JB_OFFSET_STRIDE == 0)
			entry = JENTRY_ISCONTAINER | JENTRY_HAS_OFF | (JEntry) end;
		array->children[i] = entry;
	}
}

Jsonb *
answer_hits(List *hits)
{
	Size array_size =
		sizeof(uint32) + sizeof(JEntry) * list_length(hits) + hits_size(hits);
	Size object_size = sizeof(uint32) + 2 * sizeof(JEntry) + HITS_KEY_LENGTH;
	Jsonb *result;
	char *data;

	if (array_size > JENTRY_OFFLENMASK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("outcomes of %d matching rules are too large together",
						list_length(hits)),
				 errdetail("A document has at most %u bytes.", JENTRY_OFFLENMASK),
				 errhint("Choose a hit policy that keeps one, such as \"first\".")));
	result = palloc(VARHDRSZ + object_size + array_size);
	SET_VARSIZE(result, VARHDRSZ + object_size + array_size);
	result->root.header = 1 | JB_FOBJECT;
	result->root.children[0] = JENTRY_ISSTRING | JENTRY_HAS_OFF | HITS_KEY_LENGTH;
	result->root.children[1] = JENTRY_ISCONTAINER | (JEntry) array_size;
	data = (char *) &result->root.children[2];
	memcpy(data, HITS_KEY, HITS_KEY_LENGTH);
	put_hits((JsonbContainer *) (data + HITS_KEY_LENGTH), hits);
	return result;
}
