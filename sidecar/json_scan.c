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
	while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')
		at++;
	return at;
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

/* --- plain objects ------------------------------------------------------------------- */

/* A longer number may be too great for a parser. */
#define PLAIN_NUMBER_MOST 40

/* Behind a string of ASCII without escapes; NULL where there is none. */
static const char *
skip_plain_string(const char *at)
{
	if (*at != '"')
		return NULL;
	for (at++; *at != '"'; at++)
		if ((unsigned char) *at < ' ' || (unsigned char) *at >= 0x80 || *at == '\\')
			return NULL;
	return at + 1;
}

static const char *
skip_digits(const char *at)
{
	while (*at >= '0' && *at <= '9')
		at++;
	return at;
}

/* Behind a number without an exponent; NULL where there is none. */
static const char *
skip_plain_number(const char *number)
{
	const char *whole = number + (*number == '-');
	const char *at = skip_digits(whole);

	if (at == whole || (*whole == '0' && at > whole + 1))
		return NULL;
	if (*at == '.')
	{
		const char *fraction = at + 1;

		at = skip_digits(fraction);
		if (at == fraction)
			return NULL;
	}
	return at - number <= PLAIN_NUMBER_MOST ? at : NULL;
}

static const char *
skip_plain_value(const char *at)
{
	static const char *const words[] = {"true", "false", "null"};

	if (*at == '"')
		return skip_plain_string(at);
	if (*at == '-' || (*at >= '0' && *at <= '9'))
		return skip_plain_number(at);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(at, words[i], strlen(words[i])) == 0)
			return at + strlen(words[i]);
	return NULL;
}

/* The place behind a member and the space that follows; NULL where it is not plain. */
static const char *
take_plain_member(const char *at, JsonMember *member)
{
	const char *end = skip_plain_string(at);

	if (end == NULL)
		return NULL;
	member->name = at + 1;
	member->name_length = end - at - 2;
	at = skip_space(end);
	if (*at != ':')
		return NULL;
	member->value = skip_space(at + 1);
	end = skip_plain_value(member->value);
	if (end == NULL)
		return NULL;
	member->length = end - member->value;
	return skip_space(end);
}

static const JsonMember *
find_member(const JsonPlain *plain, const char *name, size_t length)
{
	for (int i = 0; i < plain->count; i++)
		if (plain->members[i].name_length == length &&
			memcmp(plain->members[i].name, name, length) == 0)
			return &plain->members[i];
	return NULL;
}

const JsonMember *
json_plain_member(const JsonPlain *plain, const char *name)
{
	return find_member(plain, name, strlen(name));
}

bool
json_scan_plain(const char *text, size_t length, JsonPlain *plain)
{
	const char *at = skip_space(text);
	bool more;

	plain->count = 0;
	if (*at != '{')
		return false;
	at = skip_space(at + 1);
	more = *at != '}';
	while (more)
	{
		JsonMember member;

		at = take_plain_member(at, &member);
		if (at == NULL || plain->count == JSON_PLAIN_MOST ||
			find_member(plain, member.name, member.name_length))
			return false;
		plain->members[plain->count++] = member;
		more = *at == ',';
		if (more)
			at = skip_space(at + 1);
	}
	return *at == '}' && skip_space(at + 1) == text + length;
}
