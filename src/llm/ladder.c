/*
 * ladder.c
 *		Several models for one call, the cheapest first: the next tier is asked where an
 *		answer is not usable, or not sure enough.
 *
 * For server, budgets and ledger each model that is asked is a call of its own;
 * deadline and answer are one.  What a lower tier answered stands where a higher one
 * fails.  Near the end of a budget nobody climbs, and the cheapest is asked first.
 */
#include "postgres.h"

#include <math.h>

#include "base/document.h"
#include "base/settings.h"
#include "llm/llm_int.h"
#include "metrics/metrics.h"

double llm_ladder_confidence;

static const Setting settings[] = {
	{"factory.llm_ladder_confidence",
	 "Sets the confidence below which a ladder asks the next tier.", SETTING_REAL,
	 &llm_ladder_confidence, .boot = 0.7, .min = 0, .max = 1, .context = PGC_USERSET},
};

/* What came of a model; after the first two the next is asked, all others are the end. */
typedef enum LadderStep
{
	STEP_INVALID,  /* no usable answer */
	STEP_UNSURE,   /* confidence too low */
	STEP_SURE,     /* an answer that is good enough */
	STEP_TOP,      /* not, but there is no higher tier */
	STEP_BUDGET,   /* not, but a budget is used to 80 % */
	STEP_DEADLINE, /* not, but there is no time left */
	STEP_FAILED    /* could not be had */
} LadderStep;

static const char *const step_words[] = {
	[STEP_INVALID] = "invalid", [STEP_UNSURE] = "unsure", [STEP_SURE] = "sure",
	[STEP_TOP] = "top",         [STEP_BUDGET] = "budget", [STEP_DEADLINE] = "deadline",
	[STEP_FAILED] = "failed",
};

/* A model that was asked. */
typedef struct Rung
{
	const char *model;
	int tier;
	LlmAnswer answer;
	double confidence; /* NaN: it says none */
	LadderStep step;
	char *reason; /* or NULL */
} Rung;

typedef struct Ladder
{
	double confidence;       /* so sure an answer must be */
	const char *passed_over; /* the model that was to be first, or NULL */
	char *strain;            /* why it was not */
	List *rungs;             /* of Rung * */
	const Rung *standing;    /* the highest with an answer, or NULL */
} Ladder;

void
ladder_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

/* --- the beginning --------------------------------------------------------------------- */

bool
ladder_is_wanted(const LlmCall *call)
{
	return call->request.ladder || call->options.ladder;
}

char *
llm_ladder_fault(const char *name)
{
	const LlmModel *model = name ? model_find(name) : model_above(MODEL_NO_TIER);

	if (name == NULL && model == NULL)
		return pstrdup("no model has a tier, so the prompt's ladder has no beginning. "
					   "Give models one by factory.alter_model(tier => ...).");
	if (model != NULL && model->tier == MODEL_NO_TIER)
		return psprintf("model \"%s\" has no tier, so it has no place on the prompt's "
						"ladder. Give it one by factory.alter_model(tier => ...).",
						name);
	return NULL;
}

static double
wanted_confidence(const LlmCall *call)
{
	if (call->request.ladder)
		return call->request.ladder_confidence;
	return isnan(call->options.ladder_confidence) ? llm_ladder_confidence
												  : call->options.ladder_confidence;
}

/* The cheapest instead of a dearer one, where a budget comes to its end. */
static void
begin_cheaply(LlmCall *call)
{
	LlmModel *cheapest = model_above(MODEL_NO_TIER);

	if (cheapest == NULL || cheapest->tier >= call->model->tier)
		return;
	call->ladder->strain = budget_strain(call->model->name);
	if (call->ladder->strain == NULL)
		return;
	call->ladder->passed_over = call->model->name;
	call_use_model(call, cheapest);
}

void
ladder_begin(LlmCall *call)
{
	if (call->model->tier == MODEL_NO_TIER)
	{
		call_end(call, LLM_NO_MODEL,
				 psprintf("model \"%s\" has no tier, so it has no place on a ladder",
						  call->model->name),
				 "Give it one by factory.alter_model(tier => ...).");
		return;
	}
	call->ladder = palloc0(sizeof(Ladder));
	call->ladder->confidence = wanted_confidence(call);
	begin_cheaply(call);
}

/* --- up, or not ------------------------------------------------------------------------ */

/* The document's own word; who gives none is sure. */
static double
confidence_of(const LlmAnswer *answer)
{
	if (answer->failure != LLM_OK || answer->json == NULL ||
		!JB_ROOT_IS_OBJECT(answer->json))
		return NAN;
	return doc_get_number(answer->json, "confidence", NAN);
}

static bool
is_unsure(const Ladder *ladder, const Rung *rung)
{
	return rung->confidence < ladder->confidence;
}

/* Would a better model do better?  Whom a schema or a limit of ours stops would not. */
static bool
is_invalid(const LlmAnswer *answer)
{
	return answer->failure == LLM_ANSWER_INVALID && answer->attempts > 0;
}

