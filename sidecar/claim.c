/*
 * claim.c
 *		A claim of a token by its name, or by the way to it.
 */
#include "claim.h"

#include <stdlib.h>
#include <string.h>

/* One step of a way: a name, or a place in a list. */
typedef struct Step
{
	const char *name; /* NULL for a place */
	size_t length;
	size_t place;
} Step;

/* Cuts one step off the front; false where there is none that is good. */
static bool
next_step(const char **way, Step *step)
{
	const char *at = *way;
	char *end;

	*step = (Step){NULL, 0, 0};
	if (*at == '[')
	{
		if (at[1] < '0' || at[1] > '9')
			return false;
		step->place = strtoul(at + 1, &end, 10);
		*way = end + 1;
		return *end == ']';
	}
	if (*at != '.')
		return false;
	step->name = ++at;
	step->length = strcspn(at, ".[\"");
	if (*at == '"')
	{
		step->name = ++at;
		step->length = strcspn(at, "\"");
		*way = at + step->length + 1;
		return at[step->length] == '"';
	}
	*way = at + step->length;
	return step->length > 0 && **way != '"';
}

bool
claim_name_is_good(const char *name)
{
	Step step;

	if (*name != '.')
		return true;
	while (*name)
		if (!next_step(&name, &step))
			return false;
	return true;
}

static const json_t *
take_step(const json_t *claims, const Step *step)
{
	char *name;
	const json_t *found;

	if (step->name == NULL)
		return json_array_get(claims, step->place);
	name = strndup(step->name, step->length);
	found = json_object_get(claims, name);
	free(name);
	return found;
}

const json_t *
claim_find(const json_t *claims, const char *name)
{
	Step step;

	if (*name != '.')
		return *name ? json_object_get(claims, name) : NULL;
	while (claims && *name)
	{
		if (!next_step(&name, &step))
			return NULL;
		claims = take_step(claims, &step);
	}
	return claims;
}
