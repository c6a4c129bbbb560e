/*
 * rules.h
 *		Decisions, compiled, and what their rules say to an input.
 *
 * A *definition* is the document a person wrote; a *Decision* is one version of
 * it compiled for this backend; an *Evaluation* is one input judged by its rules.
 */
#ifndef FACTORY_RULES_H
#define FACTORY_RULES_H

#include "base/document.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/execnodes.h"
#include "utils/typcache.h"

extern void rules_define_settings(void);

/* Limits and standards, by name; limits that are settings are in limits.h. */
#define DECISION_NAME_MAX 100        /* bytes */
#define JUDGMENT_RULE_CONFIDENCE 0.8 /* of a rule that states none (B21) */
#define JUDGMENT_RULE_WEIGHT 0.6     /* spec 1.5 */
#define JUDGMENT_LLM_WEIGHT 0.4
#define JUDGMENT_GATE 0.7
#define JUDGMENT_FALLBACK_CONFIDENCE 0.7

/* --- vocabulary --------------------------------------------------------------- */

typedef enum Severity
{
	SEVERITY_NONE = -1,
	SEVERITY_INFO,
	SEVERITY_WARNING,
	SEVERITY_CRITICAL
} Severity;

extern Severity severity_from_name(const char *name);
extern const char *severity_name(Severity severity);
/* normal, warning, critical; NULL for SEVERITY_NONE. */
extern const char *severity_result(Severity severity);
/* What a well-known status says about severity: HIGH_DEFECT is critical. */
extern Severity severity_from_status(const char *status);

typedef enum HitPolicy
{
	HIT_FIRST,
	HIT_UNIQUE,
	HIT_ANY,
	HIT_PRIORITY,
	HIT_COLLECT,
	HIT_RULE_ORDER,
	HIT_OUTPUT_ORDER,
	HIT_POLICY_COUNT
} HitPolicy;

extern const char *const hit_policy_names[HIT_POLICY_COUNT];

typedef enum JudgmentPolicy
{
	POLICY_RULE_ONLY,
	POLICY_LLM_ONLY,
	POLICY_RULE_FALLBACK,
	POLICY_LLM_FALLBACK,
	POLICY_HYBRID_WEIGHTED,
	POLICY_HYBRID_GATE,
	POLICY_ESCALATE, /* a person answers */
	POLICY_COUNT
} JudgmentPolicy;

extern const char *const judgment_policy_names[POLICY_COUNT];
extern const char *const judgment_method_names[POLICY_COUNT]; /* in lower case */

/* Any spelling of a policy's name; raises PF104 with the known ones. */
extern JudgmentPolicy judgment_policy_from_name(const char *name);
extern bool judgment_policy_lookup(const char *name, JudgmentPolicy *policy);

/* Who wins where rules and model say different statuses. */
typedef enum ConflictResolution
{
	CONFLICT_CONFIDENCE, /* the more confident (default) */
	CONFLICT_RULE_PRIORITY,
	CONFLICT_LLM_PRIORITY,
	CONFLICT_HUMAN_ESCALATE
} ConflictResolution;

/* What happens where a NULL keeps a rule from being decided. */
typedef enum OnNull
{
	ON_NULL_UNKNOWN, /* no match, and the result is unknown (default) */
	ON_NULL_NO_MATCH,
	ON_NULL_ERROR
} OnNull;

/* Sentences that explanations are made of, as formats, in the decision's language. */
typedef enum Phrase
{
	PHRASE_RULE,             /* id */
	PHRASE_RULE_VALUE,       /* name, id */
	PHRASE_RULE_HOLDS,       /* id, condition */
	PHRASE_RULE_HOLDS_WHERE, /* id, condition, values */
	PHRASE_UNDECIDED,        /* what, why */
	PHRASE_IS_NULL,          /* name */
	PHRASE_CONDITION_IS_NULL,
	PHRASE_NONE_MATCHES,  /* number of rules */
	PHRASE_NO_DEFAULT,    /* number of rules */
	PHRASE_MODEL_ANSWERS, /* model, status, confidence */
	PHRASE_MODEL,         /* what it says */
	PHRASE_AND_MODEL,     /* reason, what it says */
	PHRASE_MODEL_SILENT,  /* why */
	PHRASE_MODEL_WORDLESS,
	PHRASE_PERSON_DECIDES, /* why */
	PHRASE_DISAGREEMENT,
	PHRASE_COUNT
} Phrase;

