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
extern int bi_cache_ttl_ms;
extern int bi_memory_kb;

/* --- catalogue (catalog.c, catalog_build.c, catalog_words.c, catalog_check.c) -- */

typedef enum Grain
{
	GRAIN_NONE,
	GRAIN_HOUR,
	GRAIN_DAY,
	GRAIN_WEEK,
	GRAIN_MONTH,
	GRAIN_QUARTER,
	GRAIN_YEAR
} Grain;

/* What recurs: a total for each weekday, for each hour of the day. */
typedef enum TimePart
{
	PART_NONE,
	PART_WEEKDAY, /* 1 Monday to 7 Sunday */
	PART_HOUR     /* 0 to 23 */
} TimePart;

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
	List *sources;  /* of MetricSource * */
	List *detail;   /* of char *: dimensions of a drill-down */
	List *not_over; /* of char *: dimensions over which it does not add up */
} Metric;

/* Another relation that says more about a row: at most one of its rows for each. */
typedef struct CatalogJoin
{
	char *name;
	char *relation;
	Oid relid;
	char *on;  /* the dataset's column, quoted */
	char *key; /* the relation's own, quoted */
	bool has_tenant;
} CatalogJoin;

typedef struct Dimension
{
	char *name;
	char *label[2];
	char *sql;            /* column or expression */
	CatalogJoin *join;    /* of which relation; NULL: of the dataset itself */
	char *values_query;   /* NULL: none */
	char *default_metric; /* what "by defect type" alone asks for */
	char *parent;         /* the dimension one level coarser; NULL: none */
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

typedef enum PeriodUnit
{
	UNIT_NONE,
	UNIT_DAY,
	UNIT_WEEK,
	UNIT_MONTH,
	UNIT_QUARTER,
	UNIT_HALF,
	UNIT_YEAR
} PeriodUnit;

typedef struct PeriodSpan
{
	bool set;
	DateADT from; /* half-open, in the plant's zone */
	DateADT until;
	PeriodUnit unit; /* what was named; UNIT_NONE: several, or a range */
	char *text;
	bool assumed;
	bool range;      /* more than one day was named */
	bool year_named; /* of a date: with its year */
	bool weekday;    /* by the name of its weekday */
	bool open;       /* one end was left open: to be asked about */
} PeriodSpan;

typedef struct VerifiedQuestion
{
	char *question;
	char *sql;         /* runs as it stands, or */
	char *means;       /* another wording that the planner understands */
	PeriodSpan period; /* what its parameter "period" stands for */
} VerifiedQuestion;

/* One thing that check_catalog() has to say. */
typedef struct CatalogFinding
{
	const char *level; /* error, warning */
	char *path;
	char *message;
} CatalogFinding;

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
	WORD_WEEKDAY,  /* that names no day: "Mondays" */
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

#define WORD_BUCKETS 1024

typedef struct Catalog
{
	MemoryContext context;
	char *tenant;
	char *zone;           /* NULL: the plant's */
	char *default_period; /* code such as "this_month"; NULL: ask back */
	int max_rows;
	List *domains; /* of char * */
	List *datasets;
	List *joins;
	List *metrics;
	List *dimensions;
	List *bundles;
	List *verified;
	List *widgets;             /* of Jsonb * */
	List *relations;           /* OIDs free SQL may name */
	List *words[WORD_BUCKETS]; /* of Word *, by word_bucket() of the key */
	TimestampTz values_read;
	Oid user;        /* who sees it so; InvalidOid: all of it */
	bool restricted; /* parts of it are for some roles only */
} Catalog;

/* The tenant's catalogue, kept until it changes; NULL where none is loaded. */
extern Catalog *catalog_get(void);

/* Looks for values that were added since they were last read; true: read again. */
extern bool catalog_read_values(Catalog *catalog, bool forced);

/* With a list of VerifiedQuestion *, as that user sees it (InvalidOid: all of it). */
extern Catalog *catalog_build(List *documents, const char *tenant, List *verified,
							  Oid user);
extern void catalog_add_word(Catalog *catalog, Word *word);
extern void catalog_add_names(Catalog *catalog, const char *name, char **label,
							  List *synonyms, WordKind kind, void *item);
extern void dimension_add_value(Catalog *catalog, Dimension *dimension, char *value);
extern void dimension_add_alias(Catalog *catalog, Dimension *dimension, char *alias,
								char *value);
extern List *catalog_findings(Jsonb *document);
extern void catalog_check_document(Jsonb *document);
extern void catalog_check_sql(Catalog *catalog, Jsonb *document);
extern Metric *catalog_metric(Catalog *catalog, const char *name);
extern Dimension *catalog_dimension(Catalog *catalog, const char *name);
extern Dataset *catalog_dataset(Catalog *catalog, const char *name);
extern Jsonb *catalog_describe(Catalog *catalog, const char *language);
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

/* What a number was said to count. */
typedef enum NumberUnit
{
	NUMBER_PLAIN,
	NUMBER_PERCENT,
	NUMBER_COUNT,
	NUMBER_RANK,
	NUMBER_SECONDS,
	NUMBER_MINUTES,
	NUMBER_HOURS,
	NUMBER_DAYS,
	NUMBER_MONEY
} NumberUnit;

typedef struct Token
{
	WordKind kind;
	Word *word;
	Word *rival;   /* another thing of that name; NULL: none */
	bool doubtful; /* "주간": a shift's name, or "weekly" */
	int start;
	int end;
	double number;
	NumberUnit unit;
	int number_end;
	int weekdays; /* bits from 1, Monday, on */
	PeriodSpan period;
	char *text; /* as written */
	bool used;  /* a number that a limit or a threshold took */
} Token;

extern Line *line_read(const char *question);
extern char *line_text(Line *line, int start, int end);
extern Word *word_make(const char *text, WordKind kind, void *item, char *value,
					   int code);
extern int word_match(const Line *line, int at, const Word *word);
extern int word_bucket(const char *text);
extern List *words_builtin(void);
extern List *tokens_read(Line *line, Catalog *catalog, DateADT today);

/* --- verified questions (verified.c) ---------------------------------------- */

extern List *verified_read(MemoryContext context);
extern void verified_store(char *question, char *sql, char *means);
extern char *verified_sample(const char *text);

/* The verified question that this is, its parameters filled in; NULL for none. */
extern VerifiedQuestion *verified_find(Catalog *catalog, Line *line, DateADT today);

/* --- periods (period.c) ---------------------------------------------------- */

/* The length of the period phrase at that place, 0 for none. */
extern int period_match(const Line *line, int at, DateADT today, PeriodSpan *period);
extern bool period_from_code(const char *code, DateADT today, PeriodSpan *period);
extern char *period_date_text(DateADT date);
extern bool period_date(int year, int month, int day, DateADT *date);
extern DateADT period_today(const char *zone);
extern int weekdays_match(const Line *line, int at, int *days);
extern bool period_before(const PeriodSpan *period, PeriodUnit unit, PeriodSpan *earlier);
extern bool period_is_month_start(DateADT date);
extern int period_months_between(DateADT from, DateADT until);

/* --- plan (planner.c, plan_*.c, dataset.c) ----------------------------------- */

typedef enum Operation
{
	OP_BY = 1,
	OP_TREND,
	OP_COMPARE,
	OP_BASELINE, /* "than", "대비": the period before it is what is compared with */
	OP_AVERAGE,
	OP_AVERAGE_DAILY,
	OP_TOP,
	OP_BOTTOM,
	OP_BEST,
	OP_WORST,
	OP_HIGH,
	OP_LOW,
	OP_SUPERLATIVE, /* "the most": one, where it stands apart from "high" */
	OP_ALL,
	OP_NOW,
	OP_DETAIL,
	OP_CHART,
	OP_TABLE,
	OP_EXPORT,
	OP_SHARE,
	OP_HOURLY,
	OP_HOUR_OF_DAY,
	OP_DAILY,
	OP_DAYS, /* days as what is ranked or picked: "which day" */
	OP_WEEKLY,
	OP_WEEK_OR_DAY_SHIFT, /* "주간" is both */
	OP_MONTHLY,
	OP_QUARTERLY,
	OP_YEARLY,
	OP_WEEKDAYS,
	OP_EXCEPT,
	OP_AT_LEAST,
	OP_MORE,
	OP_AT_MOST,
	OP_LESS,
	OP_COUNT_UNIT, /* the "개" of "상위 3개" */
	OP_COUNTED,    /* "수량", "count": what is asked for is a number of things */
	OP_VERSUS_DAY,
	OP_VERSUS_WEEK,
	OP_VERSUS_MONTH,
	OP_VERSUS_QUARTER,
	OP_VERSUS_YEAR,
	OP_VERSUS_PREVIOUS,
	OP_FOLLOW_UP,
	OP_WHY,
	OP_ACTION,
	OP_END
} Operation;

typedef struct PlanFilter
{
	Dimension *dimension;
	List *values; /* of char * */
	bool excluded;
} PlanFilter;

/* A threshold: only groups whose number holds. */
typedef struct PlanCondition
{
	Metric *metric;
	const char *operator;
	char *number; /* SQL literal, in the metric's own unit */
	char *text;   /* as people say it: "3 %" */
} PlanCondition;

/* 0: not known. */
typedef struct Freshness
{
	TimestampTz etl_done_at;
	TimestampTz refreshed_at;
	TimestampTz next_due;
	bool overdue; /* a refresh is due and has not run */
} Freshness;

typedef struct QuestionPlan
{
	const char *question;
	bool korean;
	Catalog *catalog;
	const char *intent;
	List *metrics;    /* of Metric * */
	List *dimensions; /* of Dimension *, grouped by */
	List *filters;    /* of PlanFilter * */
	List *conditions; /* of PlanCondition * */
	int weekdays;     /* only these; bits from 1, Monday, on; 0: all */
	PeriodSpan period;
	PeriodSpan base; /* what the period is compared with */
	Grain grain;     /* GRAIN_NONE: one total */
	TimePart part;
	bool average_daily;
	bool share;
	PlanFilter *share_of; /* whose part of the whole; the filter is applied last */
	Metric *order_by;     /* NULL: by time, else the first metric, falling */
	bool ascending;
	int limit;         /* 0: none named */
	List *rank_within; /* of Dimension *: the limit holds for each of these */
	bool rank_in_time; /* ... and for each stretch of the grain */
	bool exports;      /* asked for as a file */
	bool follows;      /* takes what it does not say from the last answer */
	Dataset *dataset;
	const char *chart;
	double confidence;
	const char *source; /* catalog, verified, model */
	char *sql;
	char *join_check;    /* SQL that finds what the joins lose or double */
	char *clarification; /* NULL: the plan stands */
	List *choices;       /* of char * */
	List *warnings;      /* of char * */
	char *degraded;      /* why the model that was wanted gave no answer */
	bool skip_cache;
	bool narrates;
	Freshness freshness;       /* of the dataset that is read */
	struct QuestionPlan *next; /* a second answer to the same question */
} QuestionPlan;

/* What the words of one question said, before it is judged as a whole. */
typedef struct Reading
{
	QuestionPlan *plan;
	Line *line;
	List *tokens;
	bool said[OP_END]; /* operations named */
	Grain grain;
	int limit;       /* a number beside a ranking; 0 none */
	List *unknown;   /* of Token * */
	Token *doubtful; /* "주간", where both readings are possible */
	Token *rivalled; /* a word that names two things */
	AmbiguousWord *ambiguous;
	List *mentioned;   /* of Dimension *: named, but not "by" */
	List *periods;     /* of Token * */
	Token *baseline;   /* the period that is compared with */
	PeriodUnit versus; /* how far back that is, where no period was named */
	bool versus_said;
	Metric *order_by; /* named beside the ranking */
	int ranked_at;    /* the token that ranks; -1 none */
	int grouped_at;   /* the last token that says "by"; -1 none */
	int grain_at;
	int group_words; /* how often "by" was said */
	bool bundle;
	char *wrong; /* a contradiction, to be said back */
} Reading;

extern void reading_add_token(Reading *reading, int at);
extern bool reading_leaves_open(Reading *reading);
extern void reading_take_conditions(Reading *reading);
extern bool reading_is_fragment(Reading *reading);
extern void plan_inherit(Reading *reading, Jsonb *context);
extern const char *grain_column(Grain grain);
extern const char *period_unit_name(PeriodUnit unit);
extern bool period_from_document(Jsonb *doc, PeriodSpan *period);
extern List *choices_of_metrics(QuestionPlan *plan);
extern void plan_ask_period(QuestionPlan *plan);
extern void plan_ask_dimension(QuestionPlan *plan);
extern void plan_ask_weekday(QuestionPlan *plan);
extern void plan_ask_rank(QuestionPlan *plan);
extern void plan_ask_average(QuestionPlan *plan);
extern void plan_ask_share(QuestionPlan *plan, Dimension *dimension);
extern void plan_ask_apart(QuestionPlan *plan);
extern void plan_ask_split(QuestionPlan *plan, Metric *metric, Dimension *dimension);

/* Whether a metric of the plan adds up that way. */
extern bool plan_any_metric(QuestionPlan *plan, const char *additivity);
extern void plan_settle_period(Reading *reading, DateADT today);
extern void plan_settle_order(Reading *reading);
extern void plan_settle_shape(Reading *reading);
extern QuestionPlan *plan_question(const char *question, Jsonb *context);
extern MetricSource *dataset_metric(Metric *metric, Dataset *dataset);
extern bool dataset_choose(QuestionPlan *plan);
extern bool plan_has_time(QuestionPlan *plan);
extern const char *plan_time_name(QuestionPlan *plan);
extern Jsonb *plan_to_document(QuestionPlan *plan);
extern void plan_put_clarification(DocBuilder *b, QuestionPlan *plan);
extern void plan_put_period(DocBuilder *b, const char *key, QuestionPlan *plan);
extern void plan_put_filters(DocBuilder *b, const char *key, QuestionPlan *plan);
extern void plan_ask_back(QuestionPlan *plan, double confidence, char *text,
						  List *choices);
extern const char *grain_name(Grain grain);
extern Grain grain_from_name(const char *name);
extern const char *metric_label(Metric *metric, bool korean);
extern const char *dimension_label(Dimension *dimension, bool korean);

/* --- its SQL (compile.c, compile_rows.c) ------------------------------------- */

extern void plan_compile(QuestionPlan *plan);
extern void plan_compile_join_check(QuestionPlan *plan);

/* FROM and WHERE: the rows of that period that the plan is about. */
extern void plan_append_rows(StringInfo sql, QuestionPlan *plan,
							 const PeriodSpan *period);
extern char *plan_time_expression(QuestionPlan *plan);
extern char *plan_local_day(QuestionPlan *plan);
extern const char *dimension_column(Dimension *dimension);
extern char *filter_condition(const char *column, PlanFilter *filter);

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
 * the verdict where it is refused.  Of relations only these, where there are any.
 */
extern Query *guard_analyse(const char *sql, List *relations, Verdict *verdict);
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
	bool from_cache;
} GuardedResult;

