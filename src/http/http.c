/*
 * http.c
 *		One request and its answer.
 *
 * A transfer is palloc'd in its caller's context, and a reset callback of that
 * context takes curl's part of it away; so the struct itself is never pfree'd.
 * What curl fills in its callbacks is malloc'd: a callback must not raise, for an
 * error would jump through libcurl.
 */
#include "postgres.h"

#include <limits.h>
#include <unistd.h>

#include "base/settings.h"
#include "http/http.h"
#include "http/http_int.h"
#include "lib/ilist.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* All header lines of an answer together. */
#define HTTP_MAX_HEADER_BYTES (64 * 1024)

/* A request's body; what is larger was not meant to be sent. */
#define HTTP_MAX_REQUEST_BYTES ((size_t) 128 * 1024 * 1024)

/* http_start() sends what goes without waiting, but not for ever. */
#define HTTP_START_TURNS 16

static int connect_timeout_ms;
static int first_byte_timeout_ms;
static char *proxy = NULL;

static const Setting settings[] = {
	{"factory.http_connect_timeout",
	 "Sets the time a request to another server may take to be connected.", SETTING_INT,
	 &connect_timeout_ms, .boot = 10000, .min = 1, .max = INT_MAX, .context = PGC_USERSET,
	 .flags = GUC_UNIT_MS,
	 .detail = "Resolving the name and agreeing on TLS are part of it."},
	{"factory.http_first_byte_timeout",
	 "Sets the time another server may take to begin its answer; 0 means no limit but "
	 "the call's.",
	 SETTING_INT, &first_byte_timeout_ms, .boot = 0, .min = 0, .max = INT_MAX,
	 .context = PGC_USERSET, .flags = GUC_UNIT_MS},
	{"factory.http_proxy",
	 "Sets the proxy that requests to other servers go through; empty means none.",
	 SETTING_STRING, &proxy, .boot_text = "", .context = PGC_SIGHUP,
	 .flags = GUC_SUPERUSER_ONLY,
	 .detail =
		 "The environment's proxies are never used.  A proxy resolves names itself, "
		 "so it must keep requests out of your network."},
};

void
http_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

static bool
has_proxy(void)
{
	return proxy != NULL && proxy[0] != '\0';
}

/* How far a transfer has come. */
typedef enum Phase
{
	PHASE_QUEUE,
	PHASE_RESOLVE,
	PHASE_CONNECT,
	PHASE_TLS,
	PHASE_SEND,
	PHASE_WAIT,
	PHASE_RECEIVE
} Phase;

static const char *const phase_words[] = {
	[PHASE_QUEUE] = "waiting for a connection that is free",
	[PHASE_RESOLVE] = "resolving the server's name",
	[PHASE_CONNECT] = "connecting",
	[PHASE_TLS] = "agreeing on TLS",
	[PHASE_SEND] = "sending the request",
	[PHASE_WAIT] = "waiting for the answer",
	[PHASE_RECEIVE] = "receiving the answer",
};

/* curl's results in words that do not change with its version. */
static const struct ResultWords
{
	CURLcode result;
	const char *words;
} result_words[] = {
	{CURLE_COULDNT_RESOLVE_HOST, "no such host"},
	{CURLE_COULDNT_CONNECT, "connection refused or no route"},
	{CURLE_GOT_NOTHING, "the connection was closed without an answer"},
	{CURLE_PARTIAL_FILE, "the connection was closed in the middle"},
	{CURLE_RECV_ERROR, "the connection was closed in the middle"},
	{CURLE_SEND_ERROR, "the connection was closed"},
	{CURLE_UNSUPPORTED_PROTOCOL, "the answer is not HTTP"},
	{CURLE_WEIRD_SERVER_REPLY, "the answer is not HTTP"},
	{CURLE_BAD_CONTENT_ENCODING, "the answer's compression is broken"},
	{CURLE_PEER_FAILED_VERIFICATION, "the server's certificate is not valid"},
	{CURLE_SSL_CACERT_BADFILE, "the file of authorities could not be read"},
	{CURLE_SSL_CONNECT_ERROR, "the server does not speak TLS as we do"},
};