/* --- a compiled decision -------------------------------------------------------- */

typedef enum InputForm /* how JSON becomes a value of the input's type */
{
	FORM_NUMBER,
	FORM_BOOLEAN,
	FORM_TEXT,     /* a string, read by the type's input function */
	FORM_DOCUMENT, /* json and jsonb: as is */
	FORM_ARRAY
} InputForm;

typedef struct ValueType
{
	Oid type;
	int32 typmod;
	Oid collation;
	int16 length;
	bool by_value;
	char align;
	InputForm form;
	FmgrInfo in;
	Oid in_param;
	FmgrInfo out;              /* for texts and messages */
	Oid number_type;           /* base type behind FORM_NUMBER */
	struct ValueType *element; /* of FORM_ARRAY */
} ValueType;

typedef struct Input
{
	char *name;
	int name_length;
	ValueType value;
	char *type_name; /* as people write it */
	bool required;
	bool pii;
	OnNull on_null;
	bool has_default;
	Datum default_value;
	bool has_min;
	bool has_max;
	Datum min;
	Datum max;
	char *min_text;
	char *max_text;
	FmgrInfo compare; /* btree comparison, where min, max or enum need it */
	List *allowed;    /* enum: of Datum pointers */
	char *allowed_text;
	bool plain; /* nothing of it is checked, and it has no default */
} Input;

typedef struct Expression
{
	char *text;       /* as written */
	Expr *expr;       /* planned */
	ExprState *state; /* initialised at first use */
	Oid type;
	bool may_raise;     /* not made of leakproof functions alone */
	Bitmapset *columns; /* attribute numbers it reads */
} Expression;

typedef struct Let
{
	char *name;
	Expression value;
	ValueType type;
} Let;

/* What a rule, the default answer or a model says. */
typedef struct Verdict
{
	char *status; /* or NULL */
	Severity severity;
	double confidence;
	List *actions;     /* of JsonbValue *: texts or objects */
	char *explanation; /* or NULL */
	Jsonb *outcome;    /* the whole of "then" */
} Verdict;

/* The columns of an answer that one rule, or the default, gives alone: made once. */
typedef struct Answer
{
	NullableDatum status;
	NullableDatum result;
	NullableDatum severity;
	NullableDatum actions;
	NullableDatum outcome;
	Datum matched_rules;
	Datum id;    /* the rule's, as text */
	Datum brief; /* factory.verdict; 0: not asked for yet */
	Jsonb *hit;  /* the outcome among several: with the rule's id; NULL: never so */
} Answer;

typedef struct Computed
{
	char *name;
	Expression value; /* of type jsonb */
} Computed;

typedef struct Rule
{
	char *id;
	int index;
	Expression when;
	Verdict then;
	double priority;
	char *because;  /* template with {name}, or NULL */
	List *computed; /* "set": of Computed * */
	Answer *answer; /* NULL: not asked for yet */
	struct RuleWords *words;
	List *alone; /* of this rule: the hits where it is the only one */
	bool ready;  /* false: it was not asked for yet, see decision_rule() */
} Rule;

typedef struct Collected
{
	char *name;
	char *function; /* sum, min, max, count, list */
} Collected;

