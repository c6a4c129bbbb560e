/*
 * url.c
 *		Looking at URLs with curl's own parser, which is the one that counts.
 */
#include "postgres.h"

#include <ctype.h>

#include "http/http.h"
#include "http/http_int.h"

static bool
url_has(CURLU *url, CURLUPart part)
{
	char *text = NULL;
	bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;

	curl_free(text);
	return has;
}

static bool
scheme_is_ours(CURLU *url)
{
	char *scheme = NULL;
	bool ours = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
				(strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);

	curl_free(scheme);
	return ours;
}

static const char *
url_fault(CURLU *url, const char *text)
{
	if (url == NULL)
		return "there is not enough memory";
	if (curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		return "it is not a URL";
	if (!scheme_is_ours(url))
		return "it does not begin with http:// or https://";
	if (!url_has(url, CURLUPART_HOST))
		return "it names no host";
	if (url_has(url, CURLUPART_USER) || url_has(url, CURLUPART_PASSWORD))
		return "it carries a user or password";
	if (url_has(url, CURLUPART_FRAGMENT))
		return "it carries a fragment";
	return NULL;
}

char *
http_url_error(const char *text)
{
	CURLU *url = curl_url();
	const char *fault = url_fault(url, text);

	curl_url_cleanup(url);
	return fault ? pstrdup(fault) : NULL;
}

char *
http_url_host(const char *text)
{
	CURLU *url = curl_url();
	char *part = NULL;
	char *host = NULL;

	if (url != NULL && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_HOST, &part, 0) == CURLUE_OK)
	{
		size_t length = strlen(part);

		host =
			part[0] == '[' && length > 1 ? pnstrdup(part + 1, length - 2) : pstrdup(part);
	}
	curl_free(part);
	curl_url_cleanup(url);
	return host;
}

char *
http_url_escape(const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	char *escaped = palloc(3 * strlen(text) + 1);
	char *out = escaped;

	for (const char *c = text; *c; c++)
	{
		if ((!IS_HIGHBIT_SET(*c) && isalnum((unsigned char) *c)) ||
			strchr("-._~", *c) != NULL)
			*out++ = *c;
		else
		{
			*out++ = '%';
			*out++ = hex[(unsigned char) *c >> 4];
			*out++ = hex[(unsigned char) *c & 15];
		}
	}
	*out = '\0';
	return escaped;
}

char *
http_url_join(const char *base, const char *path)
{
	size_t end = strcspn(base, "?#");
	size_t length = end;

	while (length > 0 && base[length - 1] == '/')
		length--;
	return psprintf("%.*s%s%s", (int) length, base, path, base + end);
}
