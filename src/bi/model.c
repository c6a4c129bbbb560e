/*
 * model.c
 *		Questions the catalogue leaves open, put to a language model.
 */
#include "postgres.h"

#include "bi/bi_int.h"

bool
model_plan(QuestionPlan *plan)
{
	plan->degraded = pstrdup("the model path is not linked");
	return false;
}
