/*
 * engine.c
 *		libcurl's multi handle, driven by the process latch.
 *
 * curl's sockets are gathered in an epoll descriptor of our own, which stands
 * in one long-lived wait event set beside the latch and the postmaster's death:
 * nothing is rebuilt as sockets come and go.  Made lazily, so never before the
 * fork; one a process; it stays until the process ends, with its connections.
 *
 * curl's resolver runs in threads.  They inherit the signal mask, and a signal
 * handler of the server must never run in them: all signals are blocked around
 * every call of curl's that may start one.
 */
#include "postgres.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/compat.h"
#include "http/http_int.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/timestamp.h"

/* Sockets at once, idle ones included; more transfers wait inside curl. */
#define ENGINE_MAX_CONNECTIONS 256

/*
 * Connections kept open for the next call.  curl counts busy ones among them, so
 * the limit is lifted while more are under way; when those are through, all but
 * this many should go, and curl can only let all of them go.
 */
#define ENGINE_MAX_IDLE_CONNECTIONS 64

#define ENGINE_EVENTS 64

/* Looking out in vain once in so many waits costs them nothing that shows. */
#define ENGINE_MAX_WAITS_PASSED 256

/* A socket, and what the epoll descriptor waits for at it. */
typedef struct EngineSocket
{
	curl_socket_t socket; /* CURL_SOCKET_BAD: none */
	uint32 events;
} EngineSocket;

typedef struct Engine
{
	CURLM *multi;
	CURLSH *share;
	int epoll;
	int watched;       /* sockets that curl waits for */
	int curls_own;     /* those of them that are no transfer's: newer versions have one */
	EngineSocket last; /* the one whose wishes were told last */
	bool last_is_idle; /* curl waits for it no more, and it is in the epoll yet */
	bool last_is_ready; /* a wait has said so */
	int resolving;      /* transfers whose name was or is being resolved */
	bool is_blocked;    /* signals are */
	sigset_t unblocked; /* what they were before */
	WaitEventSet *wait_set;
	uint32 wait_event;
	int under_way;     /* easy handles added and not dropped */
	bool is_wide;      /* more were under way than may stay open */
	bool is_quick;     /* the last answer came within factory.http_spin */
	int waits_to_pass; /* until an answer is looked out for again */
	int waits_passed;  /* after the last one that did not come soon */
	TimestampTz timer; /* when curl wants to be called; DT_NOEND: never, 0: at once */
	EngineEndCallback on_end;
} Engine;

static Engine engine = {.epoll = -1, .last.socket = CURL_SOCKET_BAD};

/* --- curl tells us what to wait for; nothing here may raise ---------------------- */

static void
forget_last(void)
{
	engine.last.socket = CURL_SOCKET_BAD;
	engine.last_is_idle = false;
	engine.last_is_ready = false;
}

/* Its number may be another's soon. */
void
engine_socket_closes(curl_socket_t socket)
{
	if (socket == engine.last.socket)
		forget_last();
}

/* What was only left there because it may be wanted again. */
static void
take_idle_out(void)
{
	if (!engine.last_is_idle)
		return;
	(void) epoll_ctl(engine.epoll, EPOLL_CTL_DEL, engine.last.socket, NULL);
	forget_last();
}

/* A connection's socket is told to us when it is closed; those of a resolver are not. */
static bool
is_connection(CURL *easy)
{
	const HttpTransfer *transfer = handle_transfer(easy);

	return transfer != NULL && transfer->phase == PHASE_RECEIVE;
}

static int
unwatch_socket(CURL *easy, curl_socket_t socket, const void *known)
{
	if (known != NULL)
		engine.watched--;
	if (known == &engine.curls_own)
		engine.curls_own--;
	if (socket == engine.last.socket && is_connection(easy))
	{
		engine.last_is_idle = true;
		engine.last_is_ready = false;
		return 0;
	}
	/* curl may have closed it already, which took it out. */
	(void) epoll_ctl(engine.epoll, EPOLL_CTL_DEL, socket, NULL);
	engine_socket_closes(socket);
	return 0;
}

/* To be connected a socket is waited for until it can be written; then TLS reads first. */
static void
note_phase(CURL *easy, int what)
{
	HttpTransfer *transfer = handle_transfer(easy);

	if ((what & CURL_POLL_IN) && transfer != NULL && transfer->is_tls &&
		transfer->phase == PHASE_CONNECT)
		transfer->phase = PHASE_TLS;
}

