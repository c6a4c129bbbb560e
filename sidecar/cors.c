/*
 * cors.c
 *		Whether a page of another origin may read what we answer.
 *
 * Only a browser asks.  It sends no cookies of ours, for there are none: who may what
 * is decided by tokens alone, so naming an origin here opens nothing by itself.
 */
#include "cors.h"

#include <string.h>

#define EXPOSED \
	"Content-Location, Content-Profile, Content-Range, Content-Type, Location, " \
	"Preference-Applied, Range-Unit, Retry-After, X-RateLimit-Limit, " \
	"X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-ID, X-Trace-ID"
#define ACCEPTED_BEFORE \
	"Accept, Accept-Profile, Authorization, Content-Profile, Content-Type, Prefer, " \
	"Range, Range-Unit, X-API-Key, X-Client-Info, X-Request-ID, X-Skip-Cache, " \
	"X-Tenant-ID, X-Trace-ID"
#define REMEMBER_SECONDS "86400"

/* Longer ones are no origin; and a header of ours is made of it. */
#define ORIGIN_LIMIT 255

/* Whether the comma-separated list has the origin. */
static bool
lists(const char *list, const char *origin)
{
	size_t wanted = strlen(origin);

	while (*list)
	{
		size_t length;

		list += strspn(list, ", ");
		length = strcspn(list, ", ");
		if (length == wanted && strncmp(list, origin, length) == 0)
			return true;
		list += length;
	}
	return false;
}

/* Adds Access-Control-Allow-Origin; false where the origin may not. */
static bool
add_origin(Buffer *headers, const Config *config, const HttpHead *head)
{
	const char *origin = http_head_value(head, "origin");
	bool all = strcmp(config->cors_origins, "*") == 0;

	if (*config->cors_origins == '\0')
		return false;
	if (!all)
		buffer_add_text(headers, "Vary: Origin\r\n");
	if (origin == NULL || strlen(origin) > ORIGIN_LIMIT ||
		(!all && !lists(config->cors_origins, origin)))
		return false;
	buffer_add_text(headers, "Access-Control-Allow-Origin: ");
	buffer_add_text(headers, all ? "*" : origin);
	buffer_add_text(headers, "\r\n");
	return true;
}

void
cors_add_headers(Buffer *headers, const Config *config, const HttpHead *head)
{
	if (add_origin(headers, config, head))
		buffer_add_text(headers, "Access-Control-Expose-Headers: " EXPOSED "\r\n");
}

void
cors_add_permission(Buffer *headers, const Config *config, const HttpHead *head,
					const char *methods)
{
	Buffer ignored = {0};

	/* The answer itself has the origin already. */
	if (http_head_value(head, "access-control-request-method") &&
		add_origin(&ignored, config, head))
		buffer_add_format(headers,
						  "Access-Control-Allow-Methods: %s\r\n"
						  "Access-Control-Allow-Headers: " ACCEPTED_BEFORE "\r\n"
						  "Access-Control-Max-Age: " REMEMBER_SECONDS "\r\n",
						  methods);
	buffer_free(&ignored);
}
