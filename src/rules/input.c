/*
 * input.c
 *		Filling a decision's inputs: from a JSON document, or from a row.
 *
 * Values, and all that is evaluated of them, are made in the caller's memory: they
 * live as long as the answer, which may be explained later.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/errors.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "rules/rules_int.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* Offending fields, one a line. */
typedef struct Complaints
{
	StringInfoData text;
	int count;
} Complaints;

static void
complain(Complaints *complaints, const char *name, const char *what)
{
	if (complaints->count++ == 0)
		initStringInfo(&complaints->text);
	appendStringInfo(&complaints->text, "%s%s: %s", complaints->count > 1 ? "\n" : "",
					 name, what);
}

static void
complaints_raise(const Decision *decision, const Complaints *complaints)
{
	if (complaints->count == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FACTORY_INVALID_INPUT),
			 errmsg("input does not fit decision \"%s\"", decision->name),
			 errdetail("%s", complaints->text.data),
			 errhint("SELECT definition->'inputs' FROM factory.decision_definition WHERE "
					 "decision = %s shows what is expected.",
					 quote_literal_cstr(decision->name))));
}

/* --- checks that JSON and rows share --------------------------------------------------- */

bool
input_is_allowed(Input *input, Datum value)
{
	ListCell *cell;

	foreach (cell, input->allowed)
		if (DatumGetInt32(FunctionCall2Coll(&input->compare, input->value.collation,
											value, *(Datum *) lfirst(cell))) == 0)
			return true;
	return input->allowed == NIL;
}

int
input_compare(Input *input, Datum value, Datum bound)
{
	return DatumGetInt32(
		FunctionCall2Coll(&input->compare, input->value.collation, value, bound));
}

static void
check_input(Input *input, Datum value, bool isnull, Complaints *complaints)
{
	if (isnull)
	{
		if (input->required)
			complain(complaints, input->name,
					 psprintf("expected %s, received nothing", input->type_name));
		return;
	}
	if (input->has_min && input_compare(input, value, input->min) < 0)
		complain(complaints, input->name,
				 psprintf("expected at least %s, received %s", input->min_text,
						  value_to_text(&input->value, value)));
	if (input->has_max && input_compare(input, value, input->max) > 0)
		complain(complaints, input->name,
				 psprintf("expected at most %s, received %s", input->max_text,
						  value_to_text(&input->value, value)));
	if (!input_is_allowed(input, value))
		complain(complaints, input->name,
				 psprintf("expected one of %s, received %s", input->allowed_text,
						  value_to_text(&input->value, value)));
}

static void
slot_begin(Decision *decision)
{
	if (decision->busy)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("decision \"%s\" is judging already", decision->name),
						errdetail("A function that its rules call asks for it again."),
						errhint("Take that call out of the function.")));
	decision->econtext->ecxt_per_tuple_memory = CurrentMemoryContext;
}

static inline void
set_input(Decision *decision, int i, Datum value, bool isnull, Complaints *complaints)
{
	Input *input = &decision->inputs[i];

	if (!input->plain)
	{
		if (isnull && input->has_default)
		{
			value = input->default_value;
			isnull = false;
		}
		check_input(input, value, isnull, complaints);
	}
	decision->slot->tts_values[i] = value;
	decision->slot->tts_isnull[i] = isnull;
}

/* --- from JSON ---------------------------------------------------------------------------- */

static void
complain_unknown_keys(const Decision *decision, Jsonb *input, Complaints *complaints)
{
	ListCell *cell;

	foreach (cell, doc_keys(input))
	{
		int attno = decision_column(decision, lfirst(cell));

		if (attno == 0 || attno > decision->input_count)
			complain(complaints, lfirst(cell), "is no input of this strict decision");
	}
}

static void
set_json_input(Decision *decision, int i, const JsonbValue *json, Complaints *complaints)
{
	Input *input = &decision->inputs[i];
	bool isnull;
	char *why;
	Datum value = value_from_json(&input->value, json, &isnull, &why);

	if (why == NULL)
		set_input(decision, i, value, isnull, complaints);
	else
		complain(complaints, input->name, why);
}

