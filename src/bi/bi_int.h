/*
 * bi_int.h
 *		What the files of this room share: catalogue, plan, guard, guarded run.
 *
 * The way of a question: words (tokens.c) and periods (period.c) become a plan
 * (planner.c), the plan becomes SQL (compile.c), the SQL passes the guard (guard.c)
 * and runs as the reader (guarded_run.c), the rows get a chart (chart.c).
 */
#ifndef FACTORY_BI_INT_H
#define FACTORY_BI_INT_H

#include "base/compat.h"
#include "base/document.h"
#include "nodes/parsenodes.h"
#include "utils/date.h"
#include "utils/timestamp.h"

/* --- settings (bi.c) ------------------------------------------------------- */

extern char *bi_reader_role;
extern char *bi_reader_search_path;
extern char *bi_model;
extern int bi_timeout_ms;
extern int bi_max_rows;
extern int bi_max_bytes_kb;

/* --- catalogue (catalog.c, catalog_check.c) -------------------------------- */

typedef enum Grain
{
	GRAIN_NONE,
	GRAIN_HOUR,
	GRAIN_DAY,
	GRAIN_WEEK,
	GRAIN_MONTH
} Grain;

typedef struct Dataset
{
	char *name;
	char *relation; /* quoted and qualified */
	Oid relid;
	char *time_column; /* quoted; NULL: no time */
	Oid time_type;
	Grain grain;
	List *dimensions; /* of char * */
	double cost;
	int keeps_days; /* how far back it reaches; 0: all */
	int lag_days;   /* how many of the latest days it lacks */
	bool has_tenant;
	char *zone;
} Dataset;

typedef struct MetricSource
{
	Dataset *dataset;
	char *sql;
} MetricSource;

typedef struct Metric
{
	char *name;
	char *label[2]; /* ko, en */
	char *format;   /* number, percent, currency, duration */
	char *unit;
	char *chart;
	char *good; /* up, down or NULL */
	char *additivity;
	List *sources; /* of MetricSource * */
	List *detail;  /* of char *: dimensions of a drill-down */
} Metric;

typedef struct Dimension
{
	char *name;
	char *label[2];
	char *sql;            /* column or expression */
	char *values_query;   /* NULL: none */
	char *default_metric; /* what "by defect type" alone asks for */
	List *values;         /* of char *: as stored */
	List *aliases;        /* of DimensionAlias * */
	char *domain;
} Dimension;

typedef struct DimensionAlias
{
	char *alias;
	char *value;
} DimensionAlias;

/* Several metrics under one word: "report", "defect statistics". */
typedef struct Bundle
{
	char *name;
	List *metrics; /* of Metric * */
} Bundle;

/* A word with several meanings: the choices offered back. */
typedef struct AmbiguousWord
{
	char *word;
	List *choices; /* of char * */
} AmbiguousWord;

typedef struct VerifiedQuestion
{
	char *question;
	char *sql;   /* runs as it stands, or */
	char *means; /* another wording that the planner understands */
} VerifiedQuestion;

typedef enum WordKind
{
	WORD_METRIC,
	WORD_DIMENSION,
	WORD_VALUE,
	WORD_BUNDLE,
	WORD_AMBIGUOUS,
	WORD_VERIFIED,
	WORD_OPERATION, /* by, trend, compare, top ... */
	WORD_PERIOD,
	WORD_PARTICLE, /* only right behind another word */
	WORD_FILLER,
	WORD_NUMBER,
	WORD_UNKNOWN
} WordKind;

/* An entry of the vocabulary: text without separators, and what it names. */
typedef struct Word
{
	char *key;
	bool *gap; /* gap[i]: a separator stood before byte i */
	int length;
	WordKind kind;
	void *item; /* Metric, Dimension, Bundle ..., by kind */
	char *value;
	int code;
} Word;

typedef struct Catalog
{
	MemoryContext context;
	char *tenant;
	char *zone;           /* NULL: the plant's */
	char *default_period; /* code such as "this_month"; NULL: ask back */
	int max_rows;
	List *domains; /* of char * */
	List *datasets;
	List *metrics;
	List *dimensions;
	List *bundles;
	List *verified;
	List *widgets;   /* of Jsonb * */
	List *relations; /* OIDs free SQL may name */
	List *words;     /* of Word *, longest first */
	TimestampTz values_read;
} Catalog;