struct HttpTransfer
{
	dlist_node node; /* in under_way or queued, as long as there is an easy handle */
	bool is_queued;
	char *group;
	int group_limit;
	CURL *easy; /* NULL once ended */
	struct curl_slist *header_lines;
	MemoryContextCallback on_reset;
	MemoryContext context;
	TimestampTz started;
	TimestampTz handed_over; /* to curl; 0 while queued */
	TimestampTz deadline;
	int connect_ms;
	int first_byte_ms; /* 0 for no limit of its own */
	char *keep_headers;
	size_t request_length;
	bool is_tls;
	bool allow_private;
	size_t max_answer;

	/* written in curl's callbacks */
	Phase phase;
	const char *denial; /* of the last address refused */
	bool no_descriptor;
	bool too_large;
	size_t header_bytes;
	char *body; /* malloc'd */
	size_t body_length;
	size_t body_room;

	/* once ended */
	HttpOutcome outcome;
	TimestampTz ended;
	long status;
	int retry_after_ms;
	List *headers;
	char *content_type;
	char *reason;
};

/* Transfers of this process that curl works on, and those waiting for their group. */
static dlist_head under_way = DLIST_STATIC_INIT(under_way);
static dlist_head queued = DLIST_STATIC_INIT(queued);

/* --- curl's callbacks: nothing here may raise -------------------------------------- */

static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpTransfer *transfer = arg;
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
	HttpTransfer *transfer = arg;

	transfer->phase = PHASE_SEND;
	transfer->denial = transfer->allow_private ? NULL : egress_denial_text(peer);
	return transfer->denial ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t
take_header(char *line, size_t size, size_t count, void *arg)
{
	HttpTransfer *transfer = arg;

	transfer->phase = PHASE_RECEIVE;
	transfer->header_bytes += size * count;
	if (transfer->header_bytes > HTTP_MAX_HEADER_BYTES)
	{
		transfer->too_large = true;
		return 0;
	}
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
	HttpTransfer *transfer = arg;
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

/* --- the end of a transfer ------------------------------------------------------------ */

/* Gives back what curl holds; harmless when that is done already. */
static void
release_curl(HttpTransfer *transfer)
{
	if (transfer->easy != NULL)
	{
		dlist_delete(&transfer->node);
		engine_drop(transfer->easy);
	}
	curl_slist_free_all(transfer->header_lines);
	transfer->easy = NULL;
	transfer->header_lines = NULL;
}

static void
release_on_reset(void *arg)
{
	HttpTransfer *transfer = arg;

	release_curl(transfer);
	free(transfer->body);
	transfer->body = NULL;
}

/* The phase as far as the callbacks know it, refined by what curl has counted. */
static Phase
phase_reached(HttpTransfer *transfer)
{
	curl_off_t amount = 0;

	if (transfer->is_queued)
		return PHASE_QUEUE;
	if (transfer->phase == PHASE_CONNECT && transfer->is_tls &&
		curl_easy_getinfo(transfer->easy, CURLINFO_CONNECT_TIME_T, &amount) == CURLE_OK &&
		amount > 0)
		return PHASE_TLS;
	if (transfer->phase == PHASE_SEND &&
		curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &amount) == CURLE_OK &&
		amount >= transfer->request_length)
		return PHASE_WAIT;
	return transfer->phase;
}

static const char *
words_of_result(CURLcode result)
{
	for (int i = 0; i < lengthof(result_words); i++)
		if (result_words[i].result == result)
			return result_words[i].words;
	return curl_easy_strerror(result);
}

static void
end_transfer(HttpTransfer *transfer, HttpOutcome outcome, char *reason)
{
	release_curl(transfer);
	transfer->outcome = outcome;
	transfer->reason = reason;
	transfer->ended = GetCurrentTimestamp();
}

