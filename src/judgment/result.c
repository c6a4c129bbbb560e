/*
 * result.c
 *		A judgment as a value of type factory.judgment, made as far as it is read.
 *
 * Most callers read a column or two, and what costs most, the explanation, is read
 * least.  So the value is an expanded record whose documents are expanded objects
 * that are built when somebody flattens them: who stores or sends the whole row gets
 * all of it, who writes (judge(...)).status pays for that alone.
 *
 * Only read-only pointers to these objects are given away, so nobody changes, moves
 * or deletes them: they live, like any result, in the caller's memory, together with
 * a copy of the inputs that the explanation speaks of.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/clock.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "judgment/judgment.h"
#include "judgment/judgment_int.h"
#include "judgment/result.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/expandeddatum.h"
#include "utils/expandedrecord.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

typedef struct LazyResult LazyResult;

/* A document that is made when it is read. */
typedef struct LazyDocument
{
	ExpandedObjectHeader header; /* first: it is what pointers point to */
	LazyResult *of;
	Jsonb *(*make)(Judgment *judgment);
	Jsonb *made;
} LazyDocument;

struct LazyResult
{
	ExpandedRecordHeader record; /* first, for the same reason */
	Judgment *judgment;
	HeapTuple flat;
	Datum values[J_COLUMNS];
	bool nulls[J_COLUMNS];
	LazyDocument actions;
	LazyDocument outcome;
	LazyDocument explanation;
	LazyDocument components;
	Datum *slot_values; /* what the decision's slot held */
	bool *slot_nulls;
};

/* --- documents ------------------------------------------------------------------------- */

static void
swap_slot(LazyResult *result)
{
	TupleTableSlot *slot = result->judgment->decision->slot;
	Datum *values = slot->tts_values;
	bool *nulls = slot->tts_isnull;

	slot->tts_values = result->slot_values;
	slot->tts_isnull = result->slot_nulls;
	result->slot_values = values;
	result->slot_nulls = nulls;
}

/* With the inputs of then in the decision's slot. */
static void
document_make(LazyDocument *document)
{
	MemoryContext caller = MemoryContextSwitchTo(document->header.eoh_context);

	swap_slot(document->of);
	PG_TRY();
	{
		document->made = document->make(document->of->judgment);
	}
	PG_CATCH();
	{
		swap_slot(document->of);
		PG_RE_THROW();
	}
	PG_END_TRY();
	swap_slot(document->of);
	MemoryContextSwitchTo(caller);
}

static Size
document_size(ExpandedObjectHeader *header)
{
	LazyDocument *document = (LazyDocument *) header;

	if (document->made == NULL)
		document_make(document);
	return VARSIZE(document->made);
}

static void
document_flatten(ExpandedObjectHeader *header, void *target, Size size)
{
	Assert(size == VARSIZE(((LazyDocument *) header)->made));
	memcpy(target, ((LazyDocument *) header)->made, size);
}

static const ExpandedObjectMethods document_methods = {document_size, document_flatten};

static Datum
lazy_document(LazyResult *result, LazyDocument *document, Jsonb *(*make)(Judgment *) )
{
	EOH_init_header(&document->header, &document_methods, CurrentMemoryContext);
	document->of = result;
	document->make = make;
	document->made = NULL;
	return EOHPGetRODatum(&document->header);
}

Jsonb *
result_document(Datum column)
{
	LazyDocument *document;

	if (!VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(column)))
		return DatumGetJsonbP(column);
	document = (LazyDocument *) DatumGetEOHP(column);
	Assert(document->header.eoh_methods == &document_methods);
	if (document->made == NULL)
		document_make(document);
	return document->made;
}

static Jsonb *
make_actions(Judgment *judgment)
{
	return verdict_actions(&judgment->verdict);
}

static Jsonb *
make_outcome(Judgment *judgment)
{
	return evaluation_outcome(judgment->evaluation);
}

/* --- the row ------------------------------------------------------------------------------ */

static Size
result_size(ExpandedObjectHeader *header)
{
	LazyResult *result = (LazyResult *) header;

	if (result->flat == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(header->eoh_context);

		result->flat =
			heap_form_tuple(result->record.er_tupdesc, result->values, result->nulls);
		MemoryContextSwitchTo(caller);
	}
	return result->flat->t_len;
}

static void
result_flatten(ExpandedObjectHeader *header, void *target, Size size)
{
	HeapTuple flat = ((LazyResult *) header)->flat;

	Assert(size == flat->t_len);
	memcpy(target, flat->t_data, size);
}

static const ExpandedObjectMethods result_methods = {result_size, result_flatten};