/* The tenant's catalogue, kept until it changes; NULL where none is loaded. */
extern Catalog *catalog_get(void);

/* Looks for values that were added since they were last read; true: read again. */
extern bool catalog_read_values(Catalog *catalog, bool forced);

extern Catalog *catalog_build(List *documents, const char *tenant);
extern void catalog_check_document(Jsonb *document);
extern void catalog_check_sql(Catalog *catalog, Jsonb *document);
extern Metric *catalog_metric(Catalog *catalog, const char *name);
extern Dimension *catalog_dimension(Catalog *catalog, const char *name);
extern Dataset *catalog_dataset(Catalog *catalog, const char *name);
extern Jsonb *catalog_describe(Catalog *catalog);
extern const char *catalog_zone(Catalog *catalog);

/* --- words (tokens.c, words.c) --------------------------------------------- */

/* A question without separators; gap[i] says what stood before byte i. */
typedef enum Gap
{
	GAP_NONE,
	GAP_SPACE,
	GAP_JOINT, /* - _ / and the like */
	GAP_HARD   /* punctuation: no word goes across */
} Gap;

typedef struct Line
{
	char *text;
	Gap *gap;
	int *origin; /* the byte of the question that text[i] came from */
	int length;
	const char *question;
	bool korean;
} Line;

typedef struct PeriodSpan
{
	bool set;
	DateADT from; /* half-open, in the plant's zone */
	DateADT until;
	char *text;
	bool assumed;
	bool range; /* more than one day was named */
} PeriodSpan;

typedef struct Token
{
	WordKind kind;
	Word *word;
	int start;
	int end;
	int number;
	PeriodSpan period;
	char *text; /* as written */
} Token;

extern Line *line_read(const char *question);
extern char *line_text(Line *line, int start, int end);
extern Word *word_make(const char *text, WordKind kind, void *item, char *value,
					   int code);
extern int word_match(const Line *line, int at, const Word *word);
extern List *words_builtin(void);
extern List *tokens_read(Line *line, Catalog *catalog, DateADT today);

/* --- periods (period.c) ---------------------------------------------------- */

/* The length of the period phrase at that place, 0 for none. */
extern int period_match(const Line *line, int at, DateADT today, PeriodSpan *period);
extern bool period_from_code(const char *code, DateADT today, PeriodSpan *period);
extern char *period_date_text(DateADT date);
extern bool period_date(int year, int month, int day, DateADT *date);
extern DateADT period_today(const char *zone);

/* --- plan (planner.c, compile.c) ------------------------------------------- */

typedef enum Operation
{
	OP_BY = 1,
	OP_TREND,
	OP_COMPARE,
	OP_AVERAGE,
	OP_TOP,
	OP_BOTTOM,
	OP_HIGH,
	OP_LOW,
	OP_ALL,
	OP_NOW,
	OP_DETAIL,
	OP_CHART,
	OP_TABLE,
	OP_SHARE,
	OP_HOURLY,
	OP_DAILY,
	OP_WEEKLY,
	OP_MONTHLY,
	OP_COUNT_UNIT, /* the "개" of "상위 3개" */
	OP_AVERAGE_DAILY,
	OP_VERSUS_PREVIOUS,
	OP_WHY,
	OP_ACTION
} Operation;

typedef struct PlanFilter
{
	Dimension *dimension;
	List *values; /* of char * */
} PlanFilter;

typedef struct QuestionPlan
{
	const char *question;
	bool korean;
	Catalog *catalog;
	const char *intent;
	List *metrics;    /* of Metric * */
	List *dimensions; /* of Dimension *, grouped by */
	List *filters;    /* of PlanFilter * */
	PeriodSpan period;
	Grain grain; /* GRAIN_NONE: one total */
	bool average_daily;
	Metric *order_by; /* NULL: by time, else the first metric, falling */
	bool ascending;
	int limit; /* 0: none named */
	Dataset *dataset;
	const char *chart;
	double confidence;
	const char *source; /* catalog, verified, model */
	char *sql;
	char *clarification;       /* NULL: the plan stands */
	List *choices;             /* of char * */
	List *warnings;            /* of char * */
	char *degraded;            /* why the model that was wanted gave no answer */
	struct QuestionPlan *next; /* a second answer to the same question */
} QuestionPlan;

