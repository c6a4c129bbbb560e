/*
 * reading.c
 *		What each word of a question adds to its plan.
 *
 * Words are read one by one, with an eye on their neighbours; what only the whole
 * question can tell (which number is a threshold, what "주간" means) is settled
 * after the last word.
 */
#include "postgres.h"

#include "bi/bi_int.h"

/* --- neighbours --------------------------------------------------------------- */

static Token *
token_number(Reading *reading, int at)
{
	if (at < 0 || at >= list_length(reading->tokens))
		return NULL;
	return list_nth(reading->tokens, at);
}

static bool
token_says(Reading *reading, int at, Operation operation)
{
	Token *token = token_number(reading, at);

	return token && token->kind == WORD_OPERATION && token->word->code == operation;
}

/* Korean puts such words behind what they belong to, English before it. */
static bool
token_is_korean(Token *token)
{
	return (unsigned char) token->text[0] >= 0x80;
}

static bool
says_behind(Reading *reading, int at, Operation operation)
{
	return token_says(reading, at + 1, operation) &&
		   token_is_korean(token_number(reading, at + 1));
}

static bool
says_before(Reading *reading, int at, Operation operation)
{
	return token_says(reading, at - 1, operation) &&
		   !token_is_korean(token_number(reading, at - 1));
}

static bool
token_is_value_of(Reading *reading, int at, Dimension *dimension)
{
	Token *token = token_number(reading, at);

	return token && token->kind == WORD_VALUE && token->word->item == dimension;
}

static bool
token_ranks(Reading *reading, int at)
{
	static const Operation rankings[] = {OP_TOP,   OP_BOTTOM, OP_BEST,
										 OP_WORST, OP_HIGH,   OP_LOW};

	for (int i = 0; i < lengthof(rankings); i++)
		if (token_says(reading, at, rankings[i]))
			return true;
	return false;
}

/* Does "except" govern that token, perhaps across others of its kind? */
static bool
is_excepted(Reading *reading, int at)
{
	Token *token = token_number(reading, at);
	Token *other;
	int i;

	for (i = at + 1; (other = token_number(reading, i)) != NULL; i++)
		if (!(other->kind == token->kind &&
			  (!token->word || token->word->item == other->word->item)) &&
			!(other->kind == WORD_DIMENSION && token->word &&
			  token->word->item == other->word->item))
			break;
	if (says_behind(reading, i - 1, OP_EXCEPT))
		return true;
	for (i = at - 1; (other = token_number(reading, i)) != NULL; i--)
		if (!(other->kind == token->kind &&
			  (!token->word || token->word->item == other->word->item)))
			break;
	return says_before(reading, i + 1, OP_EXCEPT);
}

static bool
any_excepted(Reading *reading)
{
	for (int i = 0; i < list_length(reading->tokens); i++)
	{
		Token *token = token_number(reading, i);

		if ((token->kind == WORD_VALUE || token->kind == WORD_WEEKDAY) &&
			is_excepted(reading, i))
			return true;
	}
	return false;
}

/* --- words -------------------------------------------------------------------- */

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
read_value(Reading *reading, int at, Word *word)
{
	PlanFilter *filter = plan_filter(reading->plan, word->item);
	bool excluded = is_excepted(reading, at);
	ListCell *cell;

	if (filter->values != NIL && filter->excluded != excluded)
		reading->wrong = "both with and without values of one dimension";
	filter->excluded = excluded;
	foreach (cell, filter->values)
		if (strcmp(lfirst(cell), word->value) == 0)
			return;
	filter->values = lappend(filter->values, word->value);
}

/* "라인별", "by line"; also the first of "라인과 제품별", the last of "by line and product". */
static bool
is_grouped_by(Reading *reading, int at)
{
	Token *other;
	int i;

	for (i = at; (other = token_number(reading, i)) && other->kind == WORD_DIMENSION; i++)
		if (says_behind(reading, i, OP_BY))
			return true;
	for (i = at; (other = token_number(reading, i)) && other->kind == WORD_DIMENSION; i--)
		if (says_before(reading, i, OP_BY))
			return true;
	return false;
}