bool
result_columns(Datum value, const Datum **values, const bool **nulls)
{
	LazyResult *result;

	if (!VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(value)))
		return false;
	result = (LazyResult *) DatumGetEOHP(value);
	if (result->record.hdr.eoh_methods != &result_methods)
		return false;
	*values = result->values;
	*nulls = result->nulls;
	return true;
}

static void
result_begin(LazyResult *result, const ResultShape *shape, Judgment *judgment)
{
	ExpandedRecordHeader *record = &result->record;
	TupleTableSlot *slot = judgment->decision->slot;
	int columns = DECISION_COLUMN_COUNT(judgment->decision);

	memset(record, 0, sizeof(*record));
	EOH_init_header(&record->hdr, &result_methods, CurrentMemoryContext);
	record->er_magic = ER_MAGIC;
	/* Whoever makes another record from this one takes a copy of the descriptor. */
	record->flags = ER_FLAG_DVALUES_VALID | ER_FLAG_TUPDESC_ALLOCED;
	record->er_decltypeid = record->er_typeid = shape->columns->tdtypeid;
	record->er_typmod = shape->columns->tdtypmod;
	record->er_tupdesc = shape->columns;
	record->er_tupdesc_id = shape->identifier;
	record->dvalues = result->values;
	record->dnulls = result->nulls;
	record->nfields = J_COLUMNS;

	result->judgment = judgment;
	result->flat = NULL;
	result->slot_values = palloc(sizeof(Datum) * columns);
	result->slot_nulls = palloc(sizeof(bool) * columns);
	memcpy(result->slot_values, slot->tts_values, sizeof(Datum) * columns);
	memcpy(result->slot_nulls, slot->tts_isnull, sizeof(bool) * columns);
}

static void
put(LazyResult *result, int column, NullableDatum value)
{
	result->values[column] = value.value;
	result->nulls[column] = value.isnull;
}

static void
put_value(LazyResult *result, int column, Datum value)
{
	result->values[column] = value;
	result->nulls[column] = false;
}

static void
put_text(LazyResult *result, int column, const char *text)
{
	put(result, column,
		(NullableDatum){text ? CStringGetTextDatum(text) : (Datum) 0, text == NULL});
}

/* Names that never change are made into texts once. */
static Datum
kept_text(Datum *texts, int i, const char *name)
{
	if (texts[i] == (Datum) 0)
	{
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);

		texts[i] = CStringGetTextDatum(name);
		MemoryContextSwitchTo(caller);
	}
	return texts[i];
}

static Datum
decision_name_text(Decision *decision)
{
	if (decision->name_text == (Datum) 0)
	{
		MemoryContext caller = MemoryContextSwitchTo(decision->context);

		decision->name_text = CStringGetTextDatum(decision->name);
		MemoryContextSwitchTo(caller);
	}
	return decision->name_text;
}

/* Status, severity and actions: ready-made where only the rules spoke. */
static void
put_rules_verdict(LazyResult *result, const Judgment *judgment)
{
	const Evaluation *rules = judgment->evaluation;

	put(result, J_RESULT, rules->answer->result);
	put(result, J_STATUS, rules->answer->status);
	put(result, J_SEVERITY, rules->answer->severity);
	if (rules->alone)
		put(result, J_ACTIONS, rules->answer->actions);
	else
		put_value(result, J_ACTIONS,
				  lazy_document(result, &result->actions, make_actions));
}

static void
put_combined_verdict(LazyResult *result, const Judgment *judgment)
{
	bool known = judgment->known;

	put_text(result, J_RESULT, judgment->result);
	put_text(result, J_STATUS, known ? judgment->verdict.status : NULL);
	put_text(result, J_SEVERITY,
			 known ? severity_name(judgment->verdict.severity) : NULL);
	result->nulls[J_ACTIONS] = !known;
	if (known)
		result->values[J_ACTIONS] = JsonbPGetDatum(verdict_actions(&judgment->verdict));
}

/* The columns that are the rules' alone, whoever else spoke. */
static void
put_rules(LazyResult *result, const Judgment *judgment)
{
	const Evaluation *rules = judgment->evaluation;

	put_value(result, J_MATCHED_RULES, judgment_matched_rules(judgment));
	result->nulls[J_OUTCOME] = true;
	if (judgment->done == POLICY_ESCALATE)
		return;
	if (rules != NULL && rules->alone)
		put(result, J_OUTCOME, rules->answer->outcome);
	else if (rules != NULL)
		put_value(result, J_OUTCOME,
				  lazy_document(result, &result->outcome, make_outcome));
}