/* What an entry of an object's children says, without copying it. */
static void
entry_value(JEntry entry, char *base, uint32 begin, uint32 end, JsonbValue *result)
{
	if (JBE_ISNULL(entry))
		result->type = jbvNull;
	else if (JBE_ISSTRING(entry))
	{
		result->type = jbvString;
		result->val.string.val = base + begin;
		result->val.string.len = end - begin;
	}
	else if (JBE_ISNUMERIC(entry))
	{
		result->type = jbvNumeric;
		result->val.numeric = (Numeric) (base + INTALIGN(begin));
	}
	else if (JBE_ISCONTAINER(entry))
	{
		result->type = jbvBinary;
		result->val.binary.data = (JsonbContainer *) (base + INTALIGN(begin));
		result->val.binary.len = end - INTALIGN(begin);
	}
	else
	{
		result->type = jbvBool;
		result->val.boolean = JBE_ISBOOL_TRUE(entry);
	}
}

/* The order of keys in an object: by length, then by bytes. */
static int
compare_with_key(const Input *input, const char *key, int length)
{
	if (input->name_length != length)
		return input->name_length < length ? -1 : 1;
	return memcmp(input->name, key, length);
}

/*
 * The inputs were read from an object's keys, and so they are in the order in which
 * the document has its own: one walk over both.  Entries hold lengths, but for every
 * JB_OFFSET_STRIDE-th, which holds where it ends.
 */
static void
take_document(Decision *decision, JsonbContainer *object, Complaints *complaints)
{
	int pairs = JsonContainerSize(object);
	char *base = (char *) &object->children[pairs * 2];
	uint32 key_begin = 0, value_begin = getJsonbOffset(object, pairs);
	int wanted = 0;
	JsonbValue value;

	for (int i = 0; i < pairs && wanted < decision->input_count; i++)
	{
		uint32 key_end = key_begin, value_end = value_begin;
		int order = 1;

		JBE_ADVANCE_OFFSET(key_end, object->children[i]);
		JBE_ADVANCE_OFFSET(value_end, object->children[pairs + i]);
		while (wanted < decision->input_count &&
			   (order = compare_with_key(&decision->inputs[wanted], base + key_begin,
										 key_end - key_begin)) < 0)
			set_input(decision, wanted++, (Datum) 0, true, complaints);
		if (order == 0)
		{
			entry_value(object->children[pairs + i], base, value_begin, value_end,
						&value);
			set_json_input(decision, wanted++, &value, complaints);
		}
		key_begin = key_end;
		value_begin = value_end;
	}
	while (wanted < decision->input_count)
		set_input(decision, wanted++, (Datum) 0, true, complaints);
}

static void
read_json(Decision *decision, Jsonb *input, Complaints *complaints)
{
	slot_begin(decision);
	take_document(decision, &input->root, complaints);
	if (decision->strict)
		complain_unknown_keys(decision, input, complaints);
}

void
inputs_from_json(Decision *decision, Jsonb *input)
{
	Complaints complaints = {.count = 0};

	if (!JB_ROOT_IS_OBJECT(input))
		ereport(ERROR,
				(errcode(ERRCODE_FACTORY_INVALID_INPUT),
				 errmsg("input does not fit decision \"%s\"", decision->name),
				 errdetail("Expected a JSON object, received %s.", doc_kind(input)),
				 errhint("Write {\"name\": value, ...}.")));
	read_json(decision, input, &complaints);
	complaints_raise(decision, &complaints);
}

bool
inputs_take_json(Decision *decision, Jsonb *input)
{
	Complaints complaints = {.count = 0};

	if (!JB_ROOT_IS_OBJECT(input))
		return false;
	read_json(decision, input, &complaints);
	return complaints.count == 0;
}

/* --- from a row ----------------------------------------------------------------------------- */

/* How rows of one type fill the inputs; kept for the next row of that type. */
typedef struct RowShape
{
	MemoryContext context;
	uint64 identifier; /* of the row type as it was */
	Oid type;
	int32 typmod;
	TupleTableSlot *slot;
	int *attno;             /* per input; 0: the row has no such column */
	bool plain;             /* no input is converted, checked or has a default */
	bool complete;          /* every input has a column */
	int last;               /* greatest attno */
	ExprState **conversion; /* per input; NULL: the types are the same */
} RowShape;

