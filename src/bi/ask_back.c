/*
 * ask_back.c
 *		Questions back: what is unclear, and what could be asked instead.
 */
#include "postgres.h"

#include "bi/bi_int.h"

#define ASK_BACK_CHOICES 12

List *
choices_of_metrics(QuestionPlan *plan)
{
	List *choices = NIL;
	ListCell *cell;

	foreach (cell, plan->catalog->metrics)
		if (list_length(choices) < ASK_BACK_CHOICES)
			choices = lappend(choices, (char *) metric_label(lfirst(cell), plan->korean));
	return choices;
}

static List *
value_choices(Dimension *dimension)
{
	List *choices = NIL;
	ListCell *cell;

	foreach (cell, dimension->values)
		if (list_length(choices) < ASK_BACK_CHOICES)
			choices = lappend(choices, lfirst(cell));
	return choices;
}

/* The letters a code begins with: LINE of LINE-D, L of L09. */
static int
code_letters(const char *text)
{
	int length = 0;

	while ((text[length] >= 'a' && text[length] <= 'z') ||
		   (text[length] >= 'A' && text[length] <= 'Z'))
		length++;
	return length;
}

/* The dimension whose values look like that word; NULL for none. */
static Dimension *
dimension_resembling(Catalog *catalog, const char *text)
{
	int letters = code_letters(text);
	ListCell *cell, *value;

	if (letters == 0 || (text[letters] == '\0' && letters > 2))
		return NULL;
	foreach (cell, catalog->dimensions)
		foreach (value, ((Dimension *) lfirst(cell))->values)
			if (code_letters(lfirst(value)) == letters &&
				pg_strncasecmp(lfirst(value), text, letters) == 0)
				return lfirst(cell);
	return NULL;
}

/* An unknown word beside "라인" or "line" is meant as a line. */
static Dimension *
dimension_beside(List *tokens, Token *unknown)
{
	ListCell *cell;

	foreach (cell, tokens)
	{
		Token *token = lfirst(cell);

		if (token->kind == WORD_DIMENSION &&
			(token->end == unknown->start || token->start == unknown->end) &&
			(unknown->kind == WORD_NUMBER || code_letters(unknown->text) > 0))
			return token->word->item;
	}
	return NULL;
}

/* The word that the unknown part belongs to: "날씨", not "씨". */
static char *
whole_word(Reading *reading, Token *token)
{
	Line *line = reading->line;
	int start = token->start, end = token->end;

	while (start > 0 && line->gap[start] == GAP_NONE)
		start--;
	if (token->kind == WORD_NUMBER)
		while (end < line->length && line->gap[end] == GAP_NONE)
			end++;
	return line_text(line, start, end);
}

/* The first word in the question that was not understood. */
static Token *
first_unknown(Reading *reading)
{
	Token *first = linitial(reading->unknown);
	ListCell *cell;

	foreach (cell, reading->unknown)
		if (((Token *) lfirst(cell))->start < first->start)
			first = lfirst(cell);
	return first;
}

static void
ask_unknown_word(Reading *reading, List *tokens, Token *token)
{
	QuestionPlan *plan = reading->plan;
	Dimension *dimension = dimension_resembling(plan->catalog, token->text);
	char *text = whole_word(reading, token);

	if (dimension == NULL)
		dimension = dimension_beside(tokens, token);
	if (dimension)
		plan_ask_back(plan, 0.3,
					  psprintf(plan->korean ? "\"%s\"은(는) 알려진 %s 값이 아닙니다."
											: "\"%s\" is not a known value of %s.",
							   text, dimension_label(dimension, plan->korean)),
					  value_choices(dimension));
	else
		plan_ask_back(
			plan, 0.2,
			psprintf(plan->korean
						 ? "\"%s\"의 뜻을 모르겠습니다. 이 중에서 물어볼 수 있습니다."
						 : "I do not know what \"%s\" means. These can be asked for.",
					 text),
			choices_of_metrics(plan));
}

