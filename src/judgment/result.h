/*
 * result.h
 *		A judgment as a value of type factory.judgment, made as far as it is read.
 */
#ifndef FACTORY_RESULT_H
#define FACTORY_RESULT_H

#include "judgment/judgment_int.h"

/* What the results of one place that calls have in common. */
typedef struct ResultShape
{
	TupleDesc columns;
	uint64 identifier;
} ResultShape;

/* In the current memory context, which must live as long as the results. */
extern void result_shape_init(FunctionCallInfo fcinfo, ResultShape *shape);

/* The same for who is called as something else. */
extern void result_shape_of_type(ResultShape *shape);

/* In the current memory context; the judgment must live as long. */
extern Datum result_make(const ResultShape *shape, Judgment *judgment, bool explain);

/* What became of a row that could not be judged. */
extern Datum result_of_failure(const ResultShape *shape, const char *decision,
							   const char *policy, const ErrorData *error);

#endif /* FACTORY_RESULT_H */
