/*
 * canary.c
 *		Which inputs a new version judges while it is tried on a share of them.
 *
 * The same input, or the same value of the decision's "canary_key", always goes the same
 * way, and stays with the new version when its share grows.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "funcapi.h"
#include "rules/rules_int.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

static Jsonb *
row_document(HeapTupleHeader row)
{
	Datum json = DirectFunctionCall1(row_to_json, PointerGetDatum(row));

	return doc_parse_trusted(TextDatumGetCString(json));
}

/* NULL counts as absent. */
static uint64
hash_of_key(const Decision *decision, Jsonb *input, uint64 seed)
{
	const JsonbValue *value = doc_get(input, decision->canary_key);
	const char *text = value && value->type != jbvNull ? doc_value_text(value) : "";

	return hash_bytes_extended((const unsigned char *) text, strlen(text), seed);
}

/* From 0 to CANARY_WHOLE - 1. */
static int
place_of(const Decision *decision, int version, Jsonb *input)
{
	uint64 seed = hash_bytes_extended((const unsigned char *) decision->name,
									  strlen(decision->name), version);
	uint64 hash;

	if (decision->canary_key != NULL)
		hash = hash_of_key(decision, input, seed);
	else
		hash =
			DatumGetUInt64(DirectFunctionCall2(jsonb_hash_extended, JsonbPGetDatum(input),
											   UInt64GetDatum(seed)));
	/* Mixed once more: few different inputs shall be spread, too. */
	return hash_bytes_extended((const unsigned char *) &hash, sizeof(hash), seed) %
		   CANARY_WHOLE;
}

int
canary_version(const DecisionPin *pin, Jsonb *input, HeapTupleHeader row)
{
	if (pin->canary_version == 0)
		return 0;
	if (input == NULL)
		input = row_document(row);
	return place_of(pin->decision, pin->canary_version, input) < pin->canary_share
			   ? pin->canary_version
			   : 0;
}
