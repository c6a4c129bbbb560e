/*
 * http.c
 *		Feeds bytes to factoryd's parsers: request heads, chunk sizes, query strings with
 *		their aggregates and spreads, forms, CSV, JSON members, bearer tokens, text.
 *
 * Built with libFuzzer (make -C sidecar fuzz, needs clang) it searches; built with
 * REPLAY it runs the files it is given once, which is what the tests do.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "csv.h"
#include "form.h"
#include "http_parse.h"
#include "json_scan.h"
#include "jwt.h"
#include "rest_query.h"
#include "text.h"

static char *
copy_bytes(const uint8_t *data, size_t size)
{
	char *copy = memory_new(size + 1);

	memcpy(copy, data, size);
	return copy;
}

/* A head is only parsed up to its first empty line: so it is here. */
static void
try_head(const uint8_t *data, size_t size)
{
	char *text = copy_bytes(data, size);
	char *end = memmem(text, size, "\r\n\r\n", 4);
	HttpHead head;
	const char *why;

	if (end && http_parse_head(text, end + 4 - text, &head, &why) == 0)
	{
		http_head_value(&head, "content-type");
		http_decode_escapes(head.path, false);
	}
	free(text);
}

static void
try_chunk(const uint8_t *data, size_t size)
{
	char *text = copy_bytes(data, size);
	uint64_t length;

	http_parse_chunk_size(text, &length);
	free(text);
}

static bool
is_short(const char *name, void *context)
{
	(void) context;
	return strlen(name) == 1;
}

static void
try_query(const uint8_t *data, size_t size)
{
	RestQuery query;
	char *text = copy_bytes(data, size);

	memset(&query, 0, sizeof(query));
	if (!rest_query_read(&query, text, size % 2 ? is_short : NULL, NULL) &&
		(query.code == NULL || query.message == NULL))
		abort();
	rest_query_free(&query);
	free(text);
}

static void
try_form(const uint8_t *data, size_t size)
{
	char *text = copy_bytes(data, size);

	json_decref(form_fields(text, size % 2));
	free(text);
}

/* What comes out of CSV is JSON. */
static void
try_csv(const uint8_t *data, size_t size)
{
	char *text = copy_bytes(data, size);
	char *rows = csv_as_json(text);
	json_t *read = rows ? json_loads(rows, 0, NULL) : NULL;

	if (rows && !json_is_array(read))
		abort();
	json_decref(read);
	free(rows);
	free(text);
}

static void
try_json(const uint8_t *data, size_t size)
{
	char *text = copy_bytes(data, size);
	json_t *object = json_loads(text, 0, NULL);
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		const char *found;
		size_t length;

		if (!json_scan_member(text, key, &found, &length) || length == 0)
			abort();
	}
	json_decref(object);
	free(text);
}

static void
compare_member(const char *text, const json_t *object, const JsonMember *member)
{
	char *name = strndup(member->name, member->name_length);
	json_t *value = json_loadb(member->value, member->length,
							   JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
	const char *found;
	size_t length;

	if (!json_equal(value, json_object_get(object, name)) ||
		!json_scan_member(text, name, &found, &length) || found != member->value ||
		length != member->length)
		abort();
	json_decref(value);
	free(name);
}

/* What is read as plain is what a parser reads. */
static void
try_plain(const uint8_t *data, size_t size)
{
	char *text = copy_bytes(data, size);
	JsonPlain plain;
	json_t *object;

	if (json_scan_plain(text, size, &plain))
	{
		object = json_loadb(text, size, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
		if (!json_is_object(object) || json_object_size(object) != (size_t) plain.count)
			abort();
		for (int i = 0; i < plain.count; i++)
			compare_member(text, object, &plain.members[i]);
		json_decref(object);
	}
	free(text);
}

static void
try_token(const uint8_t *data, size_t size)
{
	static JwtKeys *keys;
	char *text = copy_bytes(data, size);
	json_t *claims;

	if (keys == NULL)
		keys = jwt_keys_open("the secret of the tests has 32 bytes or more", "");
	if (jwt_verify(text, keys, &claims) == JWT_GOOD)
		json_decref(claims);
	free(text);
}

/* Any text becomes a JSON string: itself where it is UTF-8, as another parser sees it. */
static void
try_text(const uint8_t *data, size_t size)
{
	char *text = copy_bytes(data, size);
	bool good = text_is_utf8(text, strlen(text));
	json_t *string = json_string(text);
	Buffer written = {0};
	json_t *read;

	buffer_add_json(&written, text);
	read = json_loadb(buffer_bytes(&written), written.length, JSON_DECODE_ANY, NULL);
	if (good != (string != NULL) || !json_is_string(read) ||
		strcmp(json_string_value(read), good ? text : "(not UTF-8)") != 0)
		abort();
	json_decref(string);
	json_decref(read);
	buffer_free(&written);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_head(data, size);
	try_chunk(data, size);
	try_query(data, size);
	try_form(data, size);
	try_csv(data, size);
	try_json(data, size);
	try_plain(data, size);
	try_token(data, size);
	try_text(data, size);
	return 0;
}

#ifdef REPLAY
int
main(int argc, char **argv)
{
	static uint8_t bytes[1 << 20];

	for (int i = 1; i < argc; i++)
	{
		FILE *file = fopen(argv[i], "rb");
		size_t size;

		if (file == NULL)
			return 1;
		size = fread(bytes, 1, sizeof(bytes), file);
		fclose(file);

		/* Whole, and cut short at each place. */
		for (size_t length = 0; length <= size; length += size > 4096 ? 97 : 1)
			LLVMFuzzerTestOneInput(bytes, length);
		LLVMFuzzerTestOneInput(bytes, size);
	}
	printf("%d files\n", argc - 1);
	return 0;
}
#endif