typedef struct Decision
{
	MemoryContext context;
	char *name;
	Datum name_text; /* the same; 0: not asked for yet */
	int version;
	char *hash;    /* of the definition; NULL of one that is only compiled */
	Oid owner;     /* whose rights the conditions have */
	Input *inputs; /* in the order in which jsonb has keys */
	int input_count;
	Let *lets; /* in an order in which each may be computed */
	int let_count;
	Rule *rules; /* of one that is open: by decision_rule() */
	int rule_count;
	Jsonb *rule_list; /* what rules are read from when they are asked for, or NULL */
	HitPolicy hit_policy;
	List *collected;    /* of Collected * */
	Verdict *otherwise; /* "default", or NULL */
	char *otherwise_because;
	Answer *otherwise_answer;
	Answer *unknown_answer;
	bool strict;
	OnNull on_null;
	bool lets_may_raise;
	bool needs_search_path; /* a condition calls a function of the users' */
	bool uses_time;         /* one asks for now() */
	bool is_mutable;        /* one calls a function that is not immutable */
	bool parallel_unsafe;   /* one calls a function that parallel workers must not */
	List *uses;             /* of ObjectAddress *: of users' objects, what all use */
	JudgmentPolicy policy;
	double rule_weight;
	double llm_weight;
	double gate;
	double fallback_confidence;
	ConflictResolution conflict_resolution;
	char *canary_key;   /* the input whose value keeps to one version, or NULL */
	int64 cache_ttl_ms; /* "cache_ttl"; -1 where it says nothing */
	List *statuses;     /* of String: what a model may answer */
	char *language;     /* "en" or "ko" */
	char *prompt_model; /* NULL: none, or the cheapest of the ladder */
	char *prompt_system;
	char *prompt_user;
	bool prompt_ladder;
	double prompt_ladder_confidence; /* NaN: factory.llm_ladder_confidence */
	Jsonb *answer_schema;            /* of the model's answer */

	/* Working space, one evaluation at a time. */
	TupleDesc columns; /* inputs, the judgment's time, lets */
	TupleTableSlot *slot;
	ExprContext *econtext;
	MemoryContext econtext_memory; /* its own, where it is not lent the caller's */
	char **let_errors;             /* why a let value could not be computed, or NULL */
	struct RuleIndex *index;
	struct AlternativeTexts *alternatives;
	struct ValuesShape *values_shapes[2]; /* without and with lets */
	struct RowShape *row_shape;           /* how the rows last seen fill the inputs */
	struct JudgmentSeries *series;        /* where its judgments are counted */
	bool busy;
} Decision;

/*
 * Attribute numbers in Decision.columns: inputs, the judgment's time, lets.  The time
 * comes before the lets, for they can ask for it before it is known how many they are.
 */
#define DECISION_INPUT_ATTNO(i) ((i) + 1)
#define DECISION_TIME_ATTNO(d) ((d)->input_count + 1)
#define DECISION_LET_ATTNO(d, i) ((d)->input_count + (i) + 2)
#define DECISION_LET_OF_ATTNO(d, attno) (&(d)->lets[(attno) - (d)->input_count - 2])
#define DECISION_COLUMN_COUNT(d) ((d)->input_count + 1 + (d)->let_count)

/* A rule of which only its id and what it says are asked: nothing is compiled. */
extern const Rule *decision_rule_words(const Decision *decision, int number);
extern void decision_read_rule(const Decision *decision, int number);

static inline Rule *
decision_rule(const Decision *decision, int number)
{
	if (unlikely(!decision->rules[number].ready))
		decision_read_rule(decision, number);
	return &decision->rules[number];
}

extern const char *phrase(const Decision *decision, Phrase wanted);

/* The attribute number of an input or let value by name; 0 where there is none. */
extern int decision_column(const Decision *decision, const char *name);
extern const char *decision_column_name(const Decision *decision, int attno);

/* --- values and expressions ------------------------------------------------------ */

/* False, with a reason, where there is no such type or it cannot be an input. */
extern bool value_type_resolve(const char *name, ValueType *result, char **why);
extern void value_type_init(Oid type, int32 typmod, ValueType *result);

/* JSON as a value of the type; NULL reason when it worked. */
extern Datum value_from_json(const ValueType *type, const JsonbValue *json, bool *isnull,
							 char **why);
