/*
 * rest_head.c
 *		What a request's headers ask of the answer: its form, its range, its schema.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "catalog.h"
#include "rest.h"
#include "text.h"

/* A type with its length. */
#define TYPE(type) type, sizeof(type) - 1

static const RestMedia media[] = {
	{TYPE("application/json"), JSON_TYPE, SHAPE_JSON, false},
	{TYPE("application/vnd.pgrst.object+json"),
	 "application/vnd.pgrst.object+json; charset=utf-8", SHAPE_JSON, true},
	{TYPE("application/vnd.pgrst.object"),
	 "application/vnd.pgrst.object+json; charset=utf-8", SHAPE_JSON, true},
	{TYPE("application/vnd.pgrst.array+json"), JSON_TYPE, SHAPE_JSON, false},
	{TYPE("application/vnd.pgrst.array"), JSON_TYPE, SHAPE_JSON, false},
	{TYPE("text/csv"), "text/csv; charset=utf-8", SHAPE_COLUMNS, false},
	{TYPE("application/*"), JSON_TYPE, SHAPE_JSON, false},
	{TYPE("text/*"), "text/csv; charset=utf-8", SHAPE_COLUMNS, false},
	{TYPE("*/*"), JSON_TYPE, SHAPE_JSON, false},
};

#define MEDIA_ANY (sizeof(media) / sizeof(media[0]) - 1)

static const RestRaw raws[] = {
	{TYPE("text/plain"), "text/plain; charset=utf-8", NULL, false},
	{TYPE("text/xml"), "text/xml; charset=utf-8", "pg_catalog.xml", false},
	{TYPE("application/octet-stream"), "application/octet-stream", NULL, true},
};

/* The next of a comma-separated list, its length without white space; NULL at the end. */
static const char *
next_in_list(const char **list, size_t *length)
{
	const char *start = *list + strspn(*list, " \t,");
	const char *end = start + strcspn(start, ",");

	*list = end;
	while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*length = end - start;
	return *start ? start : NULL;
}

void
rest_reply_no_media(Exchange *exchange)
{
	exchange_reply_problem(
		exchange, 406, "PGRST107", "None of these media types are available.", NULL,
		"Ask for application/json, application/vnd.pgrst.object+json or "
		"text/csv; for a single value text/plain or application/octet-stream, too.");
}

static const RestRaw *
find_raw(const char *type, size_t length)
{
	for (size_t i = 0; i < sizeof(raws) / sizeof(raws[0]); i++)
		if (raws[i].type_length == length && strncasecmp(raws[i].type, type, length) == 0)
			return &raws[i];
	return NULL;
}

bool
rest_read_accept(Exchange *exchange)
{
	const char *accept = http_head_value(&exchange->request->head, "accept");
	const char *one;
	size_t length;

	if (accept == NULL || *accept == '\0')
	{
		exchange->rest->media = media[MEDIA_ANY];
		return true;
	}
	while ((one = next_in_list(&accept, &length)) != NULL)
	{
		size_t type = strcspn(one, ";, ");

		if (exchange->rest->raw == NULL)
			exchange->rest->raw = find_raw(one, type);
		for (size_t i = 0; i < sizeof(media) / sizeof(media[0]); i++)
		{
			if (media[i].type_length != type ||
				strncasecmp(media[i].type, one, type) != 0)
				continue;
			exchange->rest->media = media[i];
			if (media[i].shape == SHAPE_JSON &&
				memmem(one, length, "nulls=stripped", 14) != NULL)
				exchange->rest->media.shape = SHAPE_STRIPPED;
			return true;
		}
	}
	exchange->rest->only_raw = exchange->rest->raw != NULL;
	exchange->rest->media = media[0];
	if (exchange->rest->only_raw)
		return true;
	rest_reply_no_media(exchange);
	return false;
}

static void
set_return(RestPreferences *prefer, int value)
{
	prefer->returns = (RestReturn) value;
	prefer->returns_said = true;
}

static void
set_conflict(RestPreferences *prefer, int value)
{
	prefer->conflict = (RestConflict) value;
	prefer->conflict_said = true;
}

static void
set_counting(RestPreferences *prefer, int value)
{
	prefer->counting = (RestCounting) value;
}

static void
set_defaults(RestPreferences *prefer, int value)
{
	prefer->defaults = value;
}

static void
set_strict(RestPreferences *prefer, int value)
{
	prefer->strict = value;
}

static void
set_rollback(RestPreferences *prefer, int value)
{
	prefer->rolls_back = value;
}

static const struct
{
	const char *text;
	void (*set)(RestPreferences *prefer, int value);
	int value;
} preferences[] = {
	{"return=minimal", set_return, RETURN_MINIMAL},
	{"return=headers-only", set_return, RETURN_HEADERS},
	{"return=representation", set_return, RETURN_ROWS},
	{"resolution=merge-duplicates", set_conflict, CONFLICT_MERGE},
	{"resolution=ignore-duplicates", set_conflict, CONFLICT_IGNORE},
	{"count=exact", set_counting, COUNTING_EXACT},
	{"count=planned", set_counting, COUNTING_PLANNED},
	{"count=estimated", set_counting, COUNTING_ESTIMATED},
	{"missing=default", set_defaults, true},
	{"missing=null", set_defaults, false},
	{"tx=commit", set_rollback, false},
	{"tx=rollback", set_rollback, true},
	{"handling=strict", set_strict, true},
	{"handling=lenient", set_strict, false},
};

