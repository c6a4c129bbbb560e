/*
 * narrate.c
 *		An answer as one sentence, and as a file.
 *
 * The sentence says only what the rows say: the numbers themselves, the first and
 * the last of an order, the highest and lowest of a series.  No model writes it.
 */
#include "postgres.h"

#include <math.h>

#include "bi/bi_int.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#define NARRATED_PLACES 3

/* --- numbers and words ---------------------------------------------------------- */

/* 1234567.5 as 1,234,567.5 */
static char *
grouped_number(double number)
{
	char *plain = psprintf("%.2f", fabs(number));
	char *point = strchr(plain, '.');
	int whole = point - plain;
	StringInfoData text;

	initStringInfo(&text);
	if (number < 0)
		appendStringInfoChar(&text, '-');
	for (int i = 0; i < whole; i++)
		appendStringInfo(&text, "%s%c", i > 0 && (whole - i) % 3 == 0 ? "," : "",
						 plain[i]);
	if (strcmp(point, ".00") != 0)
	{
		appendStringInfoString(&text, point);
		if (text.data[text.len - 1] == '0')
			text.data[--text.len] = '\0';
	}
	return text.data;
}

static bool
is_percent(const Metric *metric)
{
	return metric->format && strcmp(metric->format, "percent") == 0;
}

static char *
metric_number(const Metric *metric, double number, bool korean)
{
	if (is_percent(metric))
		return psprintf("%.2f%%", number * 100);
	if (metric->unit && metric->unit[0])
		return psprintf("%s %s", grouped_number(number), metric->unit);
	return grouped_number(number);
}

/* The n-th column of a row as a number; false for null. */
static bool
row_number(Jsonb *row, int column, double *number)
{
	List *columns = doc_elements(row);
	JsonbValue *value;

	if (column >= list_length(columns))
		return false;
	value = list_nth(columns, column);
	if (value->type != jbvNumeric)
		return false;
	*number = doc_value_number(value);
	return true;
}

static char *
row_text(QuestionPlan *plan, Jsonb *row, int columns)
{
	List *values = doc_elements(row);
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < columns; i++)
	{
		char *value = doc_value_text(list_nth(values, i));

		appendStringInfo(&text, "%s%s", i ? " " : "",
						 value ? value : (plan->korean ? "(없음)" : "(none)"));
	}
	return text.data;
}

/* Does the word end in a consonant?  Latin and digits as they are read aloud. */
static bool
ends_in_consonant(const char *text)
{
	static const char *const read_with_consonant = "013678lmnrLMNR";
	int length = strlen(text);
	const unsigned char *last = (const unsigned char *) text + length - 3;

	if (length >= 3 && last[0] >= 0xEA && last[0] <= 0xED)
	{
		int code = (last[0] & 0x0F) << 12 | (last[1] & 0x3F) << 6 | (last[2] & 0x3F);

		return code >= 0xAC00 && (code - 0xAC00) % 28 != 0;
	}
	return length > 0 && strchr(read_with_consonant, text[length - 1]) != NULL;
}

static char *
with_topic(const char *word)
{
	return psprintf("%s%s", word, ends_in_consonant(word) ? "은" : "는");
}

/* --- who and when ------------------------------------------------------------------ */

static char *
period_words(QuestionPlan *plan, const PeriodSpan *period)
{
	char *from = period_date_text(period->from);
	char *last = period_date_text(period->until - 1);

	if (!period->set)
		return pstrdup(plan->korean ? "가장 최근" : "the latest");
	return strcmp(from, last) == 0 ? from : psprintf("%s ~ %s", from, last);
}

static char *
filter_words(QuestionPlan *plan)
{
	StringInfoData text;
	ListCell *cell, *value;

	initStringInfo(&text);
	foreach (cell, plan->filters)
	{
		PlanFilter *filter = lfirst(cell);

		foreach (value, filter->values)
			appendStringInfo(&text, "%s%s",
							 value == list_head(filter->values) ? " " : ", ",
							 (char *) lfirst(value));
		if (filter->excluded)
			appendStringInfoString(&text, plan->korean ? " 제외" : " excluded");
	}
	return text.data;
}

static char *
metric_words(QuestionPlan *plan, Metric *metric)
{
	return pstrdup(plan_column_label(plan, metric->name));
}

