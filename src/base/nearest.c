/*
 * nearest.c
 *		"Did you mean": the known name closest to a misspelt one.
 */
#include "postgres.h"

#include "base/nearest.h"
#include "utils/varlena.h"

/* The server's own distance function takes no longer text. */
#define NEAREST_MAX_LENGTH 255

const char *
nearest_name(const char *given, const char *const *known, int count)
{
	const char *best = NULL;
	int given_length = strlen(given);
	/* A third of the letters may be wrong; two letters swapped count as two. */
	int limit = (given_length + 2) / 3;

	if (given_length > NEAREST_MAX_LENGTH)
		return NULL;
	for (int i = 0; i < count; i++)
	{
		int length = strlen(known[i]);
		int distance;

		if (length > NEAREST_MAX_LENGTH)
			continue;
		distance = varstr_levenshtein_less_equal(given, given_length, known[i], length, 1,
												 1, 1, limit, false);
		if (distance <= limit)
		{
			best = known[i];
			limit = distance - 1;
			if (limit < 0)
				break;
		}
	}
	return best;
}
