/*
 * llm.h
 *		Calls to language models: started, answered later, checked, accounted.
 */
#ifndef FACTORY_LLM_H
#define FACTORY_LLM_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

typedef enum LlmFailure
{
	LLM_OK,
	LLM_NO_MODEL, /* not created, or its server or mapping is gone */
	LLM_UNREACHABLE,
	LLM_TIMEOUT,
	LLM_REFUSED,        /* 401, 403, 404, 429 to the end, content refused */
	LLM_ANSWER_INVALID, /* no JSON, or not of the schema, three times */
	LLM_DENIED,         /* the server's options forbid the address or scheme */
	LLM_SHUT,           /* the server's breaker is open: nothing was sent */
	LLM_PACED,      /* its pace leaves no room before the deadline: nothing was sent */
	LLM_OVER_BUDGET /* a budget is used up: nothing was sent */
} LlmFailure;

typedef struct LlmRequest
{
	const char *model;  /* name in factory.model; NULL: the cheapest of the ladder */
	const char *system; /* NULL for none */
	const char *user;
	Jsonb *schema;                 /* JSON schema of the answer; NULL: plain text */
	int deadline_ms;               /* over all tries; 0: factory.llm_timeout */
	TimestampTz not_after;         /* it ends by then, too; 0: no such moment */
	const char *purpose;           /* "judgment", "question", "complete" */
	const char *subject;           /* the decision's name, or NULL */
	Jsonb *options;                /* override the model's own, or NULL */
	const pg_uuid_t *execution_id; /* the judgment this is for, or NULL */
	bool ladder;              /* the next tier is asked where this one is not enough */
	double ladder_confidence; /* of a ladder: so sure an answer must be */
	bool joins;               /* one call for all who ask the same at once */
} LlmRequest;

typedef struct LlmAnswer
{
	LlmFailure failure;
	int sqlstate; /* of a failure: how to raise it */
	char *reason; /* of a failure: one phrase, no secrets */
	char *hint;   /* of a failure: what to do, one sentence; may be NULL */
	char *text;   /* the model's words */
	Jsonb *json;  /* the same parsed, where a schema was given */
	char *model;  /* the provider's own name of the model */
	int64 prompt_tokens;
	int64 completion_tokens;
	double cost_usd;   /* over all tries; NaN where the model has no prices */
	double latency_ms; /* over all tries */
	int attempts;
	char *asked;     /* of a ladder: the name of the model that answered, or failed */
	Jsonb *ladder;   /* of a ladder: who was asked, and why; else NULL */
	bool is_joined;  /* another's call brought it */
	bool is_stopgap; /* of a ladder: a higher tier was wanted and could not be had */
} LlmAnswer;

typedef struct LlmCall LlmCall;

/*
 * Starts a call in the current memory context and returns at once; what the request
 * points to must live as long as the call.  Never raises for what is wrong with
 * model, server or network: that is the answer's failure.
 */
extern LlmCall *llm_start(const LlmRequest *request);

/*
 * Waits for the answer, with its retries, and enters the call into the ledger.
 * Raises only on cancel and shutdown.
 */
extern LlmAnswer *llm_finish(LlmCall *call);

/* Calls under way at once in one backend, of one statement. */
#define LLM_MAX_CONCURRENCY 256

/* Rows of one that wait behind a row whose model still thinks; then none is fetched. */
#define LLM_MAX_WAITING 10000

/* Itself; raises where it is not 1 to that: it is an argument of the function. */
extern int llm_concurrency(const char *function, int concurrency);

/*
 * Many calls at once, in one backend or worker: start them, wait for any, take its
 * answer, start the next.  The answer lives in the context of its start.
 */
extern int llm_wait_any(LlmCall *const *calls, int count);
extern LlmAnswer *llm_answer(LlmCall *call);

/*
 * The same in pieces, for a loop of one's own.  llm_wait() and llm_ready() need no
 * transaction; llm_start() and llm_step() do, not always the same one.  A call that
 * is ready wants a step; a step is true when the answer is there.
 */
extern void llm_wait(TimestampTz until);
extern TimestampTz llm_next_moment(const LlmCall *call);
extern bool llm_ready(LlmCall *call);
extern bool llm_step(LlmCall *call);

/*
 * Personal data: every prompt is masked before it leaves (setting factory.llm_mask_pii).
 * Who knows more than the text tells, as of a field's name, masks by himself before.
 */
extern bool llm_masks_personal(void);

/* A token is four bytes of ASCII, or one other character; too many rather than too few. */
extern int64 llm_estimated_tokens(const char *text);
extern char *llm_mask_personal(const char *text);
extern bool llm_field_is_name(const char *field); /* of a person */
extern char *llm_mask_name(const char *name);

/* How sure an answer must be where a ladder does not say (0 to 1). */
extern double llm_ladder_confidence;

/*
 * NULL, or one phrase: why a ladder that begins with that model, or with the lowest tier
 * where it is NULL, leads nowhere.  A model that is not there yet is no fault.
 */
extern char *llm_ladder_fault(const char *model);

/* Gives the call up: the connection is closed, no row is written. */
extern void llm_abandon(LlmCall *call);

/*
 * "line {{ line_code }}" with the values of a document; a dotted path reaches
 * into objects, an absent value is written as null.  Raises on a broken template.
 */
extern char *llm_render_template(const char *template_text, Jsonb *values);

/* NULL where the value fits the schema, else one phrase: what is wrong and where. */
extern char *llm_check_schema(Jsonb *schema, Jsonb *value);

/*
 * NULL where we can check by that schema, else one phrase: which part is broken, or
 * says something we do not check and so must not ignore.
 */
extern char *llm_schema_error(Jsonb *schema);

/* One phrase of an answer's failure: what the model did, and why. */
extern char *llm_failure_text(const char *model, const LlmAnswer *answer);

/* An answer as complete() gives it. */
extern Jsonb *llm_answer_document(const LlmAnswer *answer);

extern void llm_define_settings(void);
extern void llm_request_shmem(void);
extern void llm_attach_shmem(void);

#endif /* FACTORY_LLM_H */
