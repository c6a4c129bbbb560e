/*
 * reading.c
 *		What each word of a question adds to its plan.
 */
#include "postgres.h"

#include "bi/bi_int.h"

static PlanFilter *
plan_filter(QuestionPlan *plan, Dimension *dimension)
{
	PlanFilter *filter;
	ListCell *cell;

	foreach (cell, plan->filters)
	{
		filter = lfirst(cell);
		if (filter->dimension == dimension)
			return filter;
	}
	filter = palloc0(sizeof(PlanFilter));
	filter->dimension = dimension;
	plan->filters = lappend(plan->filters, filter);
	return filter;
}

static void
read_value(Reading *reading, Word *word)
{
	PlanFilter *filter = plan_filter(reading->plan, word->item);
	ListCell *cell;

	foreach (cell, filter->values)
		if (strcmp(lfirst(cell), word->value) == 0)
			return;
	filter->values = lappend(filter->values, word->value);
	reading->grouped_values |= list_length(filter->values) > 1;
}

static bool
token_says(List *tokens, int at, Operation operation)
{
	Token *token;

	if (at < 0 || at >= list_length(tokens))
		return false;
	token = list_nth(tokens, at);
	return token->kind == WORD_OPERATION && token->word->code == operation;
}

static bool
token_is_value_of(List *tokens, int at, Dimension *dimension)
{
	Token *token;

	if (at < 0 || at >= list_length(tokens))
		return false;
	token = list_nth(tokens, at);
	return token->kind == WORD_VALUE && token->word->item == dimension;
}

/* "라인별", "by line", "전체 라인" group; "L01 라인" only repeats what L01 is. */
static void
read_dimension(Reading *reading, List *tokens, int at, Dimension *dimension)
{
	bool by = token_says(tokens, at + 1, OP_BY) || token_says(tokens, at - 1, OP_BY) ||
			  token_says(tokens, at - 1, OP_ALL);

	if (by)
		reading->plan->dimensions =
			list_append_unique_ptr(reading->plan->dimensions, dimension);
	else if (!token_is_value_of(tokens, at - 1, dimension) &&
			 !token_is_value_of(tokens, at + 1, dimension))
		reading->mentioned = list_append_unique_ptr(reading->mentioned, dimension);
}

static void
read_metric(Reading *reading, Metric *metric)
{
	reading->plan->metrics = list_append_unique_ptr(reading->plan->metrics, metric);
}

static void
read_operation(Reading *reading, int operation)
{
	static const struct
	{
		Operation operation;
		Grain grain;
	} grains[] = {{OP_HOURLY, GRAIN_HOUR},
				  {OP_DAILY, GRAIN_DAY},
				  {OP_WEEKLY, GRAIN_WEEK},
				  {OP_MONTHLY, GRAIN_MONTH}};

	reading->said[operation] = true;
	for (int i = 0; i < lengthof(grains); i++)
		if (grains[i].operation == operation)
			reading->grain = grains[i].grain;
}

/* A number counts as a limit beside "top" or before "개"; else it is unknown. */
static void
read_number(Reading *reading, List *tokens, int at, Token *token)
{
	reading->number_token = token;
	if (token_says(tokens, at - 1, OP_TOP) || token_says(tokens, at - 1, OP_BOTTOM) ||
		token_says(tokens, at + 1, OP_COUNT_UNIT))
		reading->number = token->number;
	else
		reading->unknown = lappend(reading->unknown, token);
}

static void
read_period(Reading *reading, Token *token)
{
	if (reading->plan->period.set)
		reading->many_periods = true;
	reading->plan->period = token->period;
}

void
reading_add_token(Reading *reading, List *tokens, int at)
{
	Token *token = list_nth(tokens, at);
	ListCell *cell;

	switch (token->kind)
	{
		case WORD_METRIC:
			read_metric(reading, token->word->item);
			break;
		case WORD_BUNDLE:
			reading->bundle = true;
			foreach (cell, ((Bundle *) token->word->item)->metrics)
				read_metric(reading, lfirst(cell));
			break;
		case WORD_DIMENSION:
			read_dimension(reading, tokens, at, token->word->item);
			break;
		case WORD_VALUE:
			read_value(reading, token->word);
			break;
		case WORD_AMBIGUOUS:
			reading->ambiguous = token->word->item;
			break;
		case WORD_OPERATION:
			read_operation(reading, token->word->code);
			break;
		case WORD_PERIOD:
			read_period(reading, token);
			break;
		case WORD_NUMBER:
			read_number(reading, tokens, at, token);
			break;
		default:
			reading->unknown = lappend(reading->unknown, token);
			break;
	}
}
