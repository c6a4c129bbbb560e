/*
 * tokens.c
 *		A question, cut into words of the vocabulary.
 *
 * Korean writes particles onto words and is free with spaces, so words are found
 * by longest match over the text without separators, from where the last one
 * ended.  Latin words and codes keep their borders: "line" is not in "LINE-D".
 * What is in no vocabulary is kept as an unknown word: it is never skipped.
 */
#include "postgres.h"

#include "bi/bi_int.h"
#include "miscadmin.h"

static bool
is_latin(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

/* "1월~3월" is a range, "알려줘~" is a mood. */
static bool
joins_what_follows(const char *text, int at, int length)
{
	do
		at++;
	while (at < length && text[at] == ' ');
	return at < length && (is_digit(text[at]) || (unsigned char) text[at] >= 0x80 ||
						   is_latin(pg_ascii_tolower((unsigned char) text[at])));
}

/* The comma of "1,000". */
static bool
groups_digits(const char *text, int at, int length)
{
	if (text[at] != ',' || at == 0 || !is_digit(text[at - 1]) || at + 3 >= length)
		return false;
	for (int i = 1; i <= 3; i++)
		if (!is_digit(text[at + i]))
			return false;
	return at + 4 >= length || !is_digit(text[at + 4]);
}

/* What a byte of a question is: GAP_NONE for text. */
static Gap
separator_at(const char *text, int at, int length)
{
	unsigned char c = text[at];

	if (c == '-' || c == '_' || c == '/')
		return GAP_JOINT;
	if (c <= ' ')
		return GAP_SPACE;
	/* A decimal point belongs to its number. */
	if (c == '.' && at > 0 && at + 1 < length && is_digit(text[at - 1]) &&
		is_digit(text[at + 1]))
		return GAP_NONE;
	if (c == '%' || c == '<' || c == '>' || c == '=')
		return GAP_NONE;
	if (c == '~')
		return joins_what_follows(text, at, length) ? GAP_NONE : GAP_HARD;
	return c < 0x80 && !is_latin(pg_ascii_tolower(c)) ? GAP_HARD : GAP_NONE;
}

Line *
line_read(const char *question)
{
	int length = strlen(question);
	Line *line = palloc0(sizeof(Line));
	Gap pending = GAP_NONE;

	line->question = question;
	line->text = palloc0(length + 1);
	line->gap = palloc0(sizeof(Gap) * (length + 1));
	line->origin = palloc0(sizeof(int) * (length + 1));
	for (int i = 0; i < length; i++)
	{
		Gap gap;

		if (groups_digits(question, i, length))
			continue;
		gap = separator_at(question, i, length);
		if (gap != GAP_NONE)
		{
			pending = Max(pending, gap);
			continue;
		}
		/* Hangul syllables in UTF-8 begin with these. */
		if ((unsigned char) question[i] >= 0xEA && (unsigned char) question[i] <= 0xED)
			line->korean = true;
		line->text[line->length] = pg_ascii_tolower((unsigned char) question[i]);
		line->gap[line->length] = pending;
		line->origin[line->length] = i;
		line->length++;
		pending = GAP_NONE;
	}
	line->gap[line->length] = GAP_HARD;
	line->origin[line->length] = length;
	return line;
}

/* That stretch as it was written, without the separators around it. */
char *
line_text(Line *line, int start, int end)
{
	int from = line->origin[start];
	int until = end > start ? line->origin[end - 1] + 1 : from;

	return pnstrdup(line->question + from, until - from);
}

Word *
word_make(const char *text, WordKind kind, void *item, char *value, int code)
{
	Line *line = line_read(pstrdup(text));
	Word *word = palloc0(sizeof(Word));

	word->key = line->text;
	word->length = line->length;
	word->gap = palloc0(sizeof(bool) * (line->length + 1));
	for (int i = 0; i < line->length; i++)
		word->gap[i] = line->gap[i] != GAP_NONE;
	word->kind = kind;
	word->item = item;
	word->value = value;
	word->code = code;
	return word;
}

/* "라인 3개" counts lines; it does not name line 3. */
static bool
counter_follows(const Line *line, int at)
{
	static const char *const counters[] = {"개", "가지", "곳"};

	if (line->gap[at] != GAP_NONE || !is_digit(line->text[at - 1]))
		return false;
	for (int i = 0; i < lengthof(counters); i++)
		if (strncmp(line->text + at, counters[i], strlen(counters[i])) == 0)
			return true;
	return false;
}

/* Letters alone, in one piece: "breakdown", not "LINE-A" or "P001". */
static bool
is_plain_word(const Word *word)
{
	for (int i = 0; i < word->length; i++)
		if (is_digit(word->key[i]) || !is_latin(word->key[i]) || (i > 0 && word->gap[i]))
			return false;
	return true;
}

/* How many bytes of the line the word takes there; 0 where it does not stand. */
int
word_match(const Line *line, int at, const Word *word)
{
	int end = at + word->length;

	if (end > line->length || memcmp(line->text + at, word->key, word->length) != 0)
		return 0;
	for (int i = 1; i < word->length; i++)
	{
		Gap gap = line->gap[at + i];

		if (gap == GAP_HARD)
			return 0;
		if (gap != GAP_NONE && !word->gap[i] && is_latin(line->text[at + i - 1]) &&
			is_latin(line->text[at + i]))
			return 0;
	}
	if (end < line->length && counter_follows(line, end))
		return 0;
	if (!is_latin(line->text[end - 1]) || end >= line->length ||
		!is_latin(line->text[end]) || line->gap[end] >= GAP_HARD ||
		line->gap[end] == GAP_SPACE)
		return word->length;
	/* An English plural: "lines", "breakdowns"; a code has none. */
	if ((word->kind != WORD_VALUE || is_plain_word(word)) && line->gap[end] == GAP_NONE &&
		line->text[end] == 's' && word->length >= 4 && !is_digit(line->text[end - 1]) &&
		(end + 1 >= line->length || !is_latin(line->text[end + 1]) ||
		 line->gap[end + 1] != GAP_NONE))
		return word->length + 1;
	return 0;
}

/* Where two meanings are equally long, the more telling kind wins. */
static int
kind_weight(WordKind kind)
{
	switch (kind)
	{
		case WORD_VALUE:
			return 5;
		case WORD_METRIC:
			return 4;
		case WORD_DIMENSION:
		case WORD_BUNDLE:
			return 3;
		case WORD_AMBIGUOUS:
			return 2;
		case WORD_OPERATION:
			return 1;
		default:
			return 0;
	}
}

/* Two words of equal length and kind that name different things. */
static bool
words_differ(const Word *a, const Word *b)
{
	if (a->kind != b->kind || kind_weight(a->kind) < 3)
		return false;
	return a->item != b->item ||
		   (a->value && b->value && strcmp(a->value, b->value) != 0);
}

/*
 * The longest word there.  What as many letters name as well, is its rival: a
 * value that two dimensions have, a name that two metrics share.
 */
static Word *
longest_word(Line *line, int at, Catalog *catalog, bool behind_word, int *length,
			 Word **rival, bool *doubtful)
{
	Word *best = NULL;
	int weekly = 0;
	ListCell *cell;

	*length = 0;
	*rival = NULL;
	*doubtful = false;
	foreach (cell, catalog->words[word_bucket(line->text + at)])
	{
		Word *word = lfirst(cell);
		int matched;

		if (word->kind == WORD_PARTICLE && !(behind_word && line->gap[at] == GAP_NONE))
			continue;
		matched = word_match(line, at, word);
		if (matched > *length || (matched == *length && matched > 0 &&
								  kind_weight(word->kind) > kind_weight(best->kind)))
		{
			best = word;
			*length = matched;
			*rival = NULL;
		}
		else if (matched > 0 && matched == *length && words_differ(best, word))
			*rival = word;
		if (matched > 0 && word->kind == WORD_OPERATION &&
			word->code == OP_WEEK_OR_DAY_SHIFT)
			weekly = matched;
	}
	*doubtful = best && best->kind == WORD_VALUE && weekly == *length;
	return best;
}

/* The article of "a line", not the letter of "어제 A 생산량" or "output of A". */
static bool
is_bare_letter(Line *line, int at, const Word *word, int length)
{
	bool capital = pg_ascii_tolower((unsigned char) line->question[line->origin[at]]) !=
				   (unsigned char) line->question[line->origin[at]];

	if (length != 1 || !is_latin(line->text[at]) ||
		(word->kind != WORD_FILLER && word->kind != WORD_PARTICLE))
		return false;
	return line->korean || (capital && at > 0 && line->text[at] != 'i');
}

/* An unknown word ends at a separator, or where the script changes. */
static int
unknown_length(Line *line, int at)
{
	bool latin = is_latin(line->text[at]);
	int end = at + 1;

	while (end < line->length)
	{
		if (line->gap[end] == GAP_HARD || line->gap[end] == GAP_SPACE)
			break;
		if (line->gap[end] == GAP_JOINT && !(latin && is_latin(line->text[end])))
			break;
		if (is_latin(line->text[end]) != latin)
			break;
		end++;
	}
	return end - at;
}

/* --- numbers ------------------------------------------------------------------ */

static const struct
{
	const char *text;
	double factor;
} magnitudes[] = {{"천", 1e3}, {"만", 1e4}, {"백만", 1e6}, {"천만", 1e7},
				  {"억", 1e8}, {"백", 1e2}, {"k", 1e3},    {"million", 1e6}};

/* What a number may count; all of one line mean the same. */
static const struct
{
	const char *text;
	NumberUnit unit;
} number_units[] = {
	{"%", NUMBER_PERCENT},       {"퍼센트", NUMBER_PERCENT}, {"프로", NUMBER_PERCENT},
	{"percent", NUMBER_PERCENT}, {"개", NUMBER_COUNT},       {"건", NUMBER_COUNT},
	{"대", NUMBER_COUNT},        {"ea", NUMBER_COUNT},       {"units", NUMBER_COUNT},
	{"pcs", NUMBER_COUNT},       {"회", NUMBER_COUNT},       {"번", NUMBER_COUNT},
	{"times", NUMBER_COUNT},     {"가지", NUMBER_COUNT},     {"곳", NUMBER_COUNT},
	{"위", NUMBER_RANK},         {"등", NUMBER_RANK},        {"분", NUMBER_MINUTES},
	{"minutes", NUMBER_MINUTES}, {"min", NUMBER_MINUTES},    {"시간", NUMBER_HOURS},
	{"hours", NUMBER_HOURS},     {"초", NUMBER_SECONDS},     {"seconds", NUMBER_SECONDS},
	{"일", NUMBER_DAYS},         {"days", NUMBER_DAYS},      {"원", NUMBER_MONEY},
	{"won", NUMBER_MONEY},       {"krw", NUMBER_MONEY},
};

/* The bytes that the text takes there, 0 where it does not stand. */
static int
text_length(const Line *line, int at, const char *text)
{
	Word word = {.key = unconstify(char *, text), .length = strlen(text)};
	bool gaps[16] = {false};

	Assert(word.length < lengthof(gaps));
	word.gap = gaps;
	return at < line->length ? word_match(line, at, &word) : 0;
}

static double
number_magnitude(const Line *line, int *at)
{
	int longest = 0;
	double factor = 1;

	for (int i = 0; i < lengthof(magnitudes); i++)
	{
		int length = text_length(line, *at, magnitudes[i].text);

		if (length > longest)
		{
			longest = length;
			factor = magnitudes[i].factor;
		}
	}
	*at += longest;
	return factor;
}

/* Digits, a decimal point, a magnitude, a unit; the bytes taken, 0 for no number. */
static int
number_length(const Line *line, int start, Token *token)
{
	int at = start, longest = 0;

	while (at < line->length &&
		   (is_digit(line->text[at]) || (at > start && line->text[at] == '.')) &&
		   (at == start || line->gap[at] == GAP_NONE))
		at++;
	if (at == start || at - start > 12)
		return 0;
	token->number = strtod(pnstrdup(line->text + start, at - start), NULL);
	if (line->gap[at] <= GAP_SPACE)
		token->number *= number_magnitude(line, &at);
	/* "3d" is a code, not a number. */
	token->number_end = at;
	token->unit = NUMBER_PLAIN;
	for (int i = 0; i < lengthof(number_units) && line->gap[at] <= GAP_SPACE; i++)
	{
		int length = text_length(line, at, number_units[i].text);

		if (length > longest)
		{
			longest = length;
			token->unit = number_units[i].unit;
		}
	}
	at += longest;
	if (longest == 0 && at < line->length && line->gap[at] == GAP_NONE &&
		is_latin(line->text[at]))
		return 0;
	return at - start;
}

/* "top three", "세 개": only beside a ranking, so only there is it read. */
static const struct
{
	const char *text;
	int number;
} number_words[] = {{"two", 2},     {"three", 3}, {"four", 4},  {"five", 5},
					{"ten", 10},    {"두 개", 2}, {"세 개", 3}, {"네 개", 4},
					{"다섯 개", 5}, {"두 곳", 2}, {"세 곳", 3}};

static int
number_word_length(const Line *line, int at, Token *token)
{
	for (int i = 0; i < lengthof(number_words); i++)
	{
		Word *word = word_make(number_words[i].text, WORD_NUMBER, NULL, NULL, 0);
		int length = word_match(line, at, word);

		if (length == 0)
			continue;
		token->number = number_words[i].number;
		token->unit = NUMBER_COUNT;
		return length;
	}
	return 0;
}

/* --- tokens ------------------------------------------------------------------- */

static Token *
token_at(Line *line, int at, Catalog *catalog, DateADT today, bool behind_word)
{
	Token *token = palloc0(sizeof(Token));
	int length, period_length, other;

	token->start = at;
	token->word = longest_word(line, at, catalog, behind_word, &length, &token->rival,
							   &token->doubtful);
	if (token->word && is_bare_letter(line, at, token->word, length))
	{
		token->word = NULL;
		length = 0;
	}
	token->kind = token->word ? token->word->kind : WORD_UNKNOWN;
	period_length = period_match(line, at, today, &token->period);
	if (period_length > 0 && period_length >= length)
	{
		token->kind = WORD_PERIOD;
		length = period_length;
	}
	other = weekdays_match(line, at, &token->weekdays);
	if (other > length)
	{
		token->kind = WORD_WEEKDAY;
		length = other;
	}
	other = is_digit(line->text[at]) ? number_length(line, at, token)
									 : number_word_length(line, at, token);
	/* "20251120 ..." stays a date, whatever unit could follow the digits. */
	if (other > length &&
		!(token->kind == WORD_PERIOD && token->number_end <= at + length))
	{
		token->kind = WORD_NUMBER;
		length = other;
	}
	if (length == 0)
		length = unknown_length(line, at);
	token->end = at + length;
	token->text = line_text(line, at, token->end);
	if (token->kind == WORD_PERIOD)
		token->period.text = token->text;
	return token;
}

/*
 * A word of a whole language is longer than its vocabulary: "생산직" is not
 * "생산" with something behind it.  Only particles may follow a Korean word, and
 * they are words of their own; so the rest is unknown, and asked about.
 */
List *
tokens_read(Line *line, Catalog *catalog, DateADT today)
{
	List *tokens = NIL;
	int at = 0;
	bool behind_word = false;

	while (at < line->length)
	{
		Token *token = token_at(line, at, catalog, today, behind_word);

		CHECK_FOR_INTERRUPTS();
		behind_word = true;
		at = token->end;
		if (token->kind != WORD_PARTICLE && token->kind != WORD_FILLER)
			tokens = lappend(tokens, token);
	}
	return tokens;
}