extern char *value_to_text(const ValueType *type, Datum value);
extern void value_put(DocBuilder *b, const char *name, const ValueType *type,
					  Datum value);

/* --- evaluation ------------------------------------------------------------------- */

typedef struct Undecided
{
	int rule;   /* index; -1 for a let */
	char *what; /* "rule \"high\"" */
	char *why;  /* "defect_rate is NULL", or the error's text */
} Undecided;

typedef struct Evaluation
{
	Decision *decision;
	List *hits;        /* of Rule *, in the order the hit policy asks */
	Verdict *verdict;  /* NULL: unknown */
	Answer *answer;    /* status and severity ready-made; all of it if it is alone */
	bool alone;        /* one rule, or the default, without computed outcomes */
	List *undecided;   /* of Undecided * */
	char *reason;      /* made when asked for: evaluation_reason() */
	Jsonb *outcome;    /* the same: evaluation_outcome() */
	int decided;       /* rules that are now known to match or not */
	double elapsed_ms; /* of the rules */

	int next_let; /* where an evaluation that failed goes on */
	int next_rule;
	bool indexed;    /* the rule index leads the way */
	uint64 load;     /* what the index took in for it; 0: nothing */
	bool stopped;    /* "first" has its match */
	bool evaluating; /* a rule is evaluated: it is the one before next_rule */
	bool every;      /* all hits are wanted, whatever the hit policy */
} Evaluation;

/* In the order of the input's type; is it in its enumeration, if there is one. */
extern int input_compare(Input *input, Datum value, Datum bound);
extern bool input_is_allowed(Input *input, Datum value);

/* Fills the decision's slot; raises PF102 with every offending field. */
extern void inputs_from_json(Decision *decision, Jsonb *input);
extern void inputs_from_row(Decision *decision, HeapTupleHeader row);

/* The same; false where there are offending fields. */
extern bool inputs_take_json(Decision *decision, Jsonb *input);
extern bool inputs_take_row(Decision *decision, HeapTupleHeader row);

/* Whether a row like this gives the values that to_jsonb() of it would. */
extern bool inputs_are_columns(const Decision *decision, HeapTupleHeader row);

/* Whether what fills the inputs of one fills those of the other, and doing so. */
extern bool inputs_are_alike(const Decision *one, const Decision *other);
extern void inputs_copy(const Decision *from, Decision *to);

/*
 * How a function's arguments fill the inputs, in the decision's memory; raises PF102
 * where one is no input or has no value for it.
 */
extern struct RowShape *arguments_shape(Decision *decision, TupleDesc arguments);
extern void inputs_from_arguments(Decision *decision, struct RowShape *shape,
								  FunctionCallInfo fcinfo);

/*
 * Judges what is in the slot: begin computes the let values, finish decides the
 * rules.  A model can be asked in between.  Everything returned is in the current
 * memory context.
 */
extern Evaluation *evaluation_begin(Decision *decision, TimestampTz at);
extern void evaluation_start(Evaluation *evaluation, Decision *decision, TimestampTz at);
extern void evaluation_finish(Evaluation *evaluation);

/* Instead of that: the rules that matched are known, of so many that were decided. */
extern void evaluation_resume(Evaluation *evaluation, const int32 *hits, int count,
							  int decided);

/* The same, without looking at the clock. */
extern void evaluation_run(Evaluation *evaluation);

/*
 * All of it for who asks what one rule, or the default, answers alone: true where the
 * index knows.  Only decision, hits, verdict, answer and alone are filled then.
 */
extern bool evaluation_by_index(Evaluation *evaluation, Decision *decision);

/* Finds every hit and what is undecided; no verdict, and on_null never raises. */
extern void evaluation_run_every(Evaluation *evaluation);

typedef enum Truth
{
	TRUTH_FALSE,
	TRUTH_TRUE,
	TRUTH_UNKNOWN /* NULL, or it failed */
} Truth;

/* One rule's condition over what is in the slot, evaluated with the caller's rights. */
extern Truth rule_truth(Decision *decision, Rule *rule);