/* "조립라인": one noun made of a value and what it is a kind of. */
static bool
is_part_of_noun(Reading *reading, int at)
{
	Token *before = token_number(reading, at - 1);
	Token *token = token_number(reading, at);

	return before && before->kind == WORD_VALUE && token_is_korean(token) &&
		   before->end == token->start && reading->line->gap[token->start] == GAP_NONE;
}

/* "라인별", "by line", "전체 라인" group; "L01 라인" only repeats what L01 is. */
static void
read_dimension(Reading *reading, int at, Dimension *dimension)
{
	if (is_grouped_by(reading, at) || token_says(reading, at - 1, OP_ALL))
	{
		reading->plan->dimensions =
			list_append_unique_ptr(reading->plan->dimensions, dimension);
		reading->grouped_at = at;
	}
	else if (!token_is_value_of(reading, at - 1, dimension) &&
			 !token_is_value_of(reading, at + 1, dimension) &&
			 !is_part_of_noun(reading, at))
		reading->mentioned = list_append_unique_ptr(reading->mentioned, dimension);
}

static void
read_metric(Reading *reading, int at, Metric *metric)
{
	/* "top 3 lines by defect rate", "불량률 기준 상위 3개", "불량률 높은 순". */
	if (says_before(reading, at, OP_BY) || says_behind(reading, at, OP_BY) ||
		token_ranks(reading, at + 1) ||
		(token_ranks(reading, at - 1) && reading->order_by == NULL))
		reading->order_by = metric;
	reading->plan->metrics = list_append_unique_ptr(reading->plan->metrics, metric);
}

static void
read_period(Reading *reading, int at, Token *token)
{
	if (says_behind(reading, at, OP_BASELINE) || says_before(reading, at, OP_BASELINE))
	{
		if (reading->baseline)
			reading->wrong = "two periods to compare with";
		reading->baseline = token;
		return;
	}
	reading->periods = lappend(reading->periods, token);
}

static const struct
{
	Operation operation;
	Grain grain;
} said_grains[] = {{OP_HOURLY, GRAIN_HOUR},
				   {OP_DAILY, GRAIN_DAY},
				   {OP_DAYS, GRAIN_DAY},
				   {OP_WEEKLY, GRAIN_WEEK},
				   {OP_WEEK_OR_DAY_SHIFT, GRAIN_WEEK},
				   {OP_MONTHLY, GRAIN_MONTH},
				   {OP_QUARTERLY, GRAIN_QUARTER},
				   {OP_YEARLY, GRAIN_YEAR}};

static const struct
{
	Operation operation;
	PeriodUnit unit;
} said_versus[] = {{OP_VERSUS_DAY, UNIT_DAY},     {OP_VERSUS_WEEK, UNIT_WEEK},
				   {OP_VERSUS_MONTH, UNIT_MONTH}, {OP_VERSUS_QUARTER, UNIT_QUARTER},
				   {OP_VERSUS_YEAR, UNIT_YEAR},   {OP_VERSUS_PREVIOUS, UNIT_NONE}};

static void
read_operation(Reading *reading, int at, int operation)
{
	reading->said[operation] = true;
	reading->group_words += operation == OP_BY;
	if (token_ranks(reading, at))
		reading->ranked_at = at;
	for (int i = 0; i < lengthof(said_grains); i++)
		if (said_grains[i].operation == operation)
		{
			if (reading->grain != GRAIN_NONE && reading->grain != said_grains[i].grain)
				reading->wrong = "two granularities";
			reading->grain = said_grains[i].grain;
			reading->grain_at = at;
		}
	for (int i = 0; i < lengthof(said_versus); i++)
		if (said_versus[i].operation == operation)
		{
			reading->versus = said_versus[i].unit;
			reading->versus_said = true;
		}
}

static void
read_weekdays(Reading *reading, int at, Token *token)
{
	int days = token->weekdays;

	if (is_excepted(reading, at))
		days = ~days & 0xFE;
	reading->plan->weekdays |= days;
}

/* "top 3", "3 best", "상위 3개", "1위": what a number beside a ranking says. */
static void
read_number(Reading *reading, int at, Token *token)
{
	bool whole = token->number == (int) token->number && token->number >= 1;

	if (!whole || token->unit == NUMBER_PERCENT || reading->limit > 0)
		return;
	if (token_ranks(reading, at - 1) ||
		(token_ranks(reading, at + 1) && token->unit <= NUMBER_COUNT))
	{
		reading->limit = (int) token->number;
		token->used = true;
	}
	else if (token->unit == NUMBER_RANK && token->number == 1)
	{
		if (reading->ranked_at < 0)
			reading->ranked_at = at;
		reading->said[OP_TOP] |= reading->ranked_at == at;
		reading->limit = 1;
		token->used = true;
	}
}