/* --- sentences ----------------------------------------------------------------------- */

static void
append_versus(StringInfo text, QuestionPlan *plan, const PeriodSpan *before,
			  Metric *metric, double now, double then)
{
	double change = now - then;
	char *amount = is_percent(metric)
					   ? psprintf("%.2f%%p", fabs(change) * 100)
					   : (then != 0 ? psprintf("%.1f%%", fabs(change / then) * 100)
									: metric_number(metric, fabs(change), plan->korean));

	if (plan->korean)
		appendStringInfo(text, " %s의 %s%s %s.", period_words(plan, before),
						 metric_number(metric, then, true),
						 change == 0 ? "과(와)" : "보다",
						 change == 0 ? "같습니다"
									 : psprintf("%s %s", amount,
												change > 0 ? "높습니다" : "낮습니다"));
	else
		appendStringInfo(text, " %s %s in %s.",
						 change == 0 ? "The same as"
									 : psprintf("%s %s than", amount,
												change > 0 ? "more" : "less"),
						 metric_number(metric, then, false), period_words(plan, before));
}

/* One row: each metric's number, and against the one before. */
static void
narrate_numbers(StringInfo text, QuestionPlan *plan, Jsonb *row,
				const QuestionPlan *earlier, Jsonb *previous)
{
	int width = plan->base.set ? 4 : 1;
	int column = 0;
	ListCell *cell;

	foreach (cell, plan->metrics)
	{
		Metric *metric = lfirst(cell);
		double now, then;
		bool known = row_number(row, column, &now);

		if (column > 0)
			appendStringInfoChar(text, ' ');
		if (!known)
			appendStringInfo(text,
							 plan->korean ? "%s%s %s 값이 없습니다."
										  : "%s%s: %s has no value.",
							 period_words(plan, &plan->period), filter_words(plan),
							 metric_words(plan, metric));
		else if (plan->korean)
			appendStringInfo(text, "%s%s %s %s입니다.", period_words(plan, &plan->period),
							 filter_words(plan), with_topic(metric_words(plan, metric)),
							 metric_number(metric, now, true));
		else
			appendStringInfo(text, "%s%s: %s is %s.", period_words(plan, &plan->period),
							 filter_words(plan), metric_words(plan, metric),
							 metric_number(metric, now, false));
		if (known && plan->base.set && row_number(row, column + 1, &then))
			append_versus(text, plan, &plan->base, metric, now, then);
		else if (known && previous && row_number(previous, column, &then))
			append_versus(text, plan, &earlier->period, metric, now, then);
		column += width;
	}
}

/* Several rows: the first metric's highest and lowest, or the places asked for. */
static void
narrate_rows(StringInfo text, QuestionPlan *plan, const GuardedResult *result, int groups)
{
	Metric *metric = plan->order_by ? plan->order_by : linitial(plan->metrics);
	int column = groups;
	Jsonb *high = NULL, *low = NULL;
	double highest = 0, lowest = 0, number;
	ListCell *cell;

	while (column < result->column_count &&
		   strcmp(result->names[column], metric->name) != 0)
		column++;
	foreach (cell, result->rows)
	{
		if (!row_number(lfirst(cell), column, &number))
			continue;
		if (high == NULL || number > highest)
		{
			high = lfirst(cell);
			highest = number;
		}
		if (low == NULL || number < lowest)
		{
			low = lfirst(cell);
			lowest = number;
		}
	}
	if (high == NULL)
		appendStringInfoString(text,
							   plan->korean ? "값이 없습니다." : "There is no value.");
	else if (plan->korean)
		appendStringInfo(text,
						 "%s%s %s %d개 중 %s(%s)에서 가장 높고 %s(%s)에서 가장 낮습니다.",
						 period_words(plan, &plan->period), filter_words(plan),
						 with_topic(metric_words(plan, metric)),
						 list_length(result->rows), row_text(plan, high, groups),
						 metric_number(metric, highest, true),
						 row_text(plan, low, groups),
						 metric_number(metric, lowest, true));
	else
		appendStringInfo(
			text,
			"%s%s: %s is highest for %s with %s and lowest for %s with %s, of "
			"%d rows.",
			period_words(plan, &plan->period), filter_words(plan),
			metric_words(plan, metric), row_text(plan, high, groups),
			metric_number(metric, highest, false), row_text(plan, low, groups),
			metric_number(metric, lowest, false), list_length(result->rows));
}