/* Why it came out so, in one sentence; while the slot is as it was. */
extern char *evaluation_reason(Evaluation *evaluation);
extern DocText evaluation_reason_text(Evaluation *evaluation);

/* All that the hits or the default gave, or NULL. */
extern Jsonb *evaluation_outcome(Evaluation *evaluation);

/* Ids of the rules that matched, in hit order: a text[]. */
extern Datum evaluation_matched_rules(const Evaluation *evaluation);

/* What a rule, the default (NULL), or nobody answers. */
extern Answer *answer_of_rule(Decision *decision, Rule *rule);
extern Answer *answer_unknown(Decision *decision);

/* {"hits": [...]} of documents that are objects, put together without parsing. */
extern Jsonb *answer_hits(List *hits);

/* The slot's values as people read them, while it is as it is: each text is made once. */
typedef struct ColumnTexts
{
	const Decision *decision;
	DocText *of;
	char *room; /* of numbers */
} ColumnTexts;

extern void column_texts_begin(ColumnTexts *texts, const Decision *decision);
extern DocText column_texts_get(ColumnTexts *texts, int attno);
extern void append_doc_text(StringInfo words, DocText text);

/* "defect rate {defect_rate}" with the slot's values. */
extern char *explanation_render(Decision *decision, const char *template_text);

/* The slot's inputs (and lets) as one document, and as a part of one. */
extern void decision_put_values(DocBuilder *b, const char *name, Decision *decision,
								bool with_lets);
extern Jsonb *decision_values(Decision *decision, bool with_lets);

/* --- what rules and models recommend -------------------------------------------------- */

/* Reads a "then", a "default" or a model's answer. */
extern void verdict_read(Jsonb *document, Verdict *verdict);
extern Jsonb *verdict_actions(const Verdict *verdict);

/* Adds actions that are not there yet. */
extern List *actions_add(List *actions, const List *more);

extern bool actions_need_approval(const List *actions);

/* --- explaining -------------------------------------------------------------------------- */

/* What explanations repeat of a rule that holds, made once. */
typedef struct NamedColumn
{
	int attno;
	DocText lead; /* what goes before its value */
} NamedColumn;

typedef struct RuleWords
{
	char *reason; /* where the rule says none itself */
	DocText reason_text;
	DocText holds; /* up to the values of what it names */
	NamedColumn *named;
	int named_count;
	Jsonb *reference;
} RuleWords;

extern const RuleWords *rule_words(Decision *decision, Rule *rule);

/* --- the store: versions, deployments ----------------------------------------------- */

/* The version in force, or the one asked for (0: in force); raises PF103. */
extern Decision *decision_lookup(const char *name, int version);

/* A version's document; raises PF103. */
extern Jsonb *decision_definition(const char *name, int version);

/* Those of the tenant that this session keeps. */
extern void decisions_compiled(void (*see)(const Decision *, void *), void *argument);

/* Frees it at the end of the transaction: somebody may be judging by it. */
extern void decision_retire(Decision *decision);

/* How often that was done, and, once watched, how often functions were redefined. */
extern uint64 decisions_freed_so_far(void);
extern void functions_watch(void);
extern uint64 functions_changed_so_far(void);

/* What one place that calls judged by last. */
typedef struct DecisionPin
{
	const char *tenant; /* tenant_current() */
	char name[DECISION_NAME_MAX + 1];
	int version;
	TimestampTz statement;
	uint64 freed;
	Decision *decision; /* NULL: nothing yet */
	int canary_version; /* tried on a share of what is in force; 0: none */
	int canary_share;   /* of CANARY_WHOLE */
} DecisionPin;

#define CANARY_WHOLE 10000

/* The version that is tried on this input, 0 where the one in force judges it. */
extern int canary_version(const DecisionPin *pin, Jsonb *input, HeapTupleHeader row);

/* The same, one version for a whole statement at each place that calls. */
extern Decision *decision_for_call(DecisionPin *pin, const char *name, int version);

#endif /* FACTORY_RULES_H */
