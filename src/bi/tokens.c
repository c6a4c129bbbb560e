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
	if (c == '%' || c == '~')
		return GAP_NONE;
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
		Gap gap = separator_at(question, i, length);

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
	/* An English plural: "lines", "defect rates". */
	if (line->gap[end] == GAP_NONE && line->text[end] == 's' && word->length >= 4 &&
		!is_digit(line->text[end - 1]) &&
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
		case WORD_PERIOD:
			return 2;
		case WORD_OPERATION:
			return 1;
		default:
			return 0;
	}
}

static Word *
longest_word(Line *line, int at, Catalog *catalog, bool behind_word, int *length)
{
	Word *best = NULL;
	ListCell *cell;

	*length = 0;
	foreach (cell, catalog->words)
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
		}
	}
	return best;
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

static bool
all_digits(Line *line, int start, int end)
{
	for (int i = start; i < end; i++)
		if (!is_digit(line->text[i]) || (i > start && line->gap[i] != GAP_NONE))
			return false;
	return end - start < 9;
}

static Token *
token_at(Line *line, int at, Catalog *catalog, DateADT today, bool behind_word)
{
	Token *token = palloc0(sizeof(Token));
	int length, period_length;

	token->start = at;
	token->word = longest_word(line, at, catalog, behind_word, &length);
	period_length = period_match(line, at, today, &token->period);
	if (period_length > 0 && period_length >= length)
	{
		token->kind = WORD_PERIOD;
		length = period_length;
	}
	else if (token->word)
		token->kind = token->word->kind;
	else
	{
		length = unknown_length(line, at);
		token->kind = WORD_UNKNOWN;
		if (all_digits(line, at, at + length))
		{
			token->kind = WORD_NUMBER;
			token->number = atoi(pnstrdup(line->text + at, length));
		}
	}
	token->end = at + length;
	token->text = line_text(line, at, token->end);
	if (token->kind == WORD_PERIOD && !token->period.set)
		token->period.set = period_from_code(token->word->value, today, &token->period);
	if (token->kind == WORD_PERIOD)
		token->period.text = token->text;
	return token;
}

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
