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

/* A request's body; what is larger was not meant to be sent. */
#define HTTP_MAX_REQUEST_BYTES ((size_t) 128 * 1024 * 1024)

/* Longer than this nobody should keep a processor from others. */
#define HTTP_MAX_SPIN_US 10000

/* http_start() sends what goes without waiting, but not for ever. */
#define HTTP_START_TURNS 16

static int connect_timeout_ms;
static int first_byte_timeout_ms;
static char *proxy = NULL;
int http_spin_us;

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
	{"factory.http_spin",
	 "Sets for how many microseconds an answer is looked out for before the process "
	 "sleeps; 0 means never.",
	 SETTING_INT, &http_spin_us, .boot = 100, .min = 0, .max = HTTP_MAX_SPIN_US,
	 .context = PGC_USERSET,
	 .detail = "Only where the server's last answer came within that time."},
};

void
http_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

const char *
http_proxy_url(void)
{
	return proxy != NULL ? proxy : "";
}

bool
http_has_proxy(void)
{
	return http_proxy_url()[0] != '\0';
}

/* Transfers of this process that curl works on, and those waiting for their group. */
static dlist_head under_way = DLIST_STATIC_INIT(under_way);
static dlist_head queued = DLIST_STATIC_INIT(queued);

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
	const char *doing = phase_text(transfer);
	MemoryContext caller = MemoryContextSwitchTo(transfer->context);

	end_transfer(transfer, HTTP_TIMED_OUT,
				 limit->setting
					 ? psprintf("timed out while %s, after the %d ms of \"%s\"", doing,
								limit->limit_ms, limit->setting)
					 : psprintf("timed out while %s", doing));
	MemoryContextSwitchTo(caller);
}

/* --- beginning ------------------------------------------------------------------------- */

static void
release_on_reset(void *arg)
{
	HttpTransfer *transfer = arg;

	release_curl(transfer, false);
	free(transfer->body);
	transfer->body = NULL;
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
	transfer->allow_private = request->allow_private || http_has_proxy();
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
hand_to_engine(HttpTransfer *transfer, TimestampTz now)
{
	dlist_push_tail(&under_way, &transfer->node);
	transfer->handed_over = now;
	if (!engine_add(handle_easy(transfer->handle)))
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
		hand_to_engine(transfer, GetCurrentTimestamp());
	}
}

static void
begin_transfer(HttpTransfer *transfer, const HttpRequest *request)
{
	transfer->handle = handle_find(request);
	if (transfer->handle == NULL)
		transfer->handle = handle_make(request);
	if (transfer->handle == NULL || !handle_prepare(transfer->handle, transfer, request))
	{
		end_transfer(transfer, HTTP_UNREACHABLE, "libcurl could not take the request");
		return;
	}
	transfer->is_queued = !group_has_room(transfer);
	if (transfer->is_queued)
	{
		dlist_push_tail(&queued, &transfer->node);
		return;
	}
	hand_to_engine(transfer, transfer->started);
	for (int i = 0; i < HTTP_START_TURNS && transfer->handle != NULL; i++)
		if (!engine_turn() || engine_is_reading())
			break;
}

/* Through a proxy, a closed address can still be told where the URL spells it out. */
static const char *
spelled_denial(const HttpRequest *request)
{
	char *host;
	const char *denial;

	if (request->allow_private || !http_has_proxy())
		return NULL;
	host = http_url_host(request->url);
	denial = host ? egress_denial_text(host) : NULL;
	return denial && strcmp(denial, EGRESS_NOT_AN_ADDRESS) != 0 ? denial : NULL;
}

static bool
request_is_refused(HttpTransfer *transfer, const HttpRequest *request)
{
	char *why = handle_is_known(request) ? NULL : http_url_error(request->url);

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

	if (transfer->handle == NULL)
		return true;
	limit = nearest_limit(transfer);
	if (GetCurrentTimestamp() < limit.moment)
		return false;
	/* It may have come in time, while we were busy. */
	(void) engine_turn();
	if (transfer->handle != NULL)
		note_timeout(transfer, &limit);
	return true;
}

TimestampTz
http_next_moment(const HttpTransfer *transfer)
{
	return transfer->handle ? nearest_limit(transfer).moment : 0;
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
	if (transfer->handle != NULL)
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
	if (transfer->handle != NULL)
		end_transfer(transfer, HTTP_UNREACHABLE, "abandoned");
	free(transfer->body);
	transfer->body = NULL;
	transfer->body_length = 0;
}
