/*
 * document_pick.c
 *		A few values of plain JSON text, without making a document of all of it.
 *
 * The whole text is read, so one that is no JSON gives nothing.  As in a document, of
 * members with the same key the last one counts.
 */
#include "postgres.h"

#include "base/document.h"
#include "base/document_text.h"
#include "mb/pg_wchar.h"
#include "port/pg_bitutils.h"

typedef struct Picker
{
	char *at;
	int level; /* how many objects and lists are open */
	DocPick *picks;
} Picker;

/* Picks as bits: those whose paths lead here, or deeper. */
static bool pick_value(Picker *p, uint32 wanted);

/* Those whose next step is that one; what an earlier member gave them is forgotten. */
static uint32
follow(Picker *p, uint32 wanted, const char *step)
{
	uint32 followed = 0;

	for (; wanted != 0; wanted &= wanted - 1)
	{
		int i = pg_rightmost_one_pos32(wanted);
		const char *next = p->picks[i].path[p->level - 1];

		/* Most differ in their first letter. */
		if (*next != *step || strcmp(next, step) != 0)
			continue;
		followed |= 1u << i;
		p->picks[i].kind = DOC_PICK_NONE;
	}
	return followed;
}

static bool
pick_members(Picker *p, uint32 wanted)
{
	do
	{
		char *key;
		int length;

		plain_skip_blanks(&p->at);
		if (*p->at != '"' || (key = plain_string(&p->at, &length)) == NULL ||
			!plain_take(&p->at, ':') ||
			!pick_value(p, wanted ? follow(p, wanted, key) : 0))
			return false;
	} while (plain_take(&p->at, ','));
	return plain_take(&p->at, '}');
}

static bool
pick_elements(Picker *p, uint32 wanted)
{
	wanted = follow(p, wanted, DOC_PICK_FIRST);
	do
	{
		if (!pick_value(p, wanted))
			return false;
		wanted = 0;
	} while (plain_take(&p->at, ','));
	return plain_take(&p->at, ']');
}

static bool
pick_inside(Picker *p, uint32 wanted)
{
	bool is_object = *p->at++ == '{';
	bool is_read;

	if (p->level++ == PLAIN_LEVELS)
		return false;
	is_read = plain_take(&p->at, is_object ? '}' : ']') ||
			  (is_object ? pick_members(p, wanted) : pick_elements(p, wanted));
	p->level--;
	return is_read;
}

/* What is at the picker's place; its own text is in place, too. */
static bool
read_value(Picker *p, DocPick *found, uint32 deeper)
{
	switch (*p->at)
	{
		case '{':
		case '[':
			found->kind = DOC_PICK_CONTAINER;
			return pick_inside(p, deeper);
		case '"':
			found->kind = DOC_PICK_STRING;
			found->text = plain_string(&p->at, &found->length);
			return found->text != NULL;
		case 't':
			found->kind = DOC_PICK_BOOL;
			return plain_word(&p->at, "true");
		case 'f':
			found->kind = DOC_PICK_BOOL;
			return plain_word(&p->at, "false");
		case 'n':
			found->kind = DOC_PICK_NULL;
			return plain_word(&p->at, "null");
		default:
			found->kind = DOC_PICK_NUMBER;
			return plain_number(&p->at, &found->number, &found->decimals);
	}
}

static bool
pick_value(Picker *p, uint32 wanted)
{
	DocPick found;
	uint32 here = 0;

	for (uint32 rest = wanted; rest != 0; rest &= rest - 1)
		if (p->picks[pg_rightmost_one_pos32(rest)].path[p->level] == NULL)
			here |= rest & -rest;
	plain_skip_blanks(&p->at);
	if (!read_value(p, &found, wanted & ~here))
		return false;
	for (; here != 0; here &= here - 1)
	{
		DocPick *pick = &p->picks[pg_rightmost_one_pos32(here)];

		found.path = pick->path;
		*pick = found;
	}
	return true;
}

bool
doc_pick(const char *text, int length, DocPick *picks, int count)
{
	Picker p = {.picks = picks};
	char *copy;

	Assert(count < 32);
	if (length > PLAIN_BYTES || GetDatabaseEncoding() != PG_UTF8 ||
		!pg_verify_mbstr(PG_UTF8, text, length, true))
		return false;
	copy = p.at = palloc(length + 1);
	memcpy(copy, text, length);
	copy[length] = '\0';
	for (int i = 0; i < count; i++)
		picks[i].kind = DOC_PICK_NONE;
	plain_skip_blanks(&p.at);
	if ((*p.at != '{' && *p.at != '[') || !pick_value(&p, (1u << count) - 1))
		return false;
	plain_skip_blanks(&p.at);
	return p.at == copy + length;
}
