/*
 * judgment_int.h
 *		What the files of this room share.
 *
 * A *Judgment* is what the caller gets: what the rules say to an input (rules.h), or
 * a model, or both, after policy and log.
 */
#ifndef FACTORY_JUDGMENT_INT_H
#define FACTORY_JUDGMENT_INT_H

#include "cache/cache.h"
#include "judgment/judgment.h"
#include "llm/llm.h"
#include "rules/rules.h"
#include "utils/uuid.h"

/* --- combining and explaining -------------------------------------------------------- */

typedef struct ModelVerdict
{
	char *failure; /* NULL: verdict is valid */
	Verdict verdict;
	LlmAnswer *answer;
} ModelVerdict;

/* What the cache is for to a judgment. */
typedef enum Recall
{
	RECALL_NEVER,  /* nothing is looked for, nothing kept */
	RECALL_AFRESH, /* nothing is looked for */
	RECALL_ALLOWED
} Recall;

typedef struct Judgment
{
	Decision *decision;
	Evaluation *evaluation; /* NULL: rules were not asked */
	ModelVerdict *model;    /* NULL: no model was asked */
	bool in_pieces;         /* no model is to be asked now: it was, or was not to be */
	LlmAnswer *given;       /* of a judgment in pieces: what it said, */
	CacheFound *remembered; /* or had said a moment before */
	JudgmentPolicy policy;
	JudgmentPolicy done; /* what was done, and its name in lower case */
	const char *method;
	const char *result; /* canonical word, NULL where no severity is known */
	Verdict verdict;    /* of a known result */
	bool known;         /* false: result is unknown */
	bool conflict;      /* rules and model disagree, and a person is to decide */
	List *review;       /* of char *: why a person shall look at it */
	char *degraded;     /* or NULL */
	const char *log;    /* "written", or why not */
	Recall recall;
	CacheFound *recalled; /* what was given again, or NULL */
	pg_uuid_t execution_id;
	TimestampTz created_at;
	double elapsed_ms;
	Jsonb *explanation; /* made when asked for: judgment_explain() */
	Jsonb *components;  /* the same: judgment_components() */
} Judgment;

/* --- asking a model, and what was answered a moment ago ------------------------------- */

/*
 * A model being asked, or its answer of a moment ago: begin sends the request (or
 * finds the answer, or waits for who asks the same just now), end waits for it.
 * rules are those it is asked after, or NULL.
 */
typedef struct Consultation Consultation;

/* What the model is told. */
extern LlmRequest model_request(const Judgment *judgment, Evaluation *rules,
								Jsonb *context);

extern Consultation *consult_begin(Judgment *judgment, Evaluation *rules, Jsonb *context);
extern ModelVerdict *consult_end(Consultation *consultation);

/* evaluation_run(), or, where the decision asks for it, what it came to before. */
extern void rules_finish(Judgment *judgment, Evaluation *rules);

/* By what this judgment may recall; false where it may neither look nor keep. */
extern bool recall_key(const Judgment *judgment, Evaluation *rules, Jsonb *context,
					   JudgmentKeeping *keeping);

/* Looks for it, unless it is wanted afresh.  Notes what is found in the judgment. */
extern bool recall_find(Judgment *judgment, CacheTicket *ticket, const void **bytes,
						Size *size);

/* The same where there is no judgment yet; NULL where nothing is found. */
extern CacheFound *recall_look(const char *decision, CacheTicket *ticket, CacheTurn turn);

/* What was kept, in what was found. */
extern const void *recall_bytes(const CacheFound *found, Size *size);

extern void recall_keep(JudgmentKeeping *keeping, const void *bytes, Size size);

/* Which judgment is given again. */
extern const pg_uuid_t *recall_first(const Judgment *judgment);

extern bool judgment_log_cached;  /* setting factory.log_cached */
extern int judgment_cache_ttl_ms; /* setting factory.judgment_cache_ttl */

/* Fills verdict, method, result and degraded from evaluation and model (spec 1.5). */
extern void judgment_combine(Judgment *judgment);

extern Jsonb *judgment_explain(Judgment *judgment);
extern Jsonb *judgment_components(Judgment *judgment);

/* --- what a person decides ----------------------------------------------------------------- */

extern double review_confidence; /* settings factory.review_* */
extern bool review_critical;
extern int review_deadline_minutes;

/* While the library is loaded. */
extern void escalation_register(void);
/* Fills judgment->review. */
extern void escalation_consider(Judgment *judgment);
/* Why no row can be written now, or NULL. */
extern const char *escalation_obstacle(void);
/* Opens a review where there is a reason for one. */
extern void escalation_open(const Judgment *judgment, Jsonb *input);

/* --- the log ----------------------------------------------------------------------------- */

typedef enum LogMode
{
	LOG_OFF,
	LOG_SYNC,
	LOG_ASYNC
} LogMode;

extern int judgment_log_mode; /* setting factory.log */

/* While the library is loaded. */
extern void judgment_log_register(void);

/*
 * Writes one row, or says in judgment->log why not.  Without an input the values of
 * the decision's inputs are logged.
 */
extern void judgment_log(Judgment *judgment, Jsonb *input);

/* Ids of the rules that matched, in hit order: a text[]. */
extern Datum judgment_matched_rules(const Judgment *judgment);

/* From the inputs in the decision's slot to a combined verdict; it was begun. */
extern void judgment_make(Judgment *judgment, Jsonb *context, Recall recall);

/*
 * The same in two pieces, for who waits elsewhere: begun, told whether a model is to be
 * asked, and completed with its answer, or with one of a moment ago (or neither), from
 * the same inputs.
 */
extern Judgment *judgment_begin(Decision *decision, JudgmentPolicy policy);
extern bool judgment_asks_model(const Judgment *judgment, Evaluation **told);

/* The rules' result where the prompt tells it; else NULL. */
extern Evaluation *judgment_rules_told(const Judgment *judgment);
extern void judgment_complete(Judgment *judgment, LlmAnswer *answer,
							  CacheFound *remembered);

/* --- counting, for the metrics ------------------------------------------------------------ */

extern void judgment_count_request(Decision *decision);
extern void judgment_count_end(const Judgment *judgment);
extern void judgment_count_error(const char *decision, JudgmentPolicy policy);

/* The rules alone, for decide(): reads nothing but the decision. */
extern Judgment *judgment_decide(Decision *decision);

#endif /* FACTORY_JUDGMENT_INT_H */