/* "Retry-After: 3", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", "retry-after-ms: 250" */
static int
retry_after(CURL *easy)
{
	struct curl_header *header;
	double wait_ms;
	char *end;

	if (curl_easy_header(easy, "retry-after-ms", 0, CURLH_HEADER, -1, &header) ==
		CURLHE_OK)
		wait_ms = strtod(header->value, &end);
	else if (curl_easy_header(easy, "Retry-After", 0, CURLH_HEADER, -1, &header) ==
			 CURLHE_OK)
	{
		wait_ms = strtod(header->value, &end) * 1000;
		if (end == header->value || *end != '\0')
		{
			time_t moment = curl_getdate(header->value, NULL);

			if (moment == (time_t) -1)
				return -1;
			end = header->value + 1;
			wait_ms = difftime(moment, time(NULL)) * 1000;
		}
	}
	else
		return -1;
	if (end == header->value || !(wait_ms >= 0))
		return 0;
	return (int) Min(wait_ms, (double) INT_MAX);
}

static char *
lower_case(const char *name)
{
	char *lower = pstrdup(name);

	for (char *c = lower; *c; c++)
		*c = pg_tolower((unsigned char) *c);
	return lower;
}

static List *
kept_headers(const HttpTransfer *transfer)
{
	struct curl_header *header = NULL;
	List *kept = NIL;

	if (transfer->keep_headers == NULL)
		return NIL;
	while ((header = curl_easy_nextheader(transfer->easy, CURLH_HEADER, -1, header)) !=
		   NULL)
	{
		char *name = lower_case(header->name);

		if (strstr(name, transfer->keep_headers) != NULL)
			kept = lappend(kept, psprintf("%s: %s", name, header->value));
	}
	return kept;
}

static void
note_answer(HttpTransfer *transfer)
{
	char *content_type = NULL;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &transfer->status);
	curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_TYPE, &content_type);
	if (content_type != NULL)
		transfer->content_type = MemoryContextStrdup(transfer->context, content_type);
	transfer->retry_after_ms = retry_after(transfer->easy);
	transfer->headers = kept_headers(transfer);
	end_transfer(transfer, HTTP_ANSWERED, NULL);
}

static void
note_failure(HttpTransfer *transfer, CURLcode result)
{
	const char *doing = phase_words[phase_reached(transfer)];

	if (transfer->too_large)
		end_transfer(transfer, HTTP_TOO_LARGE,
					 transfer->header_bytes > HTTP_MAX_HEADER_BYTES
						 ? psprintf("the answer's headers are over the limit of %d bytes",
									HTTP_MAX_HEADER_BYTES)
						 : psprintf("the answer is over the limit of %zu bytes",
									transfer->max_answer));
	else if (transfer->denial != NULL &&
			 (result == CURLE_COULDNT_CONNECT || result == CURLE_ABORTED_BY_CALLBACK))
		end_transfer(transfer, HTTP_DENIED,
					 psprintf("the host is at %s, which is closed", transfer->denial));
	else if (transfer->no_descriptor && result == CURLE_COULDNT_CONNECT)
		end_transfer(transfer, HTTP_UNREACHABLE,
					 psprintf("failed while %s: out of file descriptors", doing));
	else
		end_transfer(transfer, HTTP_UNREACHABLE,
					 psprintf("failed while %s: %s", doing, words_of_result(result)));
}

static void
on_engine_end(CURL *easy, CURLcode result)
{
	HttpTransfer *transfer = NULL;
	MemoryContext caller;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &transfer);
	caller = MemoryContextSwitchTo(transfer->context);
	if (result == CURLE_OK)
		note_answer(transfer);
	else
		note_failure(transfer, result);
	MemoryContextSwitchTo(caller);
}

/* --- limits of time ----------------------------------------------------------------- */

/* Ends where the phase does that a limit is for; the call's deadline has no name. */
typedef struct PhaseLimit
{
	TimestampTz moment;
	const char *setting;
	int limit_ms;
} PhaseLimit;