/* A socket that curl knows from before carries a mark. */
static int
watch_socket(CURL *easy, curl_socket_t socket, int what, void *userp, void *known)
{
	struct epoll_event event = {.data.fd = socket};

	if (what == CURL_POLL_REMOVE)
		return unwatch_socket(easy, socket, known);
	note_phase(easy, what);
	if (known == NULL)
	{
		bool is_curls_own = handle_transfer(easy) == NULL;

		engine.watched++;
		engine.curls_own += is_curls_own;
		curl_multi_assign(engine.multi, socket,
						  is_curls_own ? (void *) &engine.curls_own : &engine);
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (socket == engine.last.socket && event.events == engine.last.events)
	{
		engine.last_is_idle = false;
		return 0;
	}
	if (socket != engine.last.socket)
		take_idle_out();
	forget_last();
	if (epoll_ctl(engine.epoll, EPOLL_CTL_MOD, socket, &event) != 0 &&
		epoll_ctl(engine.epoll, EPOLL_CTL_ADD, socket, &event) != 0)
		return -1;
	engine.last = (EngineSocket){socket, event.events};
	return 0;
}

static int
set_timer(CURLM *multi, long timeout_ms, void *userp)
{
	if (timeout_ms < 0)
		engine.timer = DT_NOEND;
	else if (timeout_ms == 0)
		engine.timer = 0;
	else
		engine.timer =
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) timeout_ms);
	return 0;
}

/* --- calling curl ------------------------------------------------------------------ */

static void
block_signals(void)
{
	sigset_t all;

	if (engine.is_blocked)
		return;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &engine.unblocked);
	engine.is_blocked = true;
}

/* Around each call of curl's; costs nothing where all names are known. */
static void
enter_curl(void)
{
	if (engine.resolving > 0)
		block_signals();
}

static void
leave_curl(void)
{
	if (!engine.is_blocked)
		return;
	sigprocmask(SIG_SETMASK, &engine.unblocked, NULL);
	engine.is_blocked = false;
}

void
engine_resolver_starts(void)
{
	engine.resolving++;
	block_signals();
}

void
engine_resolver_ends(void)
{
	engine.resolving--;
}

static void
engine_act(curl_socket_t socket, int events)
{
	int running;

	enter_curl();
	(void) curl_multi_socket_action(engine.multi, socket, events, &running);
	leave_curl();
}

static void
collect_ended(void)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(engine.multi, &left)) != NULL)
		if (message->msg == CURLMSG_DONE)
			engine.on_end(message->easy_handle, message->data.result);
}

bool
engine_add(CURL *easy)
{
	CURLMcode result;

	if (++engine.under_way > ENGINE_MAX_IDLE_CONNECTIONS && !engine.is_wide)
	{
		engine.is_wide = true;
		curl_multi_setopt(engine.multi, CURLMOPT_MAXCONNECTS,
						  (long) ENGINE_MAX_CONNECTIONS);
	}
	enter_curl();
	result = curl_multi_add_handle(engine.multi, easy);
	leave_curl();
	return result == CURLM_OK;
}

/* No transfer is under way: the next begins with a multi handle of its own. */
static void
close_connections(void)
{

	enter_curl();
	(void) curl_multi_cleanup(engine.multi);
	leave_curl();
	engine.multi = NULL;
	engine.watched = engine.curls_own = 0;
	engine.timer = DT_NOEND;
	engine.is_wide = false;
}

void
engine_drop(CURL *easy)
{

	enter_curl();
	(void) curl_multi_remove_handle(engine.multi, easy);
	leave_curl();
	engine.under_way--;
}

static int
curl_events(uint32 events)
{
	int action = 0;

	if (events & EPOLLIN)
		action |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		action |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		action |= CURL_CSELECT_ERR;
	return action;
}

/* How many sockets had something for curl. */
static int
serve_sockets(void)
{
	struct epoll_event events[ENGINE_EVENTS];
	int count;
	int served = 0;

	if (engine.watched == 0)
		return 0;
	if (engine.last_is_ready)
	{
		engine.last_is_ready = false;
		engine_act(engine.last.socket, CURL_CSELECT_IN);
		return 1;
	}
	count = epoll_wait(engine.epoll, events, lengthof(events), 0);
	for (int i = 0; i < count; i++)
	{
		if (engine.last_is_idle && events[i].data.fd == engine.last.socket)
		{
			take_idle_out();
			continue;
		}
		engine_act(events[i].data.fd, curl_events(events[i].events));
		served++;
	}
	return served;
}

bool
engine_turn(void)
{
	int served = serve_sockets();
	bool due = engine.timer == 0 ||
			   (engine.timer != DT_NOEND && GetCurrentTimestamp() >= engine.timer);

	if (due)
	{
		engine.timer = DT_NOEND;
		engine_act(CURL_SOCKET_TIMEOUT, 0);
	}
	if (served > 0 || due)
		collect_ended();
	return served > 0 || due;
}