void
plan_ask_period(QuestionPlan *plan)
{
	const char *label = metric_label(linitial(plan->metrics), plan->korean);
	static const char *const ko[] = {"오늘 %s", "어제 %s", "지난 7일간 %s",
									 "이번 달 라인별 %s"};
	static const char *const en[] = {"%s today", "%s yesterday", "%s for the last 7 days",
									 "%s by line this month"};
	List *choices = NIL;

	for (int i = 0; i < lengthof(ko); i++)
		choices = lappend(choices, psprintf(plan->korean ? ko[i] : en[i], label));
	plan_ask_back(plan, 0.5,
				  plan->catalog->dimensions == NIL
					  ? pstrdup(plan->korean ? "어느 기간의 값을 원하시나요?"
											 : "For which period?")
					  : psprintf(plan->korean ? "어느 기간의, 어느 %s의 값을 원하시나요?"
											  : "For which period, and which %s?",
								 dimension_label(linitial(plan->catalog->dimensions),
												 plan->korean)),
				  choices);
}

void
plan_ask_dimension(QuestionPlan *plan)
{
	const char *label = metric_label(linitial(plan->metrics), plan->korean);
	List *choices = NIL;
	ListCell *cell;

	foreach (cell, plan->catalog->dimensions)
		choices = lappend(choices,
						  psprintf(plan->korean ? "%s별 %s" : "by %s: %s",
								   dimension_label(lfirst(cell), plan->korean), label));
	plan_ask_back(plan, 0.4,
				  pstrdup(plan->korean ? "무엇별로 비교할까요?" : "Compared by what?"),
				  choices);
}

/* Choices for a plan's first metric, each text with one place for its name. */
static List *
metric_choices(QuestionPlan *plan, const char *const *texts, int count)
{
	const char *label = metric_label(linitial(plan->metrics), plan->korean);
	List *choices = NIL;

	for (int i = 0; i < count; i++)
		choices = lappend(choices, psprintf(texts[i], label));
	return choices;
}

void
plan_ask_weekday(QuestionPlan *plan)
{
	static const char *const ko[] = {"지난주 월요일 %s", "지난 30일간 월요일 %s",
									 "지난 30일간 요일별 %s"};
	static const char *const en[] = {"%s on Monday last week",
									 "%s on Mondays in the last 30 days",
									 "%s by weekday for the last 30 days"};

	plan_ask_back(plan, 0.4,
				  pstrdup(plan->korean ? "어느 기간의 요일인가요?"
									   : "Of which period are these weekdays?"),
				  metric_choices(plan, plan->korean ? ko : en, lengthof(ko)));
}

void
plan_ask_rank(QuestionPlan *plan)
{
	static const char *const ko[] = {"%s 상위 1개", "%s이(가) 가장 높은 날",
									 "%s 높은 순"};
	static const char *const en[] = {"top 1 by %s", "the day with the highest %s",
									 "%s, descending"};

	plan_ask_back(plan, 0.4,
				  pstrdup(plan->korean
							  ? "무엇 중에서 몇 개를 고를지 분명하지 않습니다."
							  : "It is unclear what is ranked, and within what."),
				  metric_choices(plan, plan->korean ? ko : en, lengthof(ko)));
}

void
plan_ask_average(QuestionPlan *plan)
{
	static const char *const ko[] = {"일평균 %s", "일별 %s", "%s"};
	static const char *const en[] = {"daily average %s", "daily %s", "%s"};

	plan_ask_back(plan, 0.4,
				  pstrdup(plan->korean ? "무엇의 평균인지 분명하지 않습니다."
									   : "It is unclear what the average is of."),
				  metric_choices(plan, plan->korean ? ko : en, lengthof(ko)));
}

void
plan_ask_share(QuestionPlan *plan, Dimension *dimension)
{
	const char *label = metric_label(linitial(plan->metrics), plan->korean);
	const char *name = dimension_label(dimension, plan->korean);

	plan_ask_back(
		plan, 0.4,
		pstrdup(plan->korean
					? "전체 중의 비중인지, 서로 사이의 비중인지 분명하지 않습니다."
					: "A share of everything, or among these?"),
		list_make2(psprintf(plan->korean ? "%s별 %s 비중" : "share of %2$s by %1$s", name,
							label),
				   psprintf(plan->korean ? "%s별 %s" : "%2$s by %1$s", name, label)));
}

void
plan_ask_apart(QuestionPlan *plan)
{
	List *choices = NIL;
	ListCell *cell;

	foreach (cell, plan->metrics)
		choices = lappend(choices, (char *) metric_label(lfirst(cell), plan->korean));
	plan_ask_back(plan, 0.4,
				  pstrdup(plan->korean
							  ? "한 시점의 값과 기간의 값은 따로 물어보세요."
							  : "What is of one moment and what is of a period: ask "
								"for each."),
				  choices);
}