/*
 * Judges and, with a result, runs a statement as the reader.  A refusal, a broken
 * statement and a run-time error are all the verdict's; raises on cancel only.
 */
extern void guarded_run(const char *sql, GuardScope scope, int max_rows,
						GuardedResult *result, Verdict *verdict);

/* --- age of the data (freshness.c) ------------------------------------------- */

extern void freshness_read(const Dataset *dataset, Freshness *freshness);
extern void freshness_put(DocBuilder *b, const char *key, const Dataset *dataset,
						  const Freshness *freshness);
extern void freshness_report(const char *dataset);
extern void guarded_run_cached(const char *sql, GuardScope scope, int max_rows,
							   const Dataset *dataset, const Freshness *freshness,
							   bool skip, GuardedResult *result, Verdict *verdict);

/* Raises what a verdict says. */
extern void verdict_raise(const Verdict *verdict) __attribute__((noreturn));

/* --- answers (chart.c, ask.c, model.c) -------------------------------------- */

extern Jsonb *chart_for(QuestionPlan *plan, const GuardedResult *result,
						const char *title);
extern const char *plan_chart_type(QuestionPlan *plan);
extern bool model_plan(QuestionPlan *plan);
extern QuestionPlan *ask_plan(const char *question, Jsonb *context, double *plan_ms);
extern const char *plan_column_label(QuestionPlan *plan, const char *name);
extern Jsonb *ask_question(const char *question, Jsonb *context, bool narrates,
						   bool skip_cache);
extern char *ask_csv(const char *question, Jsonb *context);
extern void audit_statement(const char *sql, const char *source, int rows);
extern char *narrate_answer(QuestionPlan *plan, const GuardedResult *result,
							const QuestionPlan *earlier, Jsonb *previous);
extern char *csv_of_result(QuestionPlan *plan, const GuardedResult *result);
extern Jsonb *ask_plan_only(const char *question, Jsonb *context);

#endif /* FACTORY_BI_INT_H */
