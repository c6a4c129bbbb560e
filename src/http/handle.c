/*
 * handle.c
 *		curl's handles: what they are told of a request, and what they tell us.
 *
 * A handle is made for one kind of request: a URL, a method, whom it trusts.  Most of
 * what curl is told does not change from one such request to the next, so a handle that
 * is through is kept for the next.
 *
 * What is allocated here is malloc'd: a handle outlives every memory context, and a
 * callback must not raise, for an error would jump through libcurl.
 */
#include "postgres.h"

#include <limits.h>
#include <unistd.h>

#include "http/http_int.h"
#include "storage/fd.h"

/* Handles that wait for their next request. */
#define HANDLE_MAX_IDLE 32

struct HttpHandle
{
	dlist_node node; /* in idle */
	CURL *easy;
	HttpTransfer *transfer; /* NULL while idle */
	struct curl_slist *header_lines;

	/* what it is for */
	char *url;
	char *method;
	char *ca_file; /* NULL: the system's authorities */
	char *proxy;
	bool allow_http;
	bool has_body;
};

static dlist_head idle = DLIST_STATIC_INIT(idle); /* the one used last in front */
static int idle_count = 0;

/* --- curl's callbacks: nothing here may raise -------------------------------------- */

/* A thread may be started for it. */
static int
resolver_starts(void *state, void *reserved, void *arg)
{
	HttpTransfer *transfer = ((HttpHandle *) arg)->transfer;

	if (!transfer->is_resolving)
		engine_resolver_starts();
	transfer->is_resolving = true;
	return 0;
}

static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpTransfer *transfer = ((HttpHandle *) arg)->transfer;
	const char *denial = transfer->allow_private ? NULL : egress_denial(&address->addr);
	int fd;

	if (transfer->phase < PHASE_CONNECT)
		transfer->phase = PHASE_CONNECT;
	if (denial != NULL)
	{
		transfer->denial = denial;
		return CURL_SOCKET_BAD;
	}
	transfer->no_descriptor = !AcquireExternalFD();
	if (transfer->no_descriptor)
		return CURL_SOCKET_BAD;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd < 0)
		ReleaseExternalFD();
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* A connection outlives its transfer, so this knows nothing of transfers. */
static int
close_socket(void *arg, curl_socket_t socket)
{
	engine_socket_closes(socket);
	ReleaseExternalFD();
	return close(socket);
}

/*
 * Connected, nothing sent yet.  A connection may have been opened by a request
 * that was allowed more than this one, so its peer is judged again.
 */
static int
before_request(void *arg, char *peer, char *self, int peer_port, int self_port)
{
	HttpTransfer *transfer = ((HttpHandle *) arg)->transfer;

	transfer->phase = PHASE_SEND;
	transfer->denial = transfer->allow_private ? NULL : egress_denial_text(peer);
	return transfer->denial ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* Does a header's name have that word in it, which is in lower case? */
static bool
name_has(const char *line, size_t length, const char *word)
{
	size_t wanted = strlen(word);

	for (size_t i = 0; i + wanted <= length && line[i] != ':'; i++)
		if ((line[i] | 0x20) == *word && pg_strncasecmp(line + i, word, wanted) == 0)
			return true;
	return false;
}

static size_t
take_header(char *line, size_t size, size_t count, void *arg)
{
	HttpTransfer *transfer = ((HttpHandle *) arg)->transfer;

	transfer->phase = PHASE_RECEIVE;
	transfer->header_bytes += size * count;
	if (transfer->header_bytes > HTTP_MAX_HEADER_BYTES)
	{
		transfer->too_large = true;
		return 0;
	}
	transfer->says_retry |= size * count > 5 && pg_strncasecmp(line, "retry", 5) == 0;
	if (transfer->keep_headers != NULL)
		transfer->says_wanted |= name_has(line, size * count, transfer->keep_headers);
	return size * count;
}

static bool
make_room(HttpTransfer *transfer, size_t wanted)
{
	size_t room = Max(transfer->body_room, 8192);
	char *body;

	if (wanted <= transfer->body_room)
		return true;
	while (room < wanted)
		room *= 2;
	body = realloc(transfer->body, room);
	if (body == NULL)
		return false;
	transfer->body = body;
	transfer->body_room = room;
	return true;
}

static size_t
take_body(char *piece, size_t size, size_t count, void *arg)
{
	HttpTransfer *transfer = ((HttpHandle *) arg)->transfer;
	size_t length = size * count;

	if (transfer->body_length + length > transfer->max_answer)
	{
		transfer->too_large = true;
		return 0;
	}
	if (!make_room(transfer, transfer->body_length + length))
		return 0;
	memcpy(transfer->body + transfer->body_length, piece, length);
	transfer->body_length += length;
	return length;
}

/* --- what curl is told once ------------------------------------------------------------ */

#define SET(option, value) \
	(result = result == CURLE_OK ? curl_easy_setopt(easy, option, value) : result)

static CURLcode
set_limits(HttpHandle *handle)
{
	CURL *easy = handle->easy;
	CURLcode result = CURLE_OK;

	SET(CURLOPT_PROTOCOLS_STR, handle->allow_http ? "http,https" : "https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, handle->proxy);
	SET(CURLOPT_NOPROXY, "");
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	if (handle->ca_file != NULL)
		SET(CURLOPT_CAINFO, handle->ca_file);
	/* The limits of time are ours; curl's own must not come before them. */
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long) INT_MAX);
	SET(CURLOPT_RESOLVER_START_FUNCTION, resolver_starts);
	SET(CURLOPT_RESOLVER_START_DATA, handle);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, handle);
	SET(CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	SET(CURLOPT_PREREQFUNCTION, before_request);
	SET(CURLOPT_PREREQDATA, handle);
	return result;
}