static void
tighten(PhaseLimit *limit, const HttpTransfer *transfer, int limit_ms,
		const char *setting)
{
	TimestampTz moment = TimestampTzPlusMilliseconds(transfer->handed_over, limit_ms);

	if (moment < limit->moment)
		*limit = (PhaseLimit){moment, setting, limit_ms};
}

static PhaseLimit
nearest_limit(const HttpTransfer *transfer)
{
	PhaseLimit limit = {.moment = transfer->deadline};

	if (transfer->is_queued)
		return limit;
	if (transfer->phase < PHASE_SEND)
		tighten(&limit, transfer, transfer->connect_ms, "factory.http_connect_timeout");
	if (transfer->phase < PHASE_RECEIVE && transfer->first_byte_ms > 0)
		tighten(&limit, transfer, transfer->first_byte_ms,
				"factory.http_first_byte_timeout");
	return limit;
}

static void
note_timeout(HttpTransfer *transfer, const PhaseLimit *limit)
{
	const char *doing = phase_words[phase_reached(transfer)];
	MemoryContext caller = MemoryContextSwitchTo(transfer->context);

	end_transfer(transfer, HTTP_TIMED_OUT,
				 limit->setting
					 ? psprintf("timed out while %s, after the %d ms of \"%s\"", doing,
								limit->limit_ms, limit->setting)
					 : psprintf("timed out while %s", doing));
	MemoryContextSwitchTo(caller);
}

/* --- beginning ------------------------------------------------------------------------- */

#define SET(option, value) \
	(result = result == CURLE_OK ? curl_easy_setopt(easy, option, value) : result)

static CURLcode
set_limits(CURL *easy, HttpTransfer *transfer, const HttpRequest *request)
{
	CURLcode result = CURLE_OK;

	SET(CURLOPT_PROTOCOLS_STR, request->allow_http ? "http,https" : "https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, proxy ? proxy : "");
	SET(CURLOPT_NOPROXY, "");
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	if (request->ca_file != NULL)
		SET(CURLOPT_CAINFO, request->ca_file);
	/* The limits of time are ours; curl's own must not come before them. */
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long) INT_MAX);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, transfer);
	SET(CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	SET(CURLOPT_PREREQFUNCTION, before_request);
	SET(CURLOPT_PREREQDATA, transfer);
	return result;
}

static CURLcode
set_behaviour(CURL *easy, HttpTransfer *transfer)
{
	CURLcode result = CURLE_OK;

	SET(CURLOPT_PRIVATE, transfer);
	SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Do not wait for a resolver that does not answer. */
	SET(CURLOPT_QUICK_EXIT, 1L);
#endif
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	/* Where HTTP/2 is offered, one connection carries what is asked at once. */
	SET(CURLOPT_PIPEWAIT, transfer->is_tls ? 1L : 0L);
	if (engine_share() != NULL)
		SET(CURLOPT_SHARE, engine_share());
	SET(CURLOPT_ACCEPT_ENCODING, "");
	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, transfer);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, transfer);
	return result;
}

static bool
add_header(HttpTransfer *transfer, const char *line)
{
	struct curl_slist *longer = curl_slist_append(transfer->header_lines, line);

	if (longer == NULL)
		return false;
	transfer->header_lines = longer;
	return true;
}

static CURLcode
set_request(CURL *easy, HttpTransfer *transfer, const HttpRequest *request)
{
	CURLcode result = CURLE_OK;
	ListCell *cell;

	/* Without this a large body waits a second for "100 Continue". */
	if (!add_header(transfer, "Expect:"))
		return CURLE_OUT_OF_MEMORY;
	foreach (cell, request->headers)
		if (!add_header(transfer, lfirst(cell)))
			return CURLE_OUT_OF_MEMORY;
	SET(CURLOPT_URL, request->url);
	SET(CURLOPT_FRESH_CONNECT, request->is_anew ? 1L : 0L);
	SET(CURLOPT_HTTPHEADER, transfer->header_lines);
	if (request->body != NULL)
	{
		/* curl reads it as it sends: ours until the end of the transfer. */
		char *body = palloc(request->body_length + 1);

		memcpy(body, request->body, request->body_length);
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body_length);
		SET(CURLOPT_POSTFIELDS, body);
	}
	SET(CURLOPT_CUSTOMREQUEST, request->method);
	return result;
}

