/*
 * llm_int.h
 *		Between the files of the llm room.
 */
#ifndef FACTORY_LLM_INT_H
#define FACTORY_LLM_INT_H

#include "base/document.h"
#include "lib/stringinfo.h"
#include "llm/gate.h"
#include "llm/llm.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"

/* --- model.c: what factory.model says ------------------------------------------- */

/* What a model, or one call, asks for; unset where the comment says. */
typedef struct LlmOptions
{
	double temperature;      /* NaN: the provider's default */
	int max_tokens;          /* 0: the provider's default */
	int timeout_ms;          /* 0: factory.llm_timeout */
	int requests_per_minute; /* 0: no limit */
	int tokens_per_minute;   /* 0: no limit */
	bool ladder;
	double ladder_confidence; /* NaN: factory.llm_ladder_confidence */
} LlmOptions;

typedef struct LlmModel
{
	char *name;
	char *server;
	char *provider_model;
	double input_price; /* US dollars per million tokens; NaN for unknown */
	double output_price;
	int tier; /* MODEL_NO_TIER where it has none */
	LlmOptions options;
} LlmModel;

#define MODEL_NO_TIER (-1)

/* The model of this tenant, or NULL. */
extern LlmModel *model_find(const char *name);

/* The same, to be looked at before anything else of the database is. */
extern const LlmModel *model_glance(const char *name);

/* Of this tenant's next tier above: the model with the lowest price; or NULL. */
extern LlmModel *model_above(int tier);

/* Overrides with what the document says; raises on unknown keys and bad values. */
extern void options_read(LlmOptions *options, Jsonb *document);

/* --- mask.c ------------------------------------------------------------------------- */

extern void mask_define_settings(void);

/* --- body.c: the JSON text of a request ------------------------------------------- */

typedef struct LlmBody
{
	StringInfoData text;
	bool is_first; /* in the innermost object or list */
} LlmBody;

/*
 * body_begin(&b); body_begin_object(&b, NULL); body_put_string(&b, "k", "v"); ...
 * body_end_object(&b); then it is in b.text.  Inside a list the key is NULL.
 */
extern void body_begin(LlmBody *b);
extern void body_begin_object(LlmBody *b, const char *key);
extern void body_end_object(LlmBody *b);
extern void body_begin_list(LlmBody *b, const char *key);
extern void body_end_list(LlmBody *b);
extern void body_put_string(LlmBody *b, const char *key, const char *text);
extern void body_put_int(LlmBody *b, const char *key, int number);
extern void body_put_number(LlmBody *b, const char *key, double number); /* finite */
extern void body_put_doc(LlmBody *b, const char *key, Jsonb *doc);

/* --- provider: how a server is spoken to ------------------------------------------ */

/* How the answer's form is asked for. */
typedef enum LlmForm
{
	LLM_FORM_TEXT,
	LLM_FORM_SCHEMA, /* the server is given the schema */
	LLM_FORM_OBJECT  /* the server promises JSON only; the model is told the schema */
} LlmForm;

typedef struct LlmPrompt
{
	const char *provider_model;
	const char *system; /* or NULL */
	const char *user;
	Jsonb *schema;
	LlmForm form;
	const char *bad_answer; /* of a repair: the model's own last words, or NULL */
	const char *fault;      /* of a repair: what was wrong with them */
	const LlmOptions *options;
} LlmPrompt;

/* What a provider makes of an answer's document. */
typedef struct LlmReading
{
	LlmFailure failure;
	const char *reason; /* of a failure */
	const char *hint;   /* of a failure, or NULL */
	bool is_final;      /* of a failure: another try would end the same way */
	char *text;
	char *model;
	int64 prompt_tokens;
	int64 completion_tokens;
} LlmReading;

/* One row of functions; a new provider is one file and one row in server.c. */
typedef struct LlmProvider
{
	const char *name;
	char *(*path)(const LlmPrompt *prompt); /* below the server's base_url */
	const char *header;                     /* sent with every request, or NULL */
	char *(*key_header)(const char *key);
	void (*write_request)(LlmBody *b, const LlmPrompt *prompt);
	/* Or NULL: an answer as most are; false where it is another, for read_answer(). */
	bool (*read_usual)(const char *text, int length, LlmReading *reading);
	void (*read_answer)(Jsonb *document, LlmReading *reading);
	char *(*read_error)(Jsonb *document); /* the error's code word, or NULL */
} LlmProvider;

