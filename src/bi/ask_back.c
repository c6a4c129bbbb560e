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

static void
ask_unknown_word(Reading *reading, List *tokens, Token *token)
{
	QuestionPlan *plan = reading->plan;
	Dimension *dimension = dimension_resembling(plan->catalog, token->text);

	if (dimension == NULL)
		dimension = dimension_beside(tokens, token);
	if (dimension)
		plan_ask_back(plan, 0.3,
					  psprintf(plan->korean ? "\"%s\"은(는) 알려진 %s 값이 아닙니다."
											: "\"%s\" is not a known value of %s.",
							   token->text, dimension_label(dimension, plan->korean)),
					  value_choices(dimension));
	else
		plan_ask_back(
			plan, 0.2,
			psprintf(plan->korean
						 ? "\"%s\"의 뜻을 모르겠습니다. 이 중에서 물어볼 수 있습니다."
						 : "I do not know what \"%s\" means. These can be asked for.",
					 token->text),
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
				  pstrdup(plan->korean ? "어느 기간의, 어느 라인의 값을 원하시나요?"
									   : "For which period, and which line?"),
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

/* What the words themselves leave open; true: the question goes back. */
bool
reading_leaves_open(Reading *reading, List *tokens)
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
					  pstrdup(plan->korean ? "알림, 판단, 예측, 내보내기는 질문으로 "
											 "실행하지 않습니다. 지표를 물어보세요."
										   : "A question does not alert, judge, forecast "
											 "or export. Ask for a metric."),
					  choices_of_metrics(plan));
	else if (reading->number >= 0 && !reading->said[OP_TOP] &&
			 !reading->said[OP_BOTTOM] && !reading->said[OP_HIGH] &&
			 !reading->said[OP_LOW])
		ask_unknown_word(reading, tokens, reading->number_token);
	else if (reading->unknown != NIL)
		ask_unknown_word(reading, tokens, linitial(reading->unknown));
	else if (reading->ambiguous && plan->metrics == NIL)
		plan_ask_back(plan, 0.4,
					  psprintf(plan->korean
								   ? "\"%s\"에는 여러 뜻이 있습니다. 무엇을 원하시나요?"
								   : "\"%s\" has several meanings. Which one?",
							   reading->ambiguous->word),
					  reading->ambiguous->choices);
	else if (reading->many_periods)
		plan_ask_back(plan, 0.4,
					  pstrdup(plan->korean ? "기간을 하나만 말해 주세요."
										   : "Name one period at a time."),
					  NIL);
	return plan->clarification != NULL;
}