static int
find_attribute(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return i + 1;
	}
	return 0;
}

static void
shape_input(RowShape *shape, TupleDesc desc, Input *input, int i, Complaints *complaints)
{
	int attno = find_attribute(desc, input->name);
	Form_pg_attribute attribute;
	Node *column, *converted;

	shape->attno[i] = attno;
	if (attno == 0)
		return;
	attribute = TupleDescAttr(desc, attno - 1);
	column = (Node *) makeVar(1, attno, attribute->atttypid, attribute->atttypmod,
							  attribute->attcollation, 0);
	converted = coerce_to_target_type(NULL, column, attribute->atttypid,
									  input->value.type, input->value.typmod,
									  COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);
	if (converted == NULL)
		complain(complaints, input->name,
				 psprintf("expected %s, the row has %s", input->type_name,
						  format_type_be(attribute->atttypid)));
	else if (converted != column)
		shape->conversion[i] = ExecInitExpr((Expr *) copyObject(converted), NULL);
}

/* desc must live as long as the shape. */
static void
shape_inputs(RowShape *shape, Decision *decision, TupleDesc desc, Complaints *complaints)
{
	shape->attno = palloc0(sizeof(int) * Max(decision->input_count, 1));
	shape->conversion = palloc0(sizeof(ExprState *) * Max(decision->input_count, 1));
	shape->plain = shape->complete = true;
	for (int i = 0; i < decision->input_count; i++)
	{
		const Input *input = &decision->inputs[i];

		shape_input(shape, desc, &decision->inputs[i], i, complaints);
		shape->complete &= shape->attno[i] != 0;
		shape->last = Max(shape->last, shape->attno[i]);
		shape->plain &= shape->conversion[i] == NULL && input->plain;
	}
}

static RowShape *
row_shape_build(Decision *decision, Oid type, int32 typmod, uint64 identifier)
{
	MemoryContext context =
		AllocSetContextCreate(decision->context, "pg_factory row shape",
							  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	TupleDesc desc = lookup_rowtype_tupdesc_copy(type, typmod);
	RowShape *shape = palloc0(sizeof(RowShape));
	Complaints complaints = {.count = 0};

	shape->context = context;
	shape->type = type;
	shape->typmod = typmod;
	shape->identifier = identifier;
	shape->slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	shape_inputs(shape, decision, desc, &complaints);
	MemoryContextSwitchTo(caller);
	complaints_raise(decision, &complaints);
	return shape;
}

static RowShape *
row_shape_for(Decision *decision, Oid type, int32 typmod)
{
	RowShape *shape = decision->row_shape;
	uint64 identifier = assign_record_type_identifier(type, typmod);

	if (shape != NULL && shape->type == type && shape->typmod == typmod &&
		shape->identifier == identifier)
		return shape;
	if (shape != NULL)
	{
		decision->row_shape = NULL;
		MemoryContextDelete(shape->context);
	}
	decision->row_shape = row_shape_build(decision, type, typmod, identifier);
	return decision->row_shape;
}

static Datum
row_value(Decision *decision, RowShape *shape, int i, bool *isnull)
{
	Datum value;

	if (shape->attno[i] == 0)
	{
		*isnull = true;
		return (Datum) 0;
	}
	if (shape->conversion[i] == NULL)
		return slot_getattr(shape->slot, shape->attno[i], isnull);
	decision->econtext->ecxt_scantuple = shape->slot;
	value = ExecEvalExprSwitchContext(shape->conversion[i], decision->econtext, isnull);
	decision->econtext->ecxt_scantuple = decision->slot;
	return value;
}

/* Nothing is to be converted or checked: the columns are the inputs. */
static void
take_row(Decision *decision, const RowShape *shape)
{
	Datum *values = decision->slot->tts_values;
	bool *nulls = decision->slot->tts_isnull;

	slot_getsomeattrs(shape->slot, shape->last);
	for (int i = 0; i < decision->input_count; i++)
	{
		values[i] = shape->slot->tts_values[shape->attno[i] - 1];
		nulls[i] = shape->slot->tts_isnull[shape->attno[i] - 1];
	}
}

static void
read_row(Decision *decision, HeapTupleHeader row, Complaints *complaints)
{
	RowShape *shape = row_shape_for(decision, HeapTupleHeaderGetTypeId(row),
									HeapTupleHeaderGetTypMod(row));
	HeapTuple tuple;

	slot_begin(decision);
	tuple = palloc(sizeof(HeapTupleData));
	tuple->t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
	tuple->t_data = row;
	ExecStoreHeapTuple(tuple, shape->slot, false);
	if (shape->plain && shape->complete)
	{
		take_row(decision, shape);
		return;
	}
	for (int i = 0; i < decision->input_count; i++)
	{
		bool isnull;
		Datum value = row_value(decision, shape, i, &isnull);

		set_input(decision, i, value, isnull, complaints);
	}
}

void
inputs_from_row(Decision *decision, HeapTupleHeader row)
{
	Complaints complaints = {.count = 0};

	read_row(decision, row, &complaints);
	complaints_raise(decision, &complaints);
}

bool
inputs_take_row(Decision *decision, HeapTupleHeader row)
{
	Complaints complaints = {.count = 0};

	read_row(decision, row, &complaints);
	return complaints.count == 0;
}

/* --- from another version's inputs ---------------------------------------------------------- */

void
inputs_copy(const Decision *from, Decision *to)
{
	slot_begin(to);
	memcpy(to->slot->tts_values, from->slot->tts_values,
		   sizeof(Datum) * from->input_count);
	memcpy(to->slot->tts_isnull, from->slot->tts_isnull,
		   sizeof(bool) * from->input_count);
}

/* --- from a function's arguments ------------------------------------------------------------ */

static void
check_arguments(Decision *decision, TupleDesc arguments, Complaints *complaints)
{
	for (int i = 0; i < arguments->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(arguments, i)->attname);
		int attno = decision_column(decision, name);

		if (attno == 0 || attno > decision->input_count)
			complain(complaints, name, "is no input of this decision");
	}
}