extern const LlmProvider openai_provider;
extern const LlmProvider azure_provider;
extern const LlmProvider anthropic_provider;
extern const LlmProvider gemini_provider;

/* --- prompt.c: what every provider's request and answer needs ---------------------- */

/* The system text, with the schema in words where the server is not given it. */
extern const char *prompt_system_text(const LlmPrompt *prompt);

/* What the model is told to repair, or NULL. */
extern const char *prompt_repair_text(const LlmPrompt *prompt);

/* One message; and user's and assistant's in turn, with the request for a better answer. */
extern void prompt_put_message(LlmBody *b, const char *role, const char *content);
extern void prompt_put_turns(LlmBody *b, const LlmPrompt *prompt);

extern void reading_fail(LlmReading *reading, LlmFailure failure, bool is_final,
						 const char *reason, const char *hint);

/* A count from there on is no count. */
#define READING_MAX_TOKENS ((int64) 1000000000000)

/* A count of tokens; 0 where there is none, or none that can be believed. */
extern int64 reading_tokens(Jsonb *usage, const char *key);

/* --- server.c: options of foreign servers and user mappings ------------------------- */

#define LLM_WRAPPER_NAME "factory_llm"

/* NULL where there is none of that name. */
extern const LlmProvider *provider_find(const char *name);

/* Whether that role may have what files and environment of the machine say. */
extern bool server_files_are_open_to(Oid role);

/* NULL, or why that is no key. */
extern const char *server_key_fault(const char *key);

/* --- server_use.c: servers as they are used, and their keys -------------------------- */

typedef struct LlmServer
{
	const LlmProvider *provider;
	Oid id;
	char *name;
	char *base_url;
	int max_connections; /* 0: no limit */
	bool allow_http;
	bool allow_private;
	char *ca_file;
	char *key; /* NULL for none */
} LlmServer;

/* What went wrong, where something did. */
typedef struct LlmTrouble
{
	int sqlstate;
	char *reason; /* NULL where nothing did */
	char *hint;
} LlmTrouble;

/* The server as the current user may use it, or NULL with the trouble told. */
extern LlmServer *server_find(const char *name, LlmTrouble *trouble);

/* --- budget.c: what may be used ------------------------------------------------------- */

/* Of tenant, role and model, each for the day and the month. */
#define BUDGET_MAX_HOLDS 6

typedef struct BudgetHold
{
	int place;
	int64 serial;
	int64 tokens;
	int64 nano_usd;
} BudgetHold;

typedef struct BudgetHolds
{
	int count;
	BudgetHold of[BUDGET_MAX_HOLDS];
} BudgetHolds;

/*
 * Holds what a call is expected to take of every budget it is under, and warns at 80 %.
 * NULL, or why it may not be made; what is held already is settled by the caller then.
 */
extern char *budget_reserve(BudgetHolds *holds, const LlmModel *model,
							int64 prompt_tokens, int64 answer_tokens);

/* NULL, or one phrase: a budget that calls of this model are under is used to 80 %. */
extern char *budget_strain(const char *model);

/* What was taken instead; never raises. */
extern void budget_settle(BudgetHolds *holds, int64 tokens, double cost_usd);

extern void budget_define_settings(void);
extern void budget_request_shmem(void);
extern void budget_attach_shmem(void);

/* --- llm.c: a call under way --------------------------------------------------------- */

typedef enum CallState
{
	CALL_PAUSED,
	CALL_SENT,
	CALL_FOLLOWING,
	CALL_CLIMBING,
	CALL_ENDED
} CallState;

struct HttpTransfer;
struct HttpAnswer;

struct LlmCall
{
	MemoryContext context;
	LlmRequest request;
	LlmModel *model;
	LlmServer *server;
	LlmOptions options;
	LlmForm form;
	CallState state;
	TimestampTz started;
	TimestampTz deadline;          /* of a ladder: over all its models */
	TimestampTz moment;            /* paused, or following, until then */
	int place;                     /* where it follows or is followed; 0: nowhere */
	struct HttpTransfer *transfer; /* of the try under way */
	GatePass pass;
	BudgetHolds holds;
	bool throttled; /* the last try was answered with 429 */
	bool was_cut;   /* the last try's connection failed */
	bool is_masked; /* the prompt, of personal data */
	MemoryContextCallback on_reset;
	int repairs;
	char *bad_answer; /* what is to be repaired, or NULL */
	LlmAnswer answer;
	struct Ladder *ladder; /* or NULL */
};

