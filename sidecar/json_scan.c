/*
 * json_scan.c
 *		The text of a JSON document's parts, as it was sent.
 */
#include "json_scan.h"

#include <jansson.h>
#include <string.h>

static const char *
skip_space(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

/* Behind the closing quote. */
static const char *
skip_string(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	return *at ? at + 1 : at;
}

static const char *
skip_value(const char *at)
{
	int depth = 0;

	if (*at == '"')
		return skip_string(at);
	if (*at != '{' && *at != '[')
		return at + strcspn(at, ",]} \t\r\n");
	while (*at)
	{
		if (*at == '"')
		{
			at = skip_string(at);
			continue;
		}
		depth += *at == '{' || *at == '[';
		depth -= *at == '}' || *at == ']';
		at++;
		if (depth == 0)
			break;
	}
	return at;
}

static bool
key_is(const char *key, size_t length, const char *name)
{
	json_t *decoded;
	bool same;

	if (memchr(key, '\\', length) == NULL)
		return length - 2 == strlen(name) && memcmp(key + 1, name, length - 2) == 0;
	decoded = json_loadb(key, length, JSON_DECODE_ANY, NULL);
	same = decoded && strcmp(json_string_value(decoded), name) == 0;
	json_decref(decoded);
	return same;
}

bool
json_scan_member(const char *object, const char *name, const char **value, size_t *length)
{
	const char *at = skip_space(object);
	bool found = false;

	if (*at != '{')
		return false;
	at = skip_space(at + 1);
	while (*at == '"')
	{
		const char *key = at;
		size_t key_length;
		const char *end;

		at = skip_string(at);
		key_length = at - key;
		at = skip_space(at);
		if (*at == ':')
			at = skip_space(at + 1);
		end = skip_value(at);
		if (key_is(key, key_length, name))
		{
			*value = at;
			*length = end - at;
			found = true;
		}
		at = skip_space(end);
		if (*at == ',')
			at = skip_space(at + 1);
	}
	return found;
}