static void
narrate_places(StringInfo text, QuestionPlan *plan, const GuardedResult *result,
			   int groups)
{
	int column = groups;
	int said = 0;
	ListCell *cell;

	while (column < result->column_count &&
		   strcmp(result->names[column], plan->order_by->name) != 0)
		column++;
	appendStringInfo(text, plan->korean ? "%s%s %s %s 순:" : "%s%s, %s %s:",
					 period_words(plan, &plan->period), filter_words(plan),
					 metric_words(plan, plan->order_by),
					 plan->korean ? (plan->ascending ? "낮은" : "높은")
								  : (plan->ascending ? "ascending" : "descending"));
	foreach (cell, result->rows)
	{
		double number;

		if (!row_number(lfirst(cell), column, &number) || said == NARRATED_PLACES)
			break;
		appendStringInfo(text, "%s %s %s", said ? "," : "",
						 row_text(plan, lfirst(cell), groups),
						 metric_number(plan->order_by, number, plan->korean));
		said++;
	}
	appendStringInfoChar(text, '.');
}

/* NULL where there is nothing to say in a sentence: SQL that no plan describes. */
char *
narrate_answer(QuestionPlan *plan, const GuardedResult *result,
			   const QuestionPlan *earlier, Jsonb *previous)
{
	int groups = list_length(plan->dimensions) +
				 (plan->grain != GRAIN_NONE || plan->part != PART_NONE);
	StringInfoData text;

	if (plan->metrics == NIL)
		return NULL;
	initStringInfo(&text);
	if (result->rows == NIL)
		appendStringInfoString(&text, plan->korean ? "이 조건에 맞는 데이터가 없습니다."
												   : "There is no data for this.");
	else if (groups == 0)
		narrate_numbers(&text, plan, linitial(result->rows), earlier, previous);
	else if (plan->order_by && plan->rank_within == NIL && !plan->rank_in_time)
		narrate_places(&text, plan, result, groups);
	else
		narrate_rows(&text, plan, result, groups);
	if (result->truncated)
		appendStringInfoString(&text, plan->korean ? " (잘린 결과의 일부입니다.)"
												   : " (Of a result that was cut off.)");
	return text.data;
}

/* --- CSV ----------------------------------------------------------------------------- */

/*
 * Quoted as RFC 4180 has it.  A text that a spreadsheet would take for a formula
 * gets an apostrophe before it: data from a plant must not run on a desk.
 */
static void
append_csv(StringInfo csv, const char *text, bool is_text)
{
	bool formula = is_text && text[0] && strchr("=+-@\t\r", text[0]) != NULL;

	if (!formula && strpbrk(text, ",\"\r\n") == NULL)
	{
		appendStringInfoString(csv, text);
		return;
	}
	appendStringInfoChar(csv, '"');
	if (formula)
		appendStringInfoChar(csv, '\'');
	for (const char *c = text; *c; c++)
	{
		if (*c == '"')
			appendStringInfoChar(csv, '"');
		appendStringInfoChar(csv, *c);
	}
	appendStringInfoChar(csv, '"');
}

/* A line of labels, then the rows; numbers as they are, lines end with CR LF. */
char *
csv_of_result(QuestionPlan *plan, const GuardedResult *result)
{
	StringInfoData csv;
	ListCell *row, *cell;

	initStringInfo(&csv);
	for (int i = 0; i < result->column_count; i++)
	{
		appendStringInfoString(&csv, i ? "," : "");
		append_csv(&csv, plan_column_label(plan, result->names[i]), true);
	}
	appendStringInfoString(&csv, "\r\n");
	foreach (row, result->rows)
	{
		List *columns = doc_elements(lfirst(row));

		foreach (cell, columns)
		{
			JsonbValue *value = lfirst(cell);
			char *text = doc_value_text(value);

			appendStringInfoString(&csv, cell == list_head(columns) ? "" : ",");
			if (text)
				append_csv(&csv, text, value->type == jbvString);
		}
		appendStringInfoString(&csv, "\r\n");
	}
	return csv.data;
}
