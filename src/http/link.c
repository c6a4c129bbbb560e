/*
 * link.c
 *		A connection of libcurl's, without its protocols.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <signal.h>

#include "base/compat.h"
#include "http/link.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/timestamp.h"

struct HttpLink
{
	CURL *easy;
	curl_socket_t socket;
};

/* --- opening ------------------------------------------------------------------------- */

static CURLcode
set_target(CURL *easy, const HttpLinkTarget *target, int timeout_ms)
{
	bool is_ipv6 = strchr(target->host, ':') != NULL;
	char *url =
		psprintf("%s://%s%s%s:%d", target->is_tls ? "https" : "http", is_ipv6 ? "[" : "",
				 target->host, is_ipv6 ? "]" : "", target->port);
	CURLcode result = curl_easy_setopt(easy, CURLOPT_URL, url);

	if (result == CURLE_OK && target->ca_file != NULL)
		result = curl_easy_setopt(easy, CURLOPT_CAINFO, target->ca_file);
	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) timeout_ms);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	/* What is spoken is not HTTP. */
	curl_easy_setopt(easy, CURLOPT_SSL_ENABLE_ALPN, 0L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Do not wait for a resolver that does not answer. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
	pfree(url);
	return result;
}

/* The resolver's thread inherits the mask: a handler of the server must not run there. */
static CURLcode
perform(CURL *easy)
{
	sigset_t all, saved;
	CURLcode result;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &saved);
	result = curl_easy_perform(easy);
	sigprocmask(SIG_SETMASK, &saved, NULL);
	return result;
}

HttpLink *
link_open(const HttpLinkTarget *target, int timeout_ms, char **reason)
{
	HttpLink *link = NULL;
	CURL *easy = NULL;
	CURLcode result = CURLE_OUT_OF_MEMORY;

	if (!AcquireExternalFD())
	{
		*reason = pstrdup("no file descriptor is left");
		return NULL;
	}
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		easy = curl_easy_init();
	if (easy != NULL)
		result = set_target(easy, target, timeout_ms);
	if (result == CURLE_OK)
		result = perform(easy);
	if (result == CURLE_OK)
		link = malloc(sizeof(HttpLink));
	if (link == NULL)
	{
		*reason = pstrdup(curl_easy_strerror(result));
		curl_easy_cleanup(easy);
		ReleaseExternalFD();
		return NULL;
	}
	link->easy = easy;
	curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &link->socket);
	return link;
}

void
link_close(HttpLink *link)
{
	curl_easy_cleanup(link->easy);
	free(link);
	ReleaseExternalFD();
}

/* --- bytes ------------------------------------------------------------------------------ */

/* False when the deadline has come. */
static bool
wait_for(const HttpLink *link, int event, TimestampTz deadline)
{
	static uint32 wait_event = 0;
	long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
	int events;

	if (left <= 0)
		return false;
	events = WaitLatchOrSocket(MyLatch,
							   WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_TIMEOUT | event,
							   link->socket, left,
							   compat_named_wait(&wait_event, "FactoryLink"));
	if (events & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}

bool
link_send(HttpLink *link, const char *bytes, size_t length, TimestampTz deadline)
{
	while (length > 0)
	{
		size_t sent = 0;
		CURLcode result = curl_easy_send(link->easy, bytes, length, &sent);

		if (result == CURLE_AGAIN)
		{
			if (!wait_for(link, WL_SOCKET_WRITEABLE, deadline))
				return false;
		}
		else if (result != CURLE_OK)
			return false;
		bytes += sent;
		length -= sent;
	}
	return true;
}

size_t
link_receive(HttpLink *link, char *bytes, size_t size, TimestampTz deadline)
{
	for (;;)
	{
		size_t received = 0;
		CURLcode result = curl_easy_recv(link->easy, bytes, size, &received);

		if (result != CURLE_AGAIN)
			return result == CURLE_OK ? received : 0;
		if (!wait_for(link, WL_SOCKET_READABLE, deadline))
			return 0;
	}
}