/* Whether there is such a zone the database will say. */
static bool
read_timezone(RestPreferences *prefer, const char *text, size_t length)
{
	static const char name[] = "timezone=";
	size_t start = strlen(name);

	if (length <= start || strncmp(text, name, start) != 0 ||
		length - start >= sizeof(prefer->timezone))
		return false;
	memcpy(prefer->timezone, text + start, length - start);
	prefer->timezone[length - start] = '\0';
	return text_is_utf8(prefer->timezone, length - start);
}

/* False where the preference is none that we know. */
static bool
read_preference(RestPreferences *prefer, const char *text, size_t length)
{
	static const char affected[] = "max-affected=";

	for (size_t i = 0; i < sizeof(preferences) / sizeof(preferences[0]); i++)
		if (strlen(preferences[i].text) == length &&
			strncmp(preferences[i].text, text, length) == 0)
		{
			preferences[i].set(prefer, preferences[i].value);
			return true;
		}
	if (length > strlen(affected) && strncmp(text, affected, strlen(affected)) == 0)
	{
		prefer->max_affected = strtoll(text + strlen(affected), NULL, 10);
		return prefer->max_affected >= 0;
	}
	return read_timezone(prefer, text, length);
}

bool
rest_read_prefer(Exchange *exchange)
{
	const HttpHead *head = &exchange->request->head;
	RestPreferences *prefer = &exchange->rest->prefer;
	Buffer unknown = {0};
	char *detail;

	prefer->max_affected = -1;
	if (http_head_value(head, "prefer") == NULL)
		return true;
	for (int i = 0; i < head->header_count; i++)
	{
		const char *list = head->headers[i].value;
		const char *one;
		size_t length;

		if (strcmp(head->headers[i].name, "prefer") != 0)
			continue;
		while ((one = next_in_list(&list, &length)) != NULL)
		{
			if (read_preference(prefer, one, length))
				continue;
			buffer_add_text(&unknown, unknown.length ? ", " : "Invalid preferences: ");
			buffer_add(&unknown, one, length);
		}
	}
	exchange->call.timezone = *prefer->timezone ? prefer->timezone : NULL;
	if (prefer->rolls_back && exchange->factoryd->config->tx_rollback)
		exchange->call.rolls_back = true;
	else if (prefer->rolls_back)
		buffer_add_format(&unknown, "%stx=rollback",
						  unknown.length ? ", " : "Invalid preferences: ");
	if (unknown.length == 0 || !prefer->strict)
	{
		if (!prefer->strict)
			prefer->max_affected = -1;
		buffer_free(&unknown);
		return true;
	}
	detail = buffer_detach(&unknown);
	exchange_reply_problem(exchange, 400, "PGRST122",
						   "Invalid preferences given with handling=strict", detail,
						   NULL);
	free(detail);
	return false;
}

/* "0-24" or "5-"; what is no range of items is ignored. */
void
rest_read_range(Exchange *exchange)
{
	const char *range = http_head_value(&exchange->request->head, "range");
	RestLevel *top = &exchange->rest->query.top;
	long long first;
	long long last;
	char end;
	int read;

	if (range == NULL || strcmp(exchange->request->head.method, "GET") != 0 ||
		strchr(range, '=') || exchange->rest->query.has_limit)
		return;
	read = sscanf(range, "%lld-%lld%c", &first, &last, &end);
	if (read < 1 || read > 2 || first < 0)
		return;
	if (read == 2 && last < first)
	{
		exchange->rest->offset_over = true;
		return;
	}
	top->offset += first;
	if (read == 2)
		top->limit = last - first + 1;
}

bool
rest_profile(Exchange *exchange, const char **schema)
{
	const HttpHead *head = &exchange->request->head;
	bool reads = strcmp(head->method, "GET") == 0 || strcmp(head->method, "HEAD") == 0;
	const char *wanted =
		http_head_value(head, reads ? "accept-profile" : "content-profile");
	int count;
	const char *const *schemas = catalog_schemas(exchange->factoryd->catalog, &count);
	Buffer hint = {0};
	char *message;

	*schema = NULL;
	if (wanted == NULL)
		return true;
	for (int i = 0; i < count; i++)
	{
		buffer_add_text(&hint, i ? ", " : "Only the following schemas are exposed: ");
		buffer_add_text(&hint, schemas[i]);
		if (strcmp(schemas[i], wanted) == 0)
			*schema = schemas[i];
	}
	if (*schema)
	{
		buffer_free(&hint);
		buffer_add_format(&exchange->extra, "Content-Profile: %s\r\n", *schema);
		return true;
	}
	message = text_format("Invalid schema: %.100s", wanted);
	exchange_reply_problem(exchange, 406, "PGRST106", message, NULL, buffer_text(&hint));
	free(message);
	buffer_free(&hint);
	return false;
}