void
reading_add_token(Reading *reading, int at)
{
	Token *token = list_nth(reading->tokens, at);
	ListCell *cell;

	if (token->rival && reading->rivalled == NULL)
		reading->rivalled = token;
	switch (token->kind)
	{
		case WORD_METRIC:
			read_metric(reading, at, token->word->item);
			break;
		case WORD_BUNDLE:
			reading->bundle = true;
			foreach (cell, ((Bundle *) token->word->item)->metrics)
				reading->plan->metrics =
					list_append_unique_ptr(reading->plan->metrics, lfirst(cell));
			break;
		case WORD_DIMENSION:
			read_dimension(reading, at, token->word->item);
			break;
		case WORD_VALUE:
			/* Read when all words are known. */
			if (!token->doubtful)
				read_value(reading, at, token->word);
			break;
		case WORD_AMBIGUOUS:
			reading->ambiguous = token->word->item;
			break;
		case WORD_OPERATION:
			read_operation(reading, at, token->word->code);
			break;
		case WORD_PERIOD:
			read_period(reading, at, token);
			break;
		case WORD_WEEKDAY:
			read_weekdays(reading, at, token);
			break;
		case WORD_NUMBER:
			read_number(reading, at, token);
			break;
		default:
			reading->unknown = lappend(reading->unknown, token);
			break;
	}
}

/* --- thresholds --------------------------------------------------------------- */

static const struct
{
	Operation operation;
	const char *operator;
} thresholds[] = {{OP_AT_LEAST, ">="},
				  {OP_MORE, ">"},
				  {OP_AT_MOST, "<="},
				  {OP_LESS, "<"}};

/* "3% 이상" and "3% or more", but "above 3%". */
static Token *
threshold_number(Reading *reading, int at)
{
	Token *before = token_number(reading, at - 1);
	Token *behind = token_number(reading, at + 1);
	Token *token = token_number(reading, at);
	bool follows = token_is_korean(token) && (unsigned char) token->text[0] != 0xE2;

	follows |=
		strncmp(token->text, "or ", 3) == 0 || strncmp(token->text, "and ", 4) == 0;
	token = follows ? before : behind;
	return token && token->kind == WORD_NUMBER && !token->used ? token : NULL;
}

/* The metric that is measured: the last one named before, else the next one. */
static Metric *
threshold_metric(Reading *reading, int at)
{
	int count = list_length(reading->tokens);

	for (int i = at - 1; i >= 0; i--)
		if (token_number(reading, i)->kind == WORD_METRIC)
			return token_number(reading, i)->word->item;
	for (int i = at + 1; i < count; i++)
		if (token_number(reading, i)->kind == WORD_METRIC)
			return token_number(reading, i)->word->item;
	return NULL;
}

static bool
has_unit(const Metric *metric, const char *unit)
{
	return metric->unit && strcmp(metric->unit, unit) == 0;
}

/* The number in the metric's own unit; false where the units do not fit. */
static bool
number_in_metric(const Token *token, const Metric *metric, double *number)
{
	bool percent = metric->format && strcmp(metric->format, "percent") == 0;
	bool money = metric->format && strcmp(metric->format, "currency") == 0;
	bool timed = has_unit(metric, "min") || has_unit(metric, "s") ||
				 has_unit(metric, "h") || has_unit(metric, "days");

	*number = token->number;
	switch (token->unit)
	{
		case NUMBER_PERCENT:
			*number /= 100;
			return percent;
		case NUMBER_PLAIN:
			/* "불량률 3 이상": of a hundred, or of one? */
			return !percent || *number < 1;
		case NUMBER_COUNT:
			return !percent && !money && !timed;
		case NUMBER_MONEY:
			return money;
		case NUMBER_DAYS:
			return has_unit(metric, "days");
		case NUMBER_SECONDS:
			return has_unit(metric, "s");
		case NUMBER_MINUTES:
			if (has_unit(metric, "s"))
				*number *= 60;
			return has_unit(metric, "min") || has_unit(metric, "s");
		case NUMBER_HOURS:
			if (has_unit(metric, "min"))
				*number *= 60;
			return has_unit(metric, "min") || has_unit(metric, "h");
		default:
			return false;
	}
}