Datum
result_make(const ResultShape *shape, Judgment *judgment, bool explain)
{
	static Datum methods[POLICY_COUNT];
	static Datum policies[POLICY_COUNT];
	LazyResult *result = palloc(sizeof(LazyResult));

	result_begin(result, shape, judgment);
	put_value(result, J_EXECUTION_ID, UUIDPGetDatum(&judgment->execution_id));
	put_value(result, J_DECISION, decision_name_text(judgment->decision));
	put_value(result, J_VERSION, Int32GetDatum(judgment->decision->version));
	if (judgment->evaluation != NULL && judgment->model == NULL &&
		judgment->done != POLICY_ESCALATE)
		put_rules_verdict(result, judgment);
	else
		put_combined_verdict(result, judgment);
	result->values[J_CONFIDENCE] = Float8GetDatum(judgment->verdict.confidence);
	result->nulls[J_CONFIDENCE] = !judgment->known;
	put_value(result, J_METHOD, kept_text(methods, judgment->done, judgment->method));
	put_value(result, J_POLICY,
			  kept_text(policies, judgment->policy,
						judgment_policy_names[judgment->policy]));
	put_rules(result, judgment);
	result->nulls[J_EXPLANATION] = !explain;
	if (explain)
		result->values[J_EXPLANATION] =
			lazy_document(result, &result->explanation, judgment_explain);
	put_value(result, J_COMPONENTS,
			  lazy_document(result, &result->components, judgment_components));
	put_value(result, J_FROM_CACHE, BoolGetDatum(judgment->recalled != NULL));
	put_text(result, J_DEGRADED, judgment->degraded);
	put_value(result, J_TIME, Float8GetDatum(judgment->elapsed_ms));
	put_value(result, J_CREATED_AT, TimestampTzGetDatum(judgment->created_at));
	return EOHPGetRODatum(&result->record.hdr);
}

/* The error stands where the model's absence does: nothing was decided. */
Datum
result_of_failure(const ResultShape *shape, const char *decision, const char *policy,
				  const ErrorData *error)
{
	Datum values[J_COLUMNS] = {0};
	bool nulls[J_COLUMNS];
	DocBuilder b;

	memset(nulls, true, sizeof(nulls));
	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_begin_object(&b, "error");
	doc_put_string(&b, "sqlstate", unpack_sql_state(error->sqlerrcode));
	doc_put_string(&b, "message", error->message);
	doc_put_string(&b, "detail", error->detail);
	doc_put_string(&b, "hint", error->hint);
	doc_end_object(&b);
	doc_end_object(&b);
	values[J_DECISION] = CStringGetTextDatum(decision);
	values[J_RESULT] = CStringGetTextDatum("unknown");
	values[J_MATCHED_RULES] = PointerGetDatum(construct_empty_array(TEXTOID));
	values[J_COMPONENTS] = JsonbPGetDatum(doc_finish(&b));
	values[J_FROM_CACHE] = BoolGetDatum(false);
	values[J_DEGRADED] =
		CStringGetTextDatum(psprintf("could not be judged: %s", error->message));
	values[J_CREATED_AT] = TimestampTzGetDatum(clock_now());
	nulls[J_DECISION] = nulls[J_RESULT] = nulls[J_MATCHED_RULES] = false;
	nulls[J_COMPONENTS] = nulls[J_FROM_CACHE] = nulls[J_DEGRADED] = false;
	nulls[J_CREATED_AT] = false;
	if (policy != NULL)
	{
		values[J_POLICY] = CStringGetTextDatum(policy);
		nulls[J_POLICY] = false;
	}
	return HeapTupleGetDatum(heap_form_tuple(shape->columns, values, nulls));
}

/* --- shapes ------------------------------------------------------------------------------ */

static ResultShape *last_shape = NULL;

Oid
result_type(void)
{
	return last_shape ? last_shape->columns->tdtypeid : InvalidOid;
}

/* Shapes are kept for ever: results point to them, and types are hardly ever altered. */
static ResultShape *
make_shape(TupleDesc columns)
{
	MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
	ResultShape *shape = palloc(sizeof(ResultShape));

	shape->columns = CreateTupleDescCopyConstr(columns);
	MemoryContextSwitchTo(caller);
	Assert(shape->columns->natts == J_COLUMNS);
	return shape;
}

/* A type that was only read anew has another identifier, but the same columns. */
const ResultShape *
result_shape(Oid type)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_TUPDESC);

	if (entry->tupDesc == NULL)
		elog(ERROR, "return type must be a row type");
	if (last_shape != NULL && last_shape->identifier == entry->tupDesc_identifier)
		return last_shape;
	if (last_shape == NULL || !equalTupleDescs(last_shape->columns, entry->tupDesc))
		last_shape = make_shape(entry->tupDesc);
	last_shape->identifier = entry->tupDesc_identifier;
	return last_shape;
}
