/*
 * survey.c
 *		What rules do to the rows of a query: how often each finding is so.
 *
 * The query runs read-only, as the caller, row by row through a cursor.  Every rule
 * that holds for a row is noted, whatever the hit policy is.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/errors.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "rules/analysis.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#define SURVEY_ROWS_AT_ONCE 100

typedef struct Pair
{
	int key[2];
	Finding *finding;
} Pair;

typedef struct Survey
{
	Decision *decision;
	HTAB *pairs; /* overlaps that were found, by their rules */
	int64 *hits; /* a rule: rows where it holds */
	int64 rows;
	int64 unmatched; /* rows where nothing holds, and nothing is undecided */
	int64 undecided; /* rows where nothing holds, but something is undecided */
	int64 unfit;     /* rows that are no input */
	Jsonb *first_unmatched;
	Jsonb *first_undecided;
	char *first_unfit;
	MemoryContext keep;
} Survey;

static Jsonb *
keep_values(Survey *survey)
{
	Jsonb *values = decision_values(survey->decision, true);
	Jsonb *copy = MemoryContextAlloc(survey->keep, VARSIZE(values));

	memcpy(copy, values, VARSIZE(values));
	return copy;
}

static void
count_pairs(Survey *survey, List *hits)
{
	for (int i = 0; i < list_length(hits); i++)
		for (int j = 0; j < i; j++)
		{
			int key[2] = {((Rule *) list_nth(hits, j))->index,
						  ((Rule *) list_nth(hits, i))->index};
			Pair *pair = hash_search(survey->pairs, key, HASH_FIND, NULL);

			if (pair != NULL)
				pair->finding->rows++;
		}
}

static void
survey_input(Survey *survey)
{
	Evaluation run;
	ListCell *cell;

	evaluation_start(&run, survey->decision, clock_now());
	evaluation_run_every(&run);
	foreach (cell, run.hits)
		survey->hits[((Rule *) lfirst(cell))->index]++;
	count_pairs(survey, run.hits);
	if (run.hits != NIL)
		return;
	if (run.undecided != NIL)
	{
		if (survey->undecided++ == 0)
			survey->first_undecided = keep_values(survey);
	}
	else if (survey->unmatched++ == 0)
		survey->first_unmatched = keep_values(survey);
}

/* The row itself, or, where it is one jsonb column, the document in it. */
static void
take_row(Decision *decision, HeapTuple row, TupleDesc columns)
{
	bool isnull;

	if (columns->natts == 1 && TupleDescAttr(columns, 0)->atttypid == JSONBOID)
	{
		Datum document = heap_getattr(row, 1, columns, &isnull);

		if (!isnull)
		{
			inputs_from_json(decision, DatumGetJsonbP(document));
			return;
		}
	}
	inputs_from_row(decision,
					DatumGetHeapTupleHeader(heap_copy_tuple_as_datum(row, columns)));
}

/* A row that is no input is counted: its error is raised before anything is begun. */
static void
survey_row(Survey *survey, HeapTuple row, TupleDesc columns)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool fits = true;

	survey->rows++;
	PG_TRY();
	{
		take_row(survey->decision, row, columns);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_FACTORY_INVALID_INPUT)
			PG_RE_THROW();
		MemoryContextSwitchTo(survey->keep);
		if (survey->unfit++ == 0)
			survey->first_unfit = CopyErrorData()->detail;
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		fits = false;
	}
	PG_END_TRY();
	if (fits)
		survey_input(survey);
}

static void
survey_query(Survey *survey, const char *query)
{
	MemoryContext row_memory =
		AllocSetContextCreate(CurrentMemoryContext, "pg_factory survey",
							  ALLOCSET_DEFAULT_SIZES);
	SPIPlanPtr plan;
	Portal portal;
	TupleDesc columns;

	SPI_connect();
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL || !SPI_is_cursor_plan(plan))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"query\" must be a query that returns rows"),
						errhint("Its columns are inputs by name, or it has one column of "
								"type jsonb.")));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	columns = BlessTupleDesc(CreateTupleDescCopy(portal->tupDesc));
	for (;;)
	{
		SPI_cursor_fetch(portal, true, SURVEY_ROWS_AT_ONCE);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext caller = MemoryContextSwitchTo(row_memory);

			CHECK_FOR_INTERRUPTS();
			survey_row(survey, SPI_tuptable->vals[i], columns);
			MemoryContextSwitchTo(caller);
			MemoryContextReset(row_memory);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
}

static void
survey_begin(Survey *survey, Decision *decision, List *findings)
{
	HASHCTL control = {.keysize = sizeof(int) * 2, .entrysize = sizeof(Pair)};
	ListCell *cell;

	memset(survey, 0, sizeof(*survey));
	control.hcxt = CurrentMemoryContext;
	survey->decision = decision;
	survey->keep = CurrentMemoryContext;
	survey->hits = palloc0(sizeof(int64) * Max(decision->rule_count, 1));
	survey->pairs = hash_create("pg_factory overlaps", 256, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	foreach (cell, findings)
	{
		Finding *finding = lfirst(cell);
		int key[2] = {finding->other, finding->rule};

		if (finding->kind != FINDING_OVERLAP)
			continue;
		finding->rows = 0;
		((Pair *) hash_search(survey->pairs, key, HASH_ENTER, NULL))->finding = finding;
	}
}

static List *
add_count(List *findings, const char *level, int rule, char *message, Jsonb *witness,
		  int64 rows)
{
	Finding *finding = palloc0(sizeof(Finding));

	finding->kind = FINDING_OTHER;
	finding->level = level;
	finding->rule = rule;
	finding->other = -1;
	finding->message = message;
	finding->witness = witness;
	finding->rows = rows;
	return lappend(findings, finding);
}

List *
decision_survey(Decision *decision, List *findings, const char *query)
{
	Survey survey;
	ListCell *cell;

	survey_begin(&survey, decision, findings);
	survey_query(&survey, query);
	foreach (cell, findings)
	{
		Finding *finding = lfirst(cell);

		if (finding->kind == FINDING_HIDDEN)
			finding->rows = survey.hits[finding->rule];
	}
	for (int i = 0; i < decision->rule_count; i++)
		findings = add_count(findings, survey.hits[i] ? "info" : "warning", i,
							 psprintf("rule \"%s\" matches %lld of %lld rows",
									  decision->rules[i].id, (long long) survey.hits[i],
									  (long long) survey.rows),
							 NULL, survey.hits[i]);
	if (survey.unmatched > 0)
		findings =
			add_count(findings, decision->otherwise ? "info" : "warning", -1,
					  psprintf("no rule matches %lld of %lld rows",
							   (long long) survey.unmatched, (long long) survey.rows),
					  survey.first_unmatched, survey.unmatched);
	if (survey.undecided > 0)
		findings =
			add_count(findings, "warning", -1,
					  psprintf("%lld of %lld rows are undecided",
							   (long long) survey.undecided, (long long) survey.rows),
					  survey.first_undecided, survey.undecided);
	if (survey.unfit > 0)
		findings = add_count(findings, "warning", -1,
							 psprintf("%lld of %lld rows do not fit the inputs, the "
									  "first: %s",
									  (long long) survey.unfit, (long long) survey.rows,
									  survey.first_unfit),
							 NULL, survey.unfit);
	return findings;
}
