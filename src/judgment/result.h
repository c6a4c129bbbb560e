/*
 * result.h
 *		A judgment as a value of type factory.judgment, made as far as it is read.
 */
#ifndef FACTORY_RESULT_H
#define FACTORY_RESULT_H

#include "judgment/judgment_int.h"

/* The order of the columns of type factory.judgment. */
enum
{
	J_EXECUTION_ID,
	J_DECISION,
	J_VERSION,
	J_RESULT,
	J_STATUS,
	J_SEVERITY,
	J_CONFIDENCE,
	J_ACTIONS,
	J_METHOD,
	J_POLICY,
	J_MATCHED_RULES,
	J_OUTCOME,
	J_EXPLANATION,
	J_COMPONENTS,
	J_FROM_CACHE,
	J_DEGRADED,
	J_TIME,
	J_CREATED_AT,
	J_COLUMNS
};

/* What results have in common. */
typedef struct ResultShape
{
	TupleDesc columns;
	uint64 identifier;
} ResultShape;

/* Of type factory.judgment, as the catalogue has it now; it stays where it is. */
extern const ResultShape *result_shape(Oid type);

/* In the current memory context; the judgment must live as long. */
extern Datum result_make(const ResultShape *shape, Judgment *judgment, bool explain);

/* What became of a row that could not be judged. */
extern Datum result_of_failure(const ResultShape *shape, const char *decision,
							   const char *policy, const ErrorData *error);

/* That type, where the session has asked for its shape; else InvalidOid. */
extern Oid result_type(void);

/* The columns of a value that result_make gave; false where another made it. */
extern bool result_columns(Datum value, const Datum **values, const bool **nulls);

/* The document in such a column; it lives as long as the value. */
extern Jsonb *result_document(Datum column);

/* Writes a judgment's columns as record_out() does, to the byte. */
extern void result_write(StringInfo out, const Datum *values, const bool *nulls);

#endif /* FACTORY_RESULT_H */