void
plan_ask_split(QuestionPlan *plan, Metric *metric, Dimension *dimension)
{
	const char *label = metric_label(metric, plan->korean);
	const char *name = dimension_label(dimension, plan->korean);

	plan_ask_back(plan, 0.4,
				  psprintf(plan->korean ? "%s은(는) %s 전체로 합할 수 없습니다."
										: "%s does not add up over %s.",
						   label, name),
				  list_make1(
					  psprintf(plan->korean ? "%2$s별 %1$s" : "%s by %s", label, name)));
}

static void
ask_period_open(QuestionPlan *plan, Token *token)
{
	plan_ask_back(plan, 0.4,
				  psprintf(plan->korean ? "\"%s\": 언제부터 언제까지인가요?"
										: "\"%s\": from when until when?",
						   token->text),
				  NIL);
}

static void
ask_doubtful(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	Token *token = reading->doubtful;

	plan_ask_back(plan, 0.4,
				  psprintf("\"%s\": 주 단위인가요, 주간 근무조인가요?", token->text),
				  list_make2(pstrdup("주별"), pstrdup("주간 근무조")));
}

/* Two things of that name: which? */
static void
ask_rivals(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	Token *token = reading->rivalled;
	Word *words[] = {token->word, token->rival};
	List *choices = NIL;

	for (int i = 0; i < lengthof(words); i++)
	{
		Word *word = words[i];

		if (word->kind == WORD_VALUE)
			choices = lappend(choices,
							  psprintf("%s %s", dimension_label(word->item, plan->korean),
									   word->value));
		else if (word->kind == WORD_METRIC)
			choices = lappend(choices, pstrdup(metric_label(word->item, plan->korean)));
		else if (word->kind == WORD_DIMENSION)
			choices =
				lappend(choices, pstrdup(dimension_label(word->item, plan->korean)));
	}
	plan_ask_back(plan, 0.4,
				  psprintf(plan->korean
							   ? "\"%s\"에는 여러 뜻이 있습니다. 무엇을 원하시나요?"
							   : "\"%s\" has several meanings. Which one?",
						   token->text),
				  choices);
}

static Token *
open_period(Reading *reading)
{
	ListCell *cell;

	if (reading->baseline && reading->baseline->period.open)
		return reading->baseline;
	foreach (cell, reading->periods)
		if (((Token *) lfirst(cell))->period.open)
			return lfirst(cell);
	return NULL;
}

/* What the words themselves leave open; true: the question goes back. */
bool
reading_leaves_open(Reading *reading)
{
	QuestionPlan *plan = reading->plan;

	if (reading->said[OP_WHY])
		plan_ask_back(
			plan, 0.2,
			pstrdup(
				plan->korean
					? "원인은 숫자만으로 답할 수 없습니다. 불량 유형별이나 제품별로 "
					  "나누어 물어보세요."
					: "Numbers alone do not tell causes. Ask for a breakdown instead."),
			choices_of_metrics(plan));
	else if (reading->said[OP_ACTION])
		plan_ask_back(plan, 0.2,
					  pstrdup(plan->korean ? "알림, 판단, 예측은 질문으로 "
											 "실행하지 않습니다. 지표를 물어보세요."
										   : "A question does not alert, judge or "
											 "forecast. Ask for a metric."),
					  choices_of_metrics(plan));
	else if (reading->unknown != NIL)
		ask_unknown_word(reading, reading->tokens, first_unknown(reading));
	else if (reading->rivalled)
		ask_rivals(reading);
	else if (reading->doubtful)
		ask_doubtful(reading);
	else if (reading->ambiguous && plan->metrics == NIL)
		plan_ask_back(plan, 0.4,
					  psprintf(plan->korean
								   ? "\"%s\"에는 여러 뜻이 있습니다. 무엇을 원하시나요?"
								   : "\"%s\" has several meanings. Which one?",
							   reading->ambiguous->word),
					  reading->ambiguous->choices);
	else if (reading->wrong)
		plan_ask_back(plan, 0.3,
					  psprintf(plan->korean ? "질문이 서로 맞지 않습니다 (%s)."
											: "The question contradicts itself (%s).",
							   reading->wrong),
					  choices_of_metrics(plan));
	else if (open_period(reading))
		ask_period_open(plan, open_period(reading));
	return plan->clarification != NULL;
}
