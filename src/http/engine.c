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

typedef struct Engine
{
	CURLM *multi;
	CURLSH *share;
	int epoll;
	WaitEventSet *wait_set;
	uint32 wait_event;
	int under_way;     /* easy handles added and not dropped */
	bool is_wide;      /* more were under way than may stay open */
	TimestampTz timer; /* when curl wants to be called; DT_NOEND for never */
	EngineEndCallback on_end;
} Engine;

static Engine engine = {.epoll = -1};

/* --- curl tells us what to wait for; nothing here may raise ---------------------- */

static int
watch_socket(CURL *easy, curl_socket_t socket, int what, void *userp, void *known)
{
	struct epoll_event event = {.data.fd = socket};

	if (what == CURL_POLL_REMOVE)
	{
		/* curl may have closed it already, which took it out. */
		(void) epoll_ctl(engine.epoll, EPOLL_CTL_DEL, socket, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (epoll_ctl(engine.epoll, EPOLL_CTL_MOD, socket, &event) == 0)
		return 0;
	return epoll_ctl(engine.epoll, EPOLL_CTL_ADD, socket, &event) == 0 ? 0 : -1;
}

static int
set_timer(CURLM *multi, long timeout_ms, void *userp)
{
	if (timeout_ms < 0)
		engine.timer = DT_NOEND;
	else
		engine.timer =
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) timeout_ms);
	return 0;
}

/* --- calling curl ------------------------------------------------------------------ */

static void
block_signals(sigset_t *saved)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, saved);
}

static void
restore_signals(const sigset_t *saved)
{
	sigprocmask(SIG_SETMASK, saved, NULL);
}

static void
engine_act(curl_socket_t socket, int events)
{
	sigset_t saved;
	int running;

	block_signals(&saved);
	(void) curl_multi_socket_action(engine.multi, socket, events, &running);
	restore_signals(&saved);
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
	sigset_t saved;
	CURLMcode result;

	if (++engine.under_way > ENGINE_MAX_IDLE_CONNECTIONS && !engine.is_wide)
	{
		engine.is_wide = true;
		curl_multi_setopt(engine.multi, CURLMOPT_MAXCONNECTS,
						  (long) ENGINE_MAX_CONNECTIONS);
	}
	block_signals(&saved);
	result = curl_multi_add_handle(engine.multi, easy);
	restore_signals(&saved);
	return result == CURLM_OK;
}

/* No transfer is under way: the next begins with a multi handle of its own. */
static void
close_connections(void)
{
	sigset_t saved;

	block_signals(&saved);
	(void) curl_multi_cleanup(engine.multi);
	restore_signals(&saved);
	engine.multi = NULL;
	engine.timer = DT_NOEND;
	engine.is_wide = false;
}

void
engine_drop(CURL *easy)
{
	sigset_t saved;

	block_signals(&saved);
	(void) curl_multi_remove_handle(engine.multi, easy);
	curl_easy_cleanup(easy);
	restore_signals(&saved);
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

bool
engine_turn(void)
{
	struct epoll_event events[ENGINE_EVENTS];
	int count = epoll_wait(engine.epoll, events, lengthof(events), 0);
	bool due = engine.timer != DT_NOEND && GetCurrentTimestamp() >= engine.timer;

	for (int i = 0; i < count; i++)
		engine_act(events[i].data.fd, curl_events(events[i].events));
	if (due)
	{
		engine.timer = DT_NOEND;
		engine_act(CURL_SOCKET_TIMEOUT, 0);
	}
	collect_ended();
	return count > 0 || due;
}

/* --- waiting ------------------------------------------------------------------------- */

void
engine_wait(TimestampTz until)
{
	WaitEvent events[3];
	long timeout =
		TimestampDifferenceMilliseconds(GetCurrentTimestamp(), Min(until, engine.timer));
	int count;

	/* 15's difference knows no limit, and "for ever" is more than a wait may take. */
	count = WaitEventSetWait(engine.wait_set, Min(timeout, (long) INT_MAX), events,
							 lengthof(events), engine.wait_event);
	for (int i = 0; i < count; i++)
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
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
