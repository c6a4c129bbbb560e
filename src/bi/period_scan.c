/*
 * period_scan.c
 *		Words and numbers of a phrase of time, one after another.
 */
#include "postgres.h"

#include "bi/period_int.h"
#include "utils/memutils.h"

static List *
phrases_words(Phrases *phrases)
{
	MemoryContext old;
	char *rest, *text;

	if (phrases->words != NIL)
		return phrases->words;
	old = MemoryContextSwitchTo(TopMemoryContext);
	rest = pstrdup(phrases->texts);
	while ((text = strsep(&rest, "|")) != NULL)
		phrases->words =
			lappend(phrases->words, word_make(text, WORD_PERIOD, NULL, NULL, 0));
	MemoryContextSwitchTo(old);
	return phrases->words;
}

/* How far the longest of the phrases reaches; 0 where none stands there. */
int
phrases_match(Scan *scan, Phrases *phrases)
{
	int longest = 0;
	ListCell *cell;

	foreach (cell, phrases_words(phrases))
		longest = Max(longest, word_match(scan->line, scan->at, lfirst(cell)));
	return longest;
}

bool
scan_phrases(Scan *scan, Phrases *phrases)
{
	int length = phrases_match(scan, phrases);

	scan->at += length;
	return length > 0;
}

/* A suffix: only right behind what is before it. */
bool
scan_suffix(Scan *scan, Phrases *phrases)
{
	return scan->line->gap[scan->at] == GAP_NONE && scan_phrases(scan, phrases);
}

/* The row of a table whose phrases stand there and are longest; -1 for none. */
int
scan_row(Scan *scan, Phrases *rows, size_t stride, int count)
{
	int found = -1, longest = 0;

	for (int i = 0; i < count; i++)
	{
		int length = phrases_match(scan, (Phrases *) ((char *) rows + i * stride));

		if (length > longest)
		{
			longest = length;
			found = i;
		}
	}
	scan->at += longest;
	return found;
}

/* Digits without a break; -1 where there are none or too many. */
int
scan_number(Scan *scan, int *digits)
{
	int number = 0;
	int start = scan->at;

	while (scan->at < scan->line->length && scan->line->text[scan->at] >= '0' &&
		   scan->line->text[scan->at] <= '9' &&
		   (scan->at == start || scan->line->gap[scan->at] == GAP_NONE))
	{
		if (scan->at - start >= 8)
			return -1;
		number = number * 10 + (scan->line->text[scan->at++] - '0');
	}
	*digits = scan->at - start;
	return *digits > 0 ? number : -1;
}

/* A number in digits or words, as it counts days or weeks; -1 for none. */
int
scan_count(Scan *scan)
{
	static struct
	{
		Phrases phrases;
		int number;
	} words[] = {{{"한|one|a"}, 1},   {{"두|two"}, 2},       {{"세|석|three"}, 3},
				 {{"네|넉|four"}, 4}, {{"다섯|five"}, 5},    {{"여섯|six"}, 6},
				 {{"일곱|seven"}, 7}, {{"여덟|eight"}, 8},   {{"아홉|nine"}, 9},
				 {{"열|ten"}, 10},    {{"열두|twelve"}, 12}, {{"삼"}, 3},
				 {{"육"}, 6},         {{"eleven|열한"}, 11}};
	int mark = scan->at;
	int digits;
	int number = scan_number(scan, &digits);
	int row;

	if (number >= 0)
		return digits <= 4 ? number : -1;
	scan->at = mark;
	row = scan_row(scan, &words[0].phrases, sizeof(words[0]), lengthof(words));
	return row >= 0 ? words[row].number : -1;
}