static CURLcode
set_all(CURL *easy, HttpTransfer *transfer, const HttpRequest *request)
{
	CURLcode result = set_limits(easy, transfer, request);

	if (result == CURLE_OK)
		result = set_behaviour(easy, transfer);
	if (result == CURLE_OK)
		result = set_request(easy, transfer, request);
	return result;
}

static HttpTransfer *
make_transfer(const HttpRequest *request)
{
	HttpTransfer *transfer = palloc0(sizeof(HttpTransfer));

	transfer->context = CurrentMemoryContext;
	transfer->started = GetCurrentTimestamp();
	transfer->deadline = request->deadline;
	transfer->connect_ms = request->connect_ms ? request->connect_ms : connect_timeout_ms;
	transfer->first_byte_ms =
		request->first_byte_ms ? request->first_byte_ms : first_byte_timeout_ms;
	transfer->keep_headers =
		request->keep_headers ? pstrdup(request->keep_headers) : NULL;
	transfer->request_length = request->body ? request->body_length : 0;
	transfer->phase = PHASE_RESOLVE;
	transfer->is_tls = pg_strncasecmp(request->url, "https:", 6) == 0;
	/* A proxy resolves the name: the address we connect to is the proxy's own. */
	transfer->allow_private = request->allow_private || has_proxy();
	transfer->group = request->group ? pstrdup(request->group) : NULL;
	transfer->group_limit = request->group_limit;
	transfer->max_answer = request->max_answer;
	transfer->retry_after_ms = -1;
	transfer->on_reset.func = release_on_reset;
	transfer->on_reset.arg = transfer;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &transfer->on_reset);
	return transfer;
}

static bool
group_has_room(const HttpTransfer *transfer)
{
	dlist_iter iter;
	int count = 0;

	if (transfer->group == NULL || transfer->group_limit <= 0)
		return true;
	dlist_foreach(iter, &under_way)
	{
		HttpTransfer *other = dlist_container(HttpTransfer, node, iter.cur);

		if (other->group != NULL && strcmp(other->group, transfer->group) == 0)
			count++;
	}
	return count < transfer->group_limit;
}

static void
hand_to_engine(HttpTransfer *transfer)
{
	dlist_push_tail(&under_way, &transfer->node);
	transfer->handed_over = GetCurrentTimestamp();
	if (!engine_add(transfer->easy))
		end_transfer(transfer, HTTP_UNREACHABLE, "libcurl could not take the request");
}

/* Those that waited for their group, as far as it has room now. */
static void
start_queued(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &queued)
	{
		HttpTransfer *transfer = dlist_container(HttpTransfer, node, iter.cur);

		if (!group_has_room(transfer))
			continue;
		dlist_delete(&transfer->node);
		transfer->is_queued = false;
		hand_to_engine(transfer);
	}
}

static void
begin_transfer(HttpTransfer *transfer, const HttpRequest *request)
{
	CURL *easy = curl_easy_init();

	if (easy == NULL || set_all(easy, transfer, request) != CURLE_OK)
	{
		curl_easy_cleanup(easy);
		end_transfer(transfer, HTTP_UNREACHABLE, "libcurl could not take the request");
		return;
	}
	transfer->easy = easy;
	transfer->is_queued = !group_has_room(transfer);
	if (transfer->is_queued)
	{
		dlist_push_tail(&queued, &transfer->node);
		return;
	}
	hand_to_engine(transfer);
	for (int i = 0; i < HTTP_START_TURNS && transfer->easy != NULL; i++)
		if (!engine_turn())
			break;
}