static void
take_condition(Reading *reading, int at, const char *operator)
{
	Token *number = threshold_number(reading, at);
	Metric *metric = threshold_metric(reading, at);
	PlanCondition *condition;
	double value;

	if (number == NULL)
	{
		reading->unknown = lappend(reading->unknown, token_number(reading, at));
		return;
	}
	number->used = true;
	if (metric == NULL || !number_in_metric(number, metric, &value))
	{
		reading->unknown = lappend(reading->unknown, number);
		return;
	}
	condition = palloc(sizeof(PlanCondition));
	condition->metric = metric;
	condition->operator= operator;
	condition->number = psprintf("%.12g", value);
	condition->text = number->text;
	reading->plan->conditions = lappend(reading->plan->conditions, condition);
}

/* "라인 3개 ... 높은 순": a count beside what is ranked is its limit. */
static void
take_limit(Reading *reading, int at)
{
	Token *token = token_number(reading, at);
	Token *before = token_number(reading, at - 1);
	Token *behind = token_number(reading, at + 1);
	bool beside = (before && before->kind == WORD_DIMENSION) ||
				  (behind && behind->kind == WORD_DIMENSION) ||
				  token_says(reading, at - 1, OP_DAYS) ||
				  token_says(reading, at + 1, OP_DAYS);

	if (reading->limit > 0 || reading->ranked_at < 0 || !beside ||
		(token->unit != NUMBER_COUNT && token->unit != NUMBER_PLAIN) ||
		token->number != (int) token->number || token->number < 1)
	{
		reading->unknown = lappend(reading->unknown, token);
		return;
	}
	reading->limit = (int) token->number;
	token->used = true;
}

/*
 * "주간" is the day shift beside "야간", beside "근무조" and for a single day;
 * without any period it is "weekly"; else it may be either.
 */
static bool
means_shift(Reading *reading, int at, bool *either)
{
	Token *token = token_number(reading, at);
	Dimension *dimension = token->word->item;
	int days = 0;
	ListCell *cell;

	*either = false;
	foreach (cell, reading->tokens)
	{
		Token *other = lfirst(cell);

		if (other != token &&
			(other->kind == WORD_VALUE || other->kind == WORD_DIMENSION) &&
			other->word->item == dimension)
			return true;
	}
	foreach (cell, reading->periods)
	{
		Token *period = lfirst(cell);

		days = Max(days, period->period.until - period->period.from);
	}
	*either = days > 1;
	return days == 1;
}

static void
take_doubtful(Reading *reading, int at)
{
	Token *token = token_number(reading, at);
	bool either;

	if (means_shift(reading, at, &either))
		read_value(reading, at, token->word);
	else if (either)
		reading->doubtful = token;
	else
		read_operation(reading, at, OP_WEEKLY);
}

/* What needs all the words: thresholds before the numbers that are left. */
void
reading_take_conditions(Reading *reading)
{
	int count = list_length(reading->tokens);

	for (int at = 0; at < count; at++)
	{
		Token *token = token_number(reading, at);

		for (int i = 0; i < lengthof(thresholds); i++)
			if (token_says(reading, at, thresholds[i].operation))
				take_condition(reading, at, thresholds[i].operator);
		if (token->kind == WORD_VALUE && token->doubtful)
			take_doubtful(reading, at);
	}
	for (int at = 0; at < count; at++)
	{
		Token *token = token_number(reading, at);

		if (token->kind == WORD_NUMBER && !token->used &&
			!list_member_ptr(reading->unknown, token))
			take_limit(reading, at);
		/* "A라인보다 높은": not something that is understood. */
		if (token_says(reading, at, OP_BASELINE) && reading->baseline == NULL &&
			(strstr(token->text, "보다") || strstr(token->text, "비해")))
			reading->unknown = lappend(reading->unknown, token);
		if (token_says(reading, at, OP_EXCEPT) && !any_excepted(reading))
			reading->unknown = lappend(reading->unknown, token);
	}
}