extern int llm_timeout_ms;
extern int llm_max_prompt_kb;

/* By when a call that has started is to end, with all its tries. */
extern TimestampTz call_deadline(const LlmCall *call, const LlmOptions *options);

extern void call_fail(LlmCall *call, LlmFailure failure, const char *reason,
					  const char *hint);

/* The same, and it is over. */
extern void call_end(LlmCall *call, LlmFailure failure, const char *reason,
					 const char *hint);

/* --- join.c: who asks the same at once is given one answer ----------------------------- */

/* No call of this process is followed or follows: one that waits holds none up. */
extern bool join_is_free(void);

/*
 * Where the same is asked just now, the call follows that one until its moment: true.
 * Else it is ours to ask, and others may follow it until join_answer() or join_end().
 */
extern bool join_begin(LlmCall *call);

/* The one it follows is through, or its own moment has come. */
extern bool join_is_over(const LlmCall *call);

/* False: it brought no answer, and the call is to ask in what is left of its time. */
extern bool join_take(LlmCall *call);

/* The call has ended: who follows it is given its answer, or asks for himself. */
extern void join_answer(LlmCall *call);

/* The call is given up; at no place it does nothing. */
extern void join_end(LlmCall *call);

/* Until a call that is followed by ours is through, a transfer goes on, or that moment. */
extern void join_wait(TimestampTz until);

/* Where nothing is under way but this one, which follows. */
extern void join_wait_alone(const LlmCall *call);

extern void join_define_settings(void);
extern void join_request_shmem(void);
extern void join_attach_shmem(void);

/* --- prepare.c: what a call needs before a byte is sent ---------------------------------- */

/* The call is ended where it may not be made; what it holds is in it. */
extern void call_prepare(LlmCall *call);

/* From now on the call is one of that model. */
extern void call_use_model(LlmCall *call, LlmModel *model);

/* An estimate. */
extern int64 call_prompt_tokens(const LlmCall *call);

/* --- ladder.c: several models for one call, the cheapest first ---------------------------- */

extern void ladder_define_settings(void);

/* The call is to have a ladder, and its model is known. */
extern bool ladder_is_wanted(const LlmCall *call);

/* May change the call's model for a cheaper one, or end the call. */
extern void ladder_begin(LlmCall *call);

/*
 * A model of the ladder is through.  True where the call's next model is set, and is
 * to be asked; else the answer is the ladder's.
 */
extern bool ladder_climbs(LlmCall *call);

/* --- answer.c: what came back from a try ----------------------------------------------- */

/* What follows a try. */
typedef enum NextTry
{
	NEXT_NONE,
	NEXT_AT_ONCE,
	NEXT_REPAIR, /* at once, the model told what was wrong; not often */
	NEXT_LATER
} NextTry;

extern NextTry call_take_result(LlmCall *call, const struct HttpAnswer *got);

/* Has this session learned that the call's model takes no schema? */
extern bool model_is_plain(const LlmCall *call);

/* --- ledger.c: what was called, and what it cost -------------------------------------- */

typedef struct LlmLedgerRow
{
	const LlmRequest *request;
	const LlmModel *model; /* NULL where there is none */
	const LlmAnswer *answer;
	TimestampTz now;
} LlmLedgerRow;

/* "ok", "timeout", ...: the ledger's and the metric's word. */
extern const char *outcome_word(LlmFailure failure);

/* Why no row can be written here, or NULL: no ledger means no call. */
extern const char *ledger_obstacle(void);

extern void ledger_define(void);

/* Adds the row and the metrics; in a read-only transaction the metrics alone. */
extern void ledger_enter(const LlmLedgerRow *row);

/* --- llm_sql.c: how SQL sees an answer --------------------------------------------------- */

/* Raises where we cannot check by that schema. */
extern void llm_refuse_unusable_schema(Jsonb *schema);

#endif /* FACTORY_LLM_INT_H */
