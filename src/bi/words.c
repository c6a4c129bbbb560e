/*
 * words.c
 *		The words every catalogue shares: operations, particles and politeness, in
 *		Korean and English.  Periods are period.c's.
 *
 * Danger: a filler is a word that may be skipped without changing the number.
 * What narrows, widens or turns a question around is none.
 */
#include "postgres.h"

#include "bi/bi_int.h"

typedef struct PhraseRow
{
	int code;            /* Operation */
	const char *phrases; /* separated by | */
} PhraseRow;

static const PhraseRow operation_phrases[] = {
	{OP_BY, "별|별로|마다|기준|by|per|each|for each|각각의"},
	{OP_TREND, "추이|추세|트렌드|변화|흐름|변동|trend|over time|trends"},
	{OP_COMPARE,
	 "비교|비교해줘|비교해 줘|비교해|비교해서|compare|comparison|compared|comparing"},
	{OP_BASELINE, "대비|보다|에 비해|에 비하여|와 비교해|과 비교해|와 비교하면|과 "
				  "비교하면|와 비교해서|"
				  "과 비교해서|vs|versus|compared to|compared with|against|relative to"},
	{OP_AVERAGE, "평균|average|avg|mean"},
	{OP_AVERAGE_DAILY,
	 "일평균|일 평균|하루 평균|매일 평균|daily average|average daily|average per day|"
	 "daily mean"},
	{OP_TOP,
	 "상위|top|탑|가장 높은|제일 높은|가장 많은|제일 많은|최고|최다|highest|most|largest|"
	 "biggest|greatest|maximum|제일 높아|가장 높아|가장 높았|제일 높았|가장 많았|제일 "
	 "많았|"
	 "가장 큰|제일 큰|가장 높았던|가장 많았던|제일 많았던|제일 높았던|가장 긴|제일 "
	 "긴|longest|"
	 "가장 많이|제일 많이|가장 높게|최대"},
	{OP_BOTTOM,
	 "하위|bottom|가장 낮은|제일 낮은|가장 적은|제일 적은|최저|최소|lowest|least|"
	 "smallest|fewest|가장 낮았|제일 낮았|가장 적었|가장 낮아|제일 낮아|가장 작은|"
	 "가장 낮았던|가장 적었던|가장 짧은|제일 짧은|shortest|minimum|가장 적게"},
	{OP_BEST,
	 "best|가장 좋은|제일 좋은|최우수|가장 우수한|제일 우수한|가장 좋았던|가장 양호한"},
	{OP_WORST, "worst|가장 나쁜|제일 나쁜|최악|최악의|가장 안 좋은|제일 안 좋은|가장 "
			   "나빴던|poorest"},
	{OP_HIGH,
	 "높은 순|많은 순|큰 순|긴 순|내림차순|높은 순으로|많은 순으로|높은 순서|많은 순서|"
	 "높은 것부터|많은 것부터|descending|순위|랭킹|ranking|ranked|from highest|"
	 "높은|많은|긴|high|desc|highest first|largest first"},
	{OP_LOW, "낮은 순|적은 순|작은 순|짧은 순|오름차순|낮은 순으로|적은 순으로|낮은 "
			 "순서|적은 순서|"
			 "낮은 것부터|적은 것부터|ascending|낮은|적은|짧은|low|asc|lowest "
			 "first|smallest first"},
	{OP_SUPERLATIVE, "제일|가장"},
	{OP_ALL, "전체|모든|각|각각|모두|all|every|전부"},
	{OP_NOW, "현재|지금|현황|얼마야|얼마지|얼마인가요|얼마예요|얼마나 돼|now|right "
			 "now|current|currently|at the moment"},
	{OP_DETAIL,
	 "상세히|상세하게|상세|자세히|자세하게|세부|세부적으로|더 자세히|detail|details|"
	 "in detail|drill down|in more detail|more detail"},
	{OP_CHART, "차트|그래프|chart|graph|plot"},
	{OP_TABLE, "표로|테이블|테이블로|table|as a table|표 형태"},
	{OP_EXPORT,
	 "엑셀|엑셀로|엑셀 파일|csv|csv로|시에스브이|excel|export|다운로드|내려받기|download|"
	 "스프레드시트|spreadsheet"},
	{OP_SHARE,
	 "분포|비율|비중|구성|구성비|점유율|차지하는 비율|차지하는 비중|share|shares|"
	 "distribution|breakdown|proportion|percentage"},
	{OP_HOURLY, "시간별|매시간|hourly|by hour|per hour|시간 단위|every hour"},
	{OP_HOUR_OF_DAY, "시간대별|시간대|by hour of day|by hour of the day|hour of day"},
	{OP_DAILY,
	 "일별|일자별|날짜별|일간|일일|매일|daily|by day|per day|by date|each day|day by "
	 "day|날마다|하루하루|일 단위|every day"},
	{OP_DAYS, "날|일자|날짜|날은|day|days|dates|date|언제|언제야|when"},
	{OP_WEEKLY,
	 "주별|주차별|매주|weekly|by week|per week|each week|week by week|주 단위|주단위|"
	 "every week"},
	{OP_WEEK_OR_DAY_SHIFT, "주간"},
	{OP_MONTHLY,
	 "월별|월간|매월|매달|monthly|by month|per month|each month|달별|월 단위|every "
	 "month|month by month|월단위|months"},
	{OP_QUARTERLY,
	 "분기별|분기마다|매 분기|매분기|quarterly|by quarter|per quarter|each quarter"},
	{OP_YEARLY,
	 "연도별|년도별|연간|연별|년별|매년|해마다|yearly|annual|annually|by year|per year"},
	{OP_WEEKDAYS,
	 "요일별|요일마다|by weekday|by day of week|by day of the week|per weekday|"
	 "day of the week|요일"},
	{OP_EXCEPT,
	 "제외|제외하고|제외한|제외하면|빼고|뺀|빼면|말고|except|excluding|without|other "
	 "than|except for|exclude|but not"},
	{OP_AT_LEAST,
	 "이상|이상인|at least|>=|≥|or more|no less than|not less than|and above"},
	{OP_MORE,
	 "초과|초과한|초과하는|초과인|넘는|넘은|넘긴|넘었던|넘어선|을 넘는|보다 높은|보다 "
	 "많은|보다 큰|보다 높았던|보다 많았던|more than|above|over|greater than|higher "
	 "than|exceeding|exceed|exceeds|exceeded|larger than|>|웃도는|상회하는"},
	{OP_AT_MOST, "이하|이하인|at most|<=|≤|up to|or less|no more than|not more than"},
	{OP_LESS,
	 "미만|미만인|below|under|less than|lower than|fewer than|smaller than|<|보다 낮은|"
	 "보다 적은|보다 작은|보다 낮았던|밑도는|하회하는|안 되는|안되는|못 미치는"},
	{OP_COUNT_UNIT, "개|가지|곳|위"},
	{OP_COUNTED, "수량|건수|개수|횟수|count|counts|quantity|amount"},
	{OP_VERSUS_DAY,
	 "전일 대비|어제 대비|어제보다|전일보다|하루 전 대비|vs yesterday|versus "
	 "yesterday|compared to yesterday|than yesterday|day over day|전날 대비|"
	 "compared with yesterday"},
	{OP_VERSUS_WEEK,
	 "전주 대비|지난주 대비|지난주보다|전주보다|전주 동기|vs last week|versus last week|"
	 "compared to last week|compared with last week|week over week|than last week|"
	 "지난주에 비해|wow|저번 주 대비|저번주보다|일주일 전 대비|compared to the previous "
	 "week"},
	{OP_VERSUS_MONTH,
	 "전월 대비|지난달 대비|지난달보다|전월보다|전달 대비|vs last month|versus last "
	 "month|"
	 "compared to last month|month over month|than last month|지난달에 비해|mom|저번 달 "
	 "대비|전월 동기|compared with last month|전달보다|compared to the previous month"},
	{OP_VERSUS_QUARTER,
	 "전분기 대비|지난 분기 대비|지난 분기보다|vs last quarter|compared to last quarter|"
	 "quarter over quarter|직전 분기 대비|전분기보다"},
	{OP_VERSUS_YEAR,
	 "작년 대비|전년 대비|작년 동기|작년 동기 대비|전년 동기|전년 동기 대비|작년 같은 "
	 "기간|작년 같은 기간 대비|지난해 같은 기간|지난해 대비|전년 동월|전년 동월 "
	 "대비|작년보다|"
	 "전년보다|vs last year|versus last year|compared to last year|year over year|yoy|"
	 "작년 이맘때|the same period last year|same period last year|지난해 동기|작년에 "
	 "비해|"
	 "than last year|compared with last year|compared to the same period last year|"
	 "전년 동기보다|작년 이맘때보다|vs the same period last year"},
	{OP_VERSUS_PREVIOUS,
	 "이전 기간 대비|직전 기간 대비|전기 대비|앞 기간 대비|이전 대비|compared to the "
	 "previous "
	 "period|vs previous period|vs the previous period|previous period|period over "
	 "period|이전 기간과 비교"},
	{OP_WHY, "왜|원인|이유|why|cause|root cause|reason|때문"},
	{OP_ACTION,
	 "넘으면|이상이면|초과하면|되면|떨어지면|미만이면|이하이면|알림|판단|판단해줘|승인|"
	 "반려|요청해줘|예측|예상|전망|alert|notify|forecast|predict|approve|judge"},
};

