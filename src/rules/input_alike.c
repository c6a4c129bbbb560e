/*
 * input_alike.c
 *		Whether inputs come out the same, whichever way they come in.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "rules/rules.h"
#include "utils/typcache.h"

/* Whether a column's value is the one that JSON made of it would give. */
static bool
is_as_in_json(const Input *input, Form_pg_attribute column)
{
	Oid from = column->atttypid;
	Oid to = input->value.type;

	if (from == to)
		return input->value.typmod < 0 || input->value.typmod == column->atttypmod;
	if (to == TEXTOID)
		return from == VARCHAROID;
	/* real 0.1 is 0.1 in JSON, and 0.100000001 in a wider type. */
	return input->value.form == FORM_NUMBER && input->value.number_type == to &&
		   input->value.typmod < 0 && TypeCategory(from) == TYPCATEGORY_NUMERIC &&
		   from != FLOAT4OID && can_coerce_type(1, &from, &to, COERCION_IMPLICIT);
}

bool
inputs_are_columns(const Decision *decision, HeapTupleHeader row)
{
	TupleDesc desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row),
											HeapTupleHeaderGetTypMod(row));
	bool fits = !decision->strict;

	for (int i = 0; i < desc->natts && fits; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		int attno = column->attisdropped
						? 0
						: decision_column(decision, NameStr(column->attname));

		if (attno > 0 && attno <= decision->input_count)
			fits = is_as_in_json(&decision->inputs[attno - 1], column);
	}
	ReleaseTupleDesc(desc);
	return fits;
}

bool
inputs_are_alike(const Decision *one, const Decision *other)
{
	bool alike = one->input_count == other->input_count && !one->strict && !other->strict;

	for (int i = 0; i < one->input_count && alike; i++)
	{
		const Input *mine = &one->inputs[i];
		const Input *its = &other->inputs[i];

		alike = mine->plain && its->plain && strcmp(mine->name, its->name) == 0 &&
				mine->value.type == its->value.type &&
				mine->value.typmod == its->value.typmod;
	}
	return alike;
}
