/*
 * watch.c
 *		Hears from the database that what is served has changed.
 *
 * One connection that only listens.  It is made by a thread, because looking up a name
 * blocks; afterwards it never does.  Several notifications at once are one.
 */
#include "watch.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "errand.h"
#include "log.h"
#include "text.h"

#define RETRY_MS 2000
#define CONNECT_TIMEOUT "10"

/* DDL comes in bursts: one look after it is enough. */
#define SETTLE_MS 100

struct Watch
{
	struct event_base *base;
	const char *database;
	const char *channel;
	void (*heard)(void *context);
	void *context;
	Errands *errands;
	PGconn *conn;
	struct event *readable;
	struct event *retry;
	struct event *settled;
	bool listened; /* before: what came since was missed */
};

typedef struct Connecting
{
	Errand errand; /* must be first */
	Watch *watch;
	char *database;
	char *channel;
	PGconn *conn;
} Connecting;

static void begin(Watch *watch);

static void
arm(struct event *timer, long ms)
{
	struct timeval delay = {ms / 1000, ms % 1000 * 1000};

	if (!evtimer_pending(timer, NULL))
		evtimer_add(timer, &delay);
}

static void
lose(Watch *watch)
{
	if (watch->readable)
		event_free(watch->readable);
	watch->readable = NULL;
	PQfinish(watch->conn);
	watch->conn = NULL;
	arm(watch->retry, RETRY_MS);
}

static void
notification_came(evutil_socket_t fd, short what, void *context)
{
	Watch *watch = context;
	PGnotify *notification;

	(void) fd;
	(void) what;
	if (!PQconsumeInput(watch->conn))
	{
		lose(watch);
		return;
	}
	while ((notification = PQnotifies(watch->conn)) != NULL)
	{
		PQfreemem(notification);
		arm(watch->settled, SETTLE_MS);
	}
}

static void
settled(evutil_socket_t fd, short what, void *context)
{
	Watch *watch = context;

	(void) fd;
	(void) what;
	watch->heard(watch->context);
}

static void
try_again(evutil_socket_t fd, short what, void *context)
{
	(void) fd;
	(void) what;
	begin(context);
}

static void
ignore_notice(void *context, const PGresult *notice)
{
	(void) context;
	(void) notice;
}

/* In the thread: may block. */
static void
connect_and_listen(Errand *errand)
{
	Connecting *connecting = (Connecting *) errand;
	const char *const keywords[] = {"dbname", "client_encoding",
									"fallback_application_name", "connect_timeout", NULL};
	const char *const values[] = {connecting->database, "UTF8", "factoryd watch",
								  CONNECT_TIMEOUT, NULL};
	char *quoted = text_quote_identifier(connecting->channel);
	char *sql = text_format("LISTEN %s", quoted);
	PGresult *result;

	connecting->conn = PQconnectdbParams(keywords, values, 1);
	PQsetNoticeReceiver(connecting->conn, ignore_notice, NULL);
	result = PQexec(connecting->conn, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
	{
		PQfinish(connecting->conn);
		connecting->conn = NULL;
	}
	PQclear(result);
	free(sql);
	free(quoted);
}

static void
connected(Errand *errand)
{
	Connecting *connecting = (Connecting *) errand;
	Watch *watch = connecting->watch;

	watch->conn = connecting->conn;
	free(connecting->database);
	free(connecting->channel);
	free(connecting);
	if (watch->conn == NULL)
	{
		arm(watch->retry, RETRY_MS);
		return;
	}
	PQsetnonblocking(watch->conn, 1);
	watch->readable = event_new(watch->base, PQsocket(watch->conn), EV_READ | EV_PERSIST,
								notification_came, watch);
	event_add(watch->readable, NULL);
	if (watch->listened)
		arm(watch->settled, SETTLE_MS);
	watch->listened = true;
}

static void
begin(Watch *watch)
{
	Connecting *connecting = memory_new(sizeof(Connecting));

	connecting->errand = (Errand){connect_and_listen, connected, NULL};
	connecting->watch = watch;
	connecting->database = text_copy(watch->database);
	connecting->channel = text_copy(watch->channel);
	if (!errand_start(watch->errands, &connecting->errand))
	{
		free(connecting->database);
		free(connecting->channel);
		free(connecting);
		arm(watch->retry, RETRY_MS);
	}
}

Watch *
watch_open(struct event_base *base, const char *database, const char *channel,
		   void (*heard)(void *context), void *context)
{
	Errands *errands = errands_open(base);
	Watch *watch;

	if (errands == NULL)
		return NULL;
	watch = memory_new(sizeof(Watch));
	watch->base = base;
	watch->database = database;
	watch->channel = channel;
	watch->heard = heard;
	watch->context = context;
	watch->errands = errands;
	watch->retry = evtimer_new(base, try_again, watch);
	watch->settled = evtimer_new(base, settled, watch);
	begin(watch);
	return watch;
}

void
watch_close(Watch *watch)
{
	if (watch == NULL)
		return;
	if (watch->readable)
		event_free(watch->readable);
	PQfinish(watch->conn);
	event_free(watch->retry);
	event_free(watch->settled);
	errands_close(watch->errands);
	free(watch);
}