static CURLcode
set_behaviour(HttpHandle *handle)
{
	CURL *easy = handle->easy;
	CURLcode result = CURLE_OK;

	SET(CURLOPT_PRIVATE, handle);
	SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Do not wait for a resolver that does not answer. */
	SET(CURLOPT_QUICK_EXIT, 1L);
#endif
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	/* Where HTTP/2 is offered, one connection carries what is asked at once. */
	SET(CURLOPT_PIPEWAIT, pg_strncasecmp(handle->url, "https:", 6) == 0 ? 1L : 0L);
	if (engine_share() != NULL)
		SET(CURLOPT_SHARE, engine_share());
	SET(CURLOPT_ACCEPT_ENCODING, "");
	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, handle);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, handle);
	SET(CURLOPT_URL, handle->url);
	if (handle->has_body)
		SET(CURLOPT_POST, 1L);
	SET(CURLOPT_CUSTOMREQUEST, handle->method);
	return result;
}

/* --- handles ------------------------------------------------------------------------------- */

static void
handle_free(HttpHandle *handle)
{
	curl_easy_cleanup(handle->easy);
	curl_slist_free_all(handle->header_lines);
	free(handle->url);
	free(handle->method);
	free(handle->ca_file);
	free(handle->proxy);
	free(handle);
}

static bool
same_text(const char *one, const char *other)
{
	return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

static bool
is_for(const HttpHandle *handle, const HttpRequest *request)
{
	return strcmp(handle->url, request->url) == 0 &&
		   strcmp(handle->method, request->method) == 0 &&
		   handle->allow_http == request->allow_http &&
		   handle->has_body == (request->body != NULL) &&
		   same_text(handle->ca_file, request->ca_file) &&
		   strcmp(handle->proxy, http_proxy_url()) == 0;
}

static HttpHandle *
find_idle(const HttpRequest *request)
{
	dlist_iter iter;

	dlist_foreach(iter, &idle)
	{
		HttpHandle *handle = dlist_container(HttpHandle, node, iter.cur);

		if (is_for(handle, request))
			return handle;
	}
	return NULL;
}

bool
handle_is_known(const HttpRequest *request)
{
	return find_idle(request) != NULL;
}

HttpHandle *
handle_find(const HttpRequest *request)
{
	HttpHandle *handle = find_idle(request);

	if (handle == NULL)
		return NULL;
	dlist_delete(&handle->node);
	idle_count--;
	return handle;
}

HttpHandle *
handle_make(const HttpRequest *request)
{
	HttpHandle *handle = calloc(1, sizeof(HttpHandle));

	if (handle == NULL)
		return NULL;
	handle->easy = curl_easy_init();
	handle->url = strdup(request->url);
	handle->method = strdup(request->method);
	handle->ca_file = request->ca_file ? strdup(request->ca_file) : NULL;
	handle->proxy = strdup(http_proxy_url());
	handle->allow_http = request->allow_http;
	handle->has_body = request->body != NULL;
	if (handle->easy != NULL && handle->url != NULL && handle->method != NULL &&
		handle->proxy != NULL &&
		(handle->ca_file != NULL) == (request->ca_file != NULL) &&
		set_limits(handle) == CURLE_OK && set_behaviour(handle) == CURLE_OK)
		return handle;
	handle_free(handle);
	return NULL;
}

static bool
add_header(HttpHandle *handle, const char *line)
{
	struct curl_slist *longer = curl_slist_append(handle->header_lines, line);

	if (longer == NULL)
		return false;
	handle->header_lines = longer;
	return true;
}

static bool
add_headers(HttpHandle *handle, List *headers)
{
	ListCell *cell;

	/* Without this a large body waits a second for "100 Continue". */
	if (!add_header(handle, "Expect:"))
		return false;
	foreach (cell, headers)
		if (!add_header(handle, lfirst(cell)))
			return false;
	return true;
}

bool
handle_prepare(HttpHandle *handle, HttpTransfer *transfer, const HttpRequest *request)
{
	CURL *easy = handle->easy;
	CURLcode result = CURLE_OK;

	handle->transfer = transfer;
	if (!add_headers(handle, request->headers))
		return false;
	SET(CURLOPT_HTTPHEADER, handle->header_lines);
	SET(CURLOPT_FRESH_CONNECT, request->is_anew ? 1L : 0L);
	if (request->body != NULL)
	{
		/* curl reads it as it sends: ours until the end of the transfer. */
		char *body = palloc(request->body_length + 1);

		memcpy(body, request->body, request->body_length);
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body_length);
		SET(CURLOPT_POSTFIELDS, body);
	}
	return result == CURLE_OK;
}

CURL *
handle_easy(const HttpHandle *handle)
{
	return handle->easy;
}

HttpTransfer *
handle_transfer(CURL *easy)
{
	HttpHandle *handle = NULL;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &handle);
	return handle ? handle->transfer : NULL;
}

void
handle_release(HttpHandle *handle, bool keep)
{
	if (handle->transfer->handed_over != 0)
		engine_drop(handle->easy);
	if (handle->transfer->is_resolving)
		engine_resolver_ends();
	handle->transfer->is_resolving = false;
	handle->transfer = NULL;
	if (!keep)
	{
		handle_free(handle);
		return;
	}
	/* The key is in a header, and the body is gone. */
	curl_easy_setopt(handle->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(handle->easy, CURLOPT_POSTFIELDS, NULL);
	curl_slist_free_all(handle->header_lines);
	handle->header_lines = NULL;
	dlist_push_head(&idle, &handle->node);
	if (++idle_count <= HANDLE_MAX_IDLE)
		return;
	handle = dlist_tail_element(HttpHandle, node, &idle);
	dlist_delete(&handle->node);
	idle_count--;
	handle_free(handle);
}