/* What the words of one question said, before it is judged as a whole. */
typedef struct Reading
{
	QuestionPlan *plan;
	bool said[OP_ACTION + 1]; /* operations named */
	Grain grain;
	int number; /* a number that may be a limit; -1 none */
	Token *number_token;
	List *unknown; /* of Token * */
	AmbiguousWord *ambiguous;
	List *mentioned; /* of Dimension *: named, but not "by" */
	bool bundle;
	bool many_periods;
	bool grouped_values; /* several values of one dimension */
} Reading;

extern void reading_add_token(Reading *reading, List *tokens, int at);
extern bool reading_leaves_open(Reading *reading, List *tokens);
extern List *choices_of_metrics(QuestionPlan *plan);
extern void plan_ask_period(QuestionPlan *plan);
extern void plan_ask_dimension(QuestionPlan *plan);
extern QuestionPlan *plan_question(const char *question, Jsonb *context);
extern Jsonb *plan_to_document(QuestionPlan *plan);
extern void plan_put_clarification(DocBuilder *b, QuestionPlan *plan);
extern void plan_put_period(DocBuilder *b, const char *key, QuestionPlan *plan);
extern void plan_put_filters(DocBuilder *b, const char *key, QuestionPlan *plan);
extern void plan_compile(QuestionPlan *plan);
extern void plan_ask_back(QuestionPlan *plan, double confidence, char *text,
						  List *choices);
extern const char *grain_name(Grain grain);
extern Grain grain_from_name(const char *name);
extern const char *metric_label(Metric *metric, bool korean);
extern const char *dimension_label(Dimension *dimension, bool korean);

/* --- guard (guard.c, guard_walk.c, allowed.c) ------------------------------- */

typedef struct Verdict
{
	bool ok;
	const char *layer;
	char *reason;
	char *hint;
	int sqlstate; /* of an error at run time */
} Verdict;

/* Whether the catalogue narrows what a statement may read. */
typedef enum GuardScope
{
	GUARD_CATALOG,
	GUARD_READER
} GuardScope;

/*
 * The statement analysed, checked and rewritten, ready to be planned; NULL with
 * the verdict where it is refused.  Runs inside guarded_do() only.
 */
extern Query *guard_analyse(const char *sql, GuardScope scope, Verdict *verdict);
extern bool guard_refuse(Verdict *verdict, const char *layer, char *reason, char *hint);
extern bool guard_walk(Query *query, Oid reader, List *relations, bool outer,
					   Verdict *verdict);
extern bool guard_call_is_bounded(Node *call, Oid function, Verdict *verdict);
extern void guard_add_tenant(Query *query);
extern bool function_is_allowed(Oid function);

/* --- guarded run (guarded_run.c) -------------------------------------------- */

typedef struct GuardedResult
{
	int column_count;
	char **names;
	Oid *types;
	List *rows; /* of Jsonb *, an array each */
	int64 bytes;
	bool truncated;
} GuardedResult;

/*
 * Judges and, with a result, runs a statement as the reader.  A refusal, a broken
 * statement and a run-time error are all the verdict's; raises on cancel only.
 */
extern void guarded_run(const char *sql, GuardScope scope, int max_rows,
						GuardedResult *result, Verdict *verdict);

/* Raises what a verdict says. */
extern void verdict_raise(const Verdict *verdict) __attribute__((noreturn));

/* --- answers (chart.c, ask.c, model.c) -------------------------------------- */

extern Jsonb *chart_for(QuestionPlan *plan, const GuardedResult *result,
						const char *title);
extern const char *plan_chart_type(QuestionPlan *plan);
extern bool model_plan(QuestionPlan *plan);
extern QuestionPlan *ask_plan(const char *question, Jsonb *context, double *plan_ms);
extern const char *plan_column_label(QuestionPlan *plan, const char *name);
extern Jsonb *ask_question(const char *question, Jsonb *context);
extern Jsonb *ask_plan_only(const char *question, Jsonb *context);

#endif /* FACTORY_BI_INT_H */