bool
engine_is_reading(void)
{
	return !engine.last_is_idle && engine.last.socket != CURL_SOCKET_BAD &&
		   engine.last.events == EPOLLIN;
}

/* --- waiting ------------------------------------------------------------------------- */

/* One transfer is under way, and is to be read. */
static bool
one_is_awaited(void)
{
	return engine.watched - engine.curls_own == 1 && engine_is_reading();
}

/* Where curl waits for one socket to be read, there is nothing to find out. */
static void
note_ready(void)
{
	engine.last_is_ready = engine.watched == 1 && engine_is_reading();
}

/*
 * Who sleeps is woken late: of a server that answers in less time than that, the answer
 * is looked out for, with the processor held.  Only where the last one came so soon; and
 * where it does not come, as from a server that waits for this very processor, it is not
 * tried again for twice as many waits as the time before.
 */
static bool
answer_comes_soon(TimestampTz now, TimestampTz until)
{
	struct pollfd wanted = {.fd = engine.last.socket, .events = POLLIN};
	TimestampTz end = Min(now + http_spin_us, Min(until, engine.timer));
	bool comes = false;

	if (!engine.is_quick || !one_is_awaited())
		return false;
	if (engine.waits_to_pass > 0)
	{
		engine.waits_to_pass--;
		return false;
	}
	do
		comes = poll(&wanted, 1, 0) > 0;
	while (!comes && !MyLatch->is_set && GetCurrentTimestamp() < end);
	engine.is_quick = comes;
	engine.waits_passed =
		comes ? 0 : Min(Max(2 * engine.waits_passed, 1), ENGINE_MAX_WAITS_PASSED);
	engine.waits_to_pass = engine.waits_passed;
	if (comes)
		note_ready();
	return comes;
}

static void
sleep_until(TimestampTz now, TimestampTz until)
{
	WaitEvent events[3];
	long timeout = TimestampDifferenceMilliseconds(now, Min(until, engine.timer));
	bool came = false;
	int count;

	/* Nobody reads what an idle connection has; its end would wake us on and on. */
	take_idle_out();
	/* 15's difference knows no limit, and "for ever" is more than a wait may take. */
	count = WaitEventSetWait(engine.wait_set, Min(timeout, (long) INT_MAX), events,
							 lengthof(events), engine.wait_event);
	for (int i = 0; i < count; i++)
	{
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		else if (events[i].events & WL_SOCKET_READABLE)
			came = true;
	}
	if (came)
		note_ready();
	engine.is_quick = came && one_is_awaited() && http_spin_us > 0 &&
					  GetCurrentTimestamp() - now <= http_spin_us;
}

void
engine_wait(TimestampTz until)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!answer_comes_soon(now, until))
		sleep_until(now, until);
	CHECK_FOR_INTERRUPTS();
}

/* --- beginning ------------------------------------------------------------------------ */

static void
make_epoll(void)
{
	if (!AcquireExternalFD())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						errmsg("out of file descriptors for HTTP requests: %m"),
						errhint("Raise \"max_files_per_process\".")));
	engine.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (engine.epoll < 0)
	{
		ReleaseExternalFD();
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						errmsg("could not create an epoll descriptor: %m")));
	}
}

static void
make_wait_set(void)
{
	WaitEventSet *set = compat_create_wait_event_set(3);

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, engine.epoll, NULL, NULL);
	engine.wait_set = set;
}

/* One thread, so no locks.  Connections and names are the multi handle's to keep. */
static void
make_share(void)
{
	CURLSH *share = curl_share_init();

	if (share != NULL)
		(void) curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	engine.share = share;
}

CURLSH *
engine_share(void)
{
	return engine.share;
}

static void
make_multi(void)
{
	CURLM *multi = NULL;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		multi = curl_multi_init();
	if (multi == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not initialize libcurl")));
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
					  (long) ENGINE_MAX_CONNECTIONS);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) ENGINE_MAX_IDLE_CONNECTIONS);
	if (engine.share == NULL)
		make_share();
	engine.multi = multi;
}

/* Each step is kept: what an error interrupts goes on with the next call. */
void
engine_begin(EngineEndCallback on_end)
{
	if (engine.is_wide && engine.under_way == 0)
		close_connections();
	if (engine.multi != NULL)
		return;
	engine.on_end = on_end;
	engine.timer = DT_NOEND;
	engine.wait_event = compat_wait_event("FactoryHttp");
	if (engine.epoll < 0)
		make_epoll();
	if (engine.wait_set == NULL)
		make_wait_set();
	make_multi();
}