RowShape *
arguments_shape(Decision *decision, TupleDesc arguments)
{
	MemoryContext caller = MemoryContextSwitchTo(decision->context);
	TupleDesc desc = CreateTupleDescCopy(arguments);
	RowShape *shape = palloc0(sizeof(RowShape));
	Complaints complaints = {.count = 0};

	shape->context = decision->context;
	shape->slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	shape_inputs(shape, decision, desc, &complaints);
	check_arguments(decision, desc, &complaints);
	MemoryContextSwitchTo(caller);
	complaints_raise(decision, &complaints);
	return shape;
}

static void
take_arguments(Decision *decision, const RowShape *shape, FunctionCallInfo fcinfo)
{
	Datum *values = decision->slot->tts_values;
	bool *nulls = decision->slot->tts_isnull;
	int count = decision->input_count;

	if (shape->complete)
	{
		for (int i = 0; i < count; i++)
		{
			const NullableDatum *argument = &fcinfo->args[shape->attno[i] - 1];

			values[i] = argument->value;
			nulls[i] = argument->isnull;
		}
		return;
	}
	for (int i = 0; i < count; i++)
	{
		int argument = shape->attno[i] - 1;

		nulls[i] = argument < 0 || PG_ARGISNULL(argument);
		if (!nulls[i])
			values[i] = PG_GETARG_DATUM(argument);
	}
}

void
inputs_from_arguments(Decision *decision, RowShape *shape, FunctionCallInfo fcinfo)
{
	Complaints complaints = {.count = 0};

	slot_begin(decision);
	if (shape->plain)
	{
		take_arguments(decision, shape, fcinfo);
		return;
	}
	ExecClearTuple(shape->slot);
	for (int i = 0; i < PG_NARGS(); i++)
	{
		shape->slot->tts_values[i] = PG_GETARG_DATUM(i);
		shape->slot->tts_isnull[i] = PG_ARGISNULL(i);
	}
	ExecStoreVirtualTuple(shape->slot);
	for (int i = 0; i < decision->input_count; i++)
	{
		bool isnull;
		Datum value = row_value(decision, shape, i, &isnull);

		set_input(decision, i, value, isnull, &complaints);
	}
	complaints_raise(decision, &complaints);
}