/* Through a proxy, a closed address can still be told where the URL spells it out. */
static const char *
spelled_denial(const HttpRequest *request)
{
	char *host;
	const char *denial;

	if (request->allow_private || !has_proxy())
		return NULL;
	host = http_url_host(request->url);
	denial = host ? egress_denial_text(host) : NULL;
	return denial && strcmp(denial, EGRESS_NOT_AN_ADDRESS) != 0 ? denial : NULL;
}

static bool
request_is_refused(HttpTransfer *transfer, const HttpRequest *request)
{
	char *why = http_url_error(request->url);

	if (why != NULL)
		end_transfer(transfer, HTTP_UNREACHABLE,
					 psprintf("the URL is not usable: %s", why));
	else if (!transfer->is_tls && !request->allow_http)
		end_transfer(transfer, HTTP_DENIED,
					 pstrdup("the URL is plain http, which is closed"));
	else if (spelled_denial(request) != NULL)
		end_transfer(transfer, HTTP_DENIED,
					 psprintf("the host is at %s, which is closed",
							  spelled_denial(request)));
	else if (transfer->request_length > HTTP_MAX_REQUEST_BYTES)
		end_transfer(transfer, HTTP_TOO_LARGE,
					 psprintf("the request is over the limit of %zu bytes",
							  HTTP_MAX_REQUEST_BYTES));
	else
		return false;
	return true;
}

HttpTransfer *
http_start(const HttpRequest *request)
{
	HttpTransfer *transfer = make_transfer(request);

	if (request_is_refused(transfer, request))
		return transfer;
	engine_begin(on_engine_end);
	begin_transfer(transfer, request);
	return transfer;
}

/* --- going on -------------------------------------------------------------------------- */

void
http_turn(void)
{
	engine_begin(on_engine_end);
	(void) engine_turn();
	start_queued();
}

bool
http_ended(HttpTransfer *transfer)
{
	PhaseLimit limit;

	if (transfer->easy == NULL)
		return true;
	limit = nearest_limit(transfer);
	if (GetCurrentTimestamp() >= limit.moment)
		note_timeout(transfer, &limit);
	return transfer->easy == NULL;
}

TimestampTz
http_next_moment(const HttpTransfer *transfer)
{
	return transfer->easy ? nearest_limit(transfer).moment : 0;
}

void
http_wait(TimestampTz until)
{
	engine_begin(on_engine_end);
	engine_wait(until);
	http_turn();
}

bool
http_pump(HttpTransfer *transfer)
{
	if (transfer->easy != NULL)
		http_turn();
	return http_ended(transfer);
}

HttpAnswer *
http_take_answer(HttpTransfer *transfer)
{
	HttpAnswer *answer = palloc0(sizeof(HttpAnswer));

	answer->outcome = transfer->outcome;
	answer->status = transfer->status;
	answer->content_type = transfer->content_type;
	answer->retry_after_ms = transfer->retry_after_ms;
	answer->headers = transfer->headers;
	answer->reason = transfer->reason;
	answer->elapsed_ms = (transfer->ended - transfer->started) / 1000.0;
	answer->body = palloc_extended(transfer->body_length + 1, MCXT_ALLOC_HUGE);
	if (transfer->body_length > 0)
		memcpy(answer->body, transfer->body, transfer->body_length);
	answer->body[transfer->body_length] = '\0';
	answer->body_length = transfer->body_length;
	free(transfer->body);
	transfer->body = NULL;
	transfer->body_length = 0;
	return answer;
}

HttpAnswer *
http_finish(HttpTransfer *transfer)
{
	PG_TRY();
	{
		while (!http_pump(transfer))
			http_wait(http_next_moment(transfer));
	}
	PG_CATCH();
	{
		http_abandon(transfer);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return http_take_answer(transfer);
}

void
http_abandon(HttpTransfer *transfer)
{
	if (transfer->easy != NULL)
		end_transfer(transfer, HTTP_UNREACHABLE, "abandoned");
	free(transfer->body);
	transfer->body = NULL;
	transfer->body_length = 0;
}
