/*
 * words.c
 *		The words every catalogue shares: periods, operations, particles and
 *		politeness, in Korean and English.
 */
#include "postgres.h"

#include "bi/bi_int.h"

typedef struct Phrase
{
	int code;            /* Operation */
	const char *phrases; /* separated by | */
} Phrase;

static const struct
{
	const char *code;
	const char *phrases;
} period_phrases[] = {
	{"today", "오늘|금일|당일|today"},
	{"yesterday", "어제|작일|전일|yesterday"},
	{"day_before_yesterday",
	 "그저께|그제|엊그제|the day before yesterday|day before yesterday"},
	{"this_week", "이번 주|이번주|금주|this week"},
	{"last_week", "지난 주|지난주|저번 주|전주|last week|previous week"},
	{"week_before_last", "지지난주|지지난 주|저저번 주|the week before last"},
	{"this_month", "이번 달|이번달|이달|금월|당월|this month"},
	{"last_month", "지난 달|지난달|저번 달|전월|전달|last month|previous month"},
	{"this_quarter", "이번 분기|금분기|this quarter"},
	{"last_quarter", "지난 분기|전분기|last quarter|previous quarter"},
	{"this_year", "올해|금년|이번 해|this year"},
	{"last_year", "작년|지난해|지난 해|전년|last year|previous year"},
	{"last_7_days", "최근 일주일|지난 일주일|일주일간|일주일 동안|past week"},
	{"last_30_days", "최근 한 달|최근 한달|지난 한 달|한달간|한 달간|past month"},
};

static const Phrase operation_phrases[] = {
	{OP_BY, "별|별로|마다|기준|by|per|each|for each"},
	{OP_TREND, "추이|추세|트렌드|변화|흐름|trend|over time|trends"},
	{OP_COMPARE, "비교|비교해줘|비교해 "
				 "줘|비교해|비교해서|대비|compare|comparison|vs|versus|compared"},
	{OP_AVERAGE, "평균|average|avg|mean"},
	{OP_AVERAGE_DAILY, "일평균|일 평균|하루 평균|daily average|average daily"},
	{OP_TOP, "상위|top|탑|가장 높은|제일 높은|가장 많은|제일 "
			 "많은|최고|highest|most|largest|제일 높아|가장 높아|best"},
	{OP_BOTTOM, "하위|bottom|가장 낮은|제일 낮은|가장 적은|제일 "
				"적은|최저|lowest|least|smallest|fewest|worst"},
	{OP_HIGH, "높은 순|많은 순|내림차순|높은순|많은순|descending|순위|랭킹|ranking"},
	{OP_LOW, "낮은 순|적은 순|오름차순|낮은순|적은순|ascending"},
	{OP_ALL, "전체|모든|각|all|every"},
	{OP_NOW, "현재|지금|현황|얼마야|얼마지|얼마인가요|얼마예요|얼마나 돼|now|right "
			 "now|current|currently"},
	{OP_DETAIL,
	 "상세히|상세하게|상세|자세히|자세하게|세부|detail|details|in detail|drill down"},
	{OP_CHART, "차트|그래프|chart|graph|plot"},
	{OP_TABLE, "표로|테이블|table"},
	{OP_SHARE, "분포|비율|비중|구성|점유율|share|distribution|breakdown"},
	{OP_HOURLY, "시간별|시간대별|매시간|hourly|by hour|per hour"},
	{OP_DAILY, "일별|일자별|날짜별|일간|일일|매일|daily|by day|per day|by date|each day"},
	{OP_WEEKLY, "주별|주간|주차별|매주|weekly|by week|per week"},
	{OP_MONTHLY, "월별|월간|매월|매달|monthly|by month|per month"},
	{OP_COUNT_UNIT, "개|가지|곳|위"},
	{OP_VERSUS_PREVIOUS,
	 "전주 대비|지난주 대비|전일 대비|어제 대비|전월 대비|지난달 대비|작년 대비|전년 "
	 "대비|"
	 "작년 동기|vs last week|versus last week|compared to last week|week over week"},
	{OP_WHY, "왜|원인|이유|why|cause|root cause|reason"},
	{OP_ACTION, "넘으면|이상이면|초과하면|되면|알림|판단|판단해줘|승인|반려|요청해줘|"
				"예측|예상|엑셀|alert|notify|"
				"forecast|predict|approve|judge|excel"},
};

/* Only right behind another word, without a space. */
static const char *const particles =
	"의|은|는|이|가|을|를|에|에서|에서는|에는|에서의|와|과|이랑|랑|하고|도|만|로|으로|간|"
	"동안|들|들의|이나|나|은요|는요|요|"
	"이야|야|인가요|인가|이에요|예요|입니다|이고|고|중|중에|중에서|당|용|분|치|씩|부터|"
	"까지|해줘|해주세요|해|하는|되나요|"
	"이라도|라도|이며|며|별로의|s";

static const char *const fillers =
	"보여줘|보여 줘|보여주세요|보여주라|보여 주세요|보여줄래|보여|알려줘|알려 "
	"줘|알려주세요|알려 주세요|알려줄래|알려|"
	"말해줘|가르쳐줘|조회해줘|조회|확인해줘|확인|봐줘|보고 "
	"싶어|보자|볼래|뽑아줘|그려줘|만들어줘|만들어 줘|만들어|정리해줘|"
	"해줘|해 "
	"줘|해주세요|줘|주세요|부탁해|부탁|좀|얼마나|얼마|있어|있나요|있지|있니|어떻게 "
	"되나요|어떻게 돼|어떻게 되지|"
	"어떻게 "
	"됩니까|어떻게|되나요|되지|돼|됩니까|몇|몇이야|뭐야|무엇|무엇인가요|인가요|같이|함께|"
	"그리고|및|또|또는|주요|통계|"
	"데이터|값|수치|정보|지표|결과|한번|한 번|총|합계|에 "
	"대한|대한|대해|관련|대해서|동안|기간|어느|어떤|무슨|순으로|순서|순서대로|높아|낮아|"
	"많아|적어|이야|야|"
	"요|를|을|의|에|중|중에|중에서|어때|어떤가요|어떠니|어땠어|그럼|그러면|제일|가장|"
	"show|show me|me|give|give me|tell|tell "
	"me|list|get|display|please|the|of|for|in|on|at|and|with|is|are|was|were|what|"
	"what is|which|how|how much|how "
	"many|much|many|a|an|to|from|during|over|do|does|did|we|have|has|had|our|my|us|"
	"total|s|i|want|see|can|you|there|it|this|as|along "
	"with|together|within|statistics|stats|data|numbers|value|values|"
	"between|through|until|produce|produced|made";

static List *
add_phrases(List *words, const char *phrases, WordKind kind, const char *value, int code)
{
	char *rest = pstrdup(phrases);
	char *phrase;

	while ((phrase = strsep(&rest, "|")) != NULL)
		words = lappend(words, word_make(phrase, kind, NULL,
										 value ? pstrdup(value) : NULL, code));
	return words;
}

List *
words_builtin(void)
{
	List *words = NIL;

	for (int i = 0; i < lengthof(period_phrases); i++)
		words = add_phrases(words, period_phrases[i].phrases, WORD_PERIOD,
							period_phrases[i].code, 0);
	for (int i = 0; i < lengthof(operation_phrases); i++)
		words = add_phrases(words, operation_phrases[i].phrases, WORD_OPERATION, NULL,
							operation_phrases[i].code);
	words = add_phrases(words, particles, WORD_PARTICLE, NULL, 0);
	return add_phrases(words, fillers, WORD_FILLER, NULL, 0);
}