/* Only right behind another word, without a space. */
static const char *const particles =
	"의|은|는|이|가|을|를|에|에서|에서는|에는|에서의|와|과|이랑|랑|하고|도|만|로|으로|간|"
	"동안|들|들의|이나|나|은요|는요|요|인|들은|들이|별로는|과의|와의|에서도|으로는|들을|"
	"만의|"
	"이야|야|인가요|인가|이에요|예요|입니다|이고|고|중|중에|중에서|용|치|씩|이었어|였어|"
	"해줘|해주세요|해|하는|되나요|된|했던|한|이었던|였던|이었나요|였나요|던|였지|이었지|"
	"이라도|라도|이며|며|별로의|s";

static const char *const fillers =
	"보여줘|보여 줘|보여주세요|보여주라|보여 주세요|보여줄래|보여|알려줘|알려 "
	"줘|알려주세요|알려 주세요|알려줄래|알려|보여줄 수 있어|알려줄 수 있어|"
	"말해줘|가르쳐줘|조회해줘|조회|확인해줘|확인|봐줘|보고 싶어|알고 싶어|궁금해|"
	"보자|볼래|뽑아줘|뽑아 줘|그려줘|그려 줘|만들어줘|만들어 줘|만들어|정리해줘|정리해 "
	"줘|정리|"
	"해줘|해 "
	"줘|해주세요|줘|주세요|부탁해|부탁|좀|얼마나|얼마|있어|있나요|있지|있니|어떻게 "
	"되나요|어떻게 돼|어떻게 되지|얼마였어|얼마였지|얼마나 됐어|얼마나 했어|얼마였나요|"
	"어떻게 "
	"됩니까|어떻게|되나요|되지|돼|됩니까|몇|몇이야|뭐야|무엇|무엇인가요|인가요|같이|함께|"
	"그리고|및|또|또는|주요|통계|어디야|어디|어디지|어디인가요|어디였어|누구|나왔어|"
	"나왔나요|"
	"데이터|값|수치|정보|지표|결과|한번|한 번|총|합계|에 "
	"나온|나온|발생한|발생|생긴|기록한|"
	"대한|대한|대해|관련|대해서|기간|어느|어떤|무슨|순으로|순서|순서대로|높아|낮아|"
	"많아|적어|높았어|낮았어|많았어|이야|야|거|것|것은|게|뭐지|뭐|됐어|됐나요|"
	"요|를|을|의|에|중|중에|중에서|어때|어떤가요|어떠니|어땠어|어땠나요|어땠지|"
	"show|show me|me|give|give me|tell|tell "
	"me|list|get|display|please|the|of|for|in|on|at|and|with|is|are|was|were|what|"
	"what is|which|how|how much|how what's|whats|what was|what were|"
	"many|how many|much|many|a|an|during|do|does|did|we|have|has|had|our|my|us|having|"
	"total|s|i|want|see|can|you|there|it|this|as|along|need|know|where|that|those|these|"
	"with|together|statistics|stats|data|numbers|number|value|values|from|their|its|"
	"produce|produced|made|make|sorted|sort|order|ordered|figures|figure|about|could|"
	"would|"
	"like|to see|to know|let|let's";

/* At the beginning they say: as before, but for this. */
static const char *const follow_ups = "그럼|그러면|그렇다면|그건|그거|그것|그중|그 "
									  "중|이건|이거|방금|아까|then|what about|how "
									  "about|and what about|same for|instead|다시|대신";

static List *
add_phrases(List *words, const char *phrases, WordKind kind, int code)
{
	char *rest = pstrdup(phrases);
	char *phrase;

	while ((phrase = strsep(&rest, "|")) != NULL)
		words = lappend(words, word_make(phrase, kind, NULL, NULL, code));
	return words;
}

List *
words_builtin(void)
{
	List *words = NIL;

	for (int i = 0; i < lengthof(operation_phrases); i++)
		words = add_phrases(words, operation_phrases[i].phrases, WORD_OPERATION,
							operation_phrases[i].code);
	words = add_phrases(words, follow_ups, WORD_OPERATION, OP_FOLLOW_UP);
	words = add_phrases(words, particles, WORD_PARTICLE, 0);
	return add_phrases(words, fillers, WORD_FILLER, 0);
}