static char *
reason_of(const Ladder *ladder, const Rung *rung)
{
	if (rung->answer.failure != LLM_OK)
		return rung->answer.reason;
	if (is_unsure(ladder, rung))
		return psprintf("confidence %g is below %g", rung->confidence,
						ladder->confidence);
	return NULL;
}

/* Also sets the rung's reason, and the next model where there is to be one. */
static LadderStep
find_step(const LlmCall *call, Rung *rung, LlmModel **next)
{
	const Ladder *ladder = call->ladder;
	bool invalid = is_invalid(&rung->answer);
	char *strain;

	rung->reason = reason_of(ladder, rung);
	if (!invalid && rung->answer.failure != LLM_OK)
		return STEP_FAILED;
	if (!invalid && !is_unsure(ladder, rung))
		return STEP_SURE;
	*next = model_above(rung->tier);
	if (*next == NULL)
		return STEP_TOP;
	if (GetCurrentTimestamp() >= call->deadline)
		return STEP_DEADLINE;
	strain = budget_strain((*next)->name);
	if (strain != NULL)
	{
		rung->reason = strain;
		return STEP_BUDGET;
	}
	return invalid ? STEP_INVALID : STEP_UNSURE;
}

static Rung *
add_rung(LlmCall *call, LlmModel **next)
{
	Rung *rung = palloc0(sizeof(Rung));

	rung->model = call->request.model;
	rung->tier = call->model ? call->model->tier : MODEL_NO_TIER;
	rung->answer = call->answer;
	rung->confidence = confidence_of(&call->answer);
	rung->step = find_step(call, rung, next);
	call->ladder->rungs = lappend(call->ladder->rungs, rung);
	if (rung->answer.failure == LLM_OK)
		call->ladder->standing = rung;
	/* A name that is no model's must not become a label. */
	metric_add(METRIC_LLM_LADDER_STEPS, 1,
			   METRIC_LABELS(call->model ? rung->model : "unknown",
							 step_words[rung->step]));
	return rung;
}

/* --- the end ----------------------------------------------------------------------------- */

static void
put_rung(DocBuilder *b, const Rung *rung)
{
	doc_begin_object(b, NULL);
	doc_put_string(b, "model", rung->model);
	if (rung->tier != MODEL_NO_TIER)
		doc_put_int(b, "tier", rung->tier);
	doc_put_string(b, "outcome", outcome_word(rung->answer.failure));
	if (!isnan(rung->confidence))
		doc_put_number(b, "confidence", rung->confidence);
	doc_put_string(b, "step", step_words[rung->step]);
	if (rung->reason != NULL)
		doc_put_string(b, "reason", rung->reason);
	doc_put_number(b, "cost_usd", rung->answer.cost_usd);
	doc_put_number(b, "latency_ms", rung->answer.latency_ms);
	doc_end_object(b);
}

static Jsonb *
ladder_document(const Ladder *ladder)
{
	DocBuilder b;
	ListCell *cell;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "answered", ladder->standing ? ladder->standing->model : NULL);
	if (ladder->passed_over != NULL)
	{
		doc_begin_object(&b, "passed_over");
		doc_put_string(&b, "model", ladder->passed_over);
		doc_put_string(&b, "reason", ladder->strain);
		doc_end_object(&b);
	}
	doc_begin_array(&b, "asked");
	foreach (cell, ladder->rungs)
		put_rung(&b, lfirst(cell));
	doc_end_array(&b);
	doc_end_object(&b);
	return doc_finish(&b);
}

/* What all of them took. */
static void
add_up(LlmAnswer *answer, List *rungs)
{
	ListCell *cell;

	answer->prompt_tokens = answer->completion_tokens = 0;
	answer->cost_usd = answer->latency_ms = 0;
	answer->attempts = 0;
	foreach (cell, rungs)
	{
		const LlmAnswer *part = &((const Rung *) lfirst(cell))->answer;

		answer->prompt_tokens += part->prompt_tokens;
		answer->completion_tokens += part->completion_tokens;
		answer->cost_usd += part->cost_usd;
		answer->latency_ms += part->latency_ms;
		answer->attempts += part->attempts;
	}
}

bool
ladder_climbs(LlmCall *call)
{
	Ladder *ladder = call->ladder;
	LlmModel *next = NULL;
	const Rung *rung = add_rung(call, &next);
	const Rung *given;

	if (rung->step == STEP_INVALID || rung->step == STEP_UNSURE)
	{
		call->request.model = next->name;
		return true;
	}
	given = ladder->standing ? ladder->standing : rung;
	call->answer = given->answer;
	call->answer.asked = pstrdup(given->model);
	call->answer.is_stopgap = rung->step == STEP_BUDGET || rung->step == STEP_DEADLINE ||
							  rung->step == STEP_FAILED;
	call->answer.ladder = ladder_document(ladder);
	add_up(&call->answer, ladder->rungs);
	return false;
}
