/*
 * watch.c
 *		Hears from the database that what is served has changed.
 *
 * One connection that only listens.  It is made by a thread, because looking up a name
 * blocks; afterwards it never does.  Several notifications at once are one.  Not every
 * DDL notifies: a sum over the catalogue's rows is asked for every so often, and where it
 * is another than before, that is a notification too.
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

/*
 * Another for every change of a served function, relation, column, key or comment; the
 * same after ANALYZE, and after REFRESH, which changes pg_class alone.
 */
static const char fingerprint_sql[] =
	"WITH s AS (SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname = ANY ("
	"  SELECT pg_catalog.btrim(n) FROM pg_catalog.unnest("
	"   pg_catalog.string_to_array($1, ',')) AS n)),"
	" c AS (SELECT c.oid, c.relname, c.relkind FROM pg_catalog.pg_class c"
	"  JOIN s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p')),"
	" v(v) AS (SELECT pg_catalog.concat_ws(':', oid, nspname) FROM s"
	"  UNION ALL SELECT pg_catalog.concat_ws(':', oid, relname, relkind) FROM c"
	"  UNION ALL SELECT pg_catalog.concat_ws(':', attrelid, attnum, a.xmin)"
	"   FROM pg_catalog.pg_attribute a JOIN c ON c.oid = a.attrelid WHERE attnum > 0"
	"  UNION ALL SELECT pg_catalog.concat_ws(':', p.oid, p.xmin)"
	"   FROM pg_catalog.pg_proc p JOIN s ON s.oid = p.pronamespace"
	"  UNION ALL SELECT pg_catalog.concat_ws(':', k.oid, k.xmin)"
	"   FROM pg_catalog.pg_constraint k JOIN c ON c.oid = k.conrelid)"
	" SELECT pg_catalog.concat_ws(':', pg_catalog.count(*),"
	"  pg_catalog.sum(pg_catalog.hashtextextended(v, 0))) FROM v";

struct Watch
{
	struct event_base *base;
	char *database;
	char *channel; /* "" for none */
	char *schemas;
	long look_ms; /* 0: never */
	void (*heard)(void *context);
	void *context;
	Errands *errands;
	PGconn *conn;
	struct event *readable;
	struct event *retry;
	struct event *settled;
	struct event *look;
	char *fingerprint; /* as it was last; NULL before */
	bool looking;
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
	watch->looking = false;
	evtimer_del(watch->look);
	arm(watch->retry, RETRY_MS);
}

/* --- looking ---------------------------------------------------------------------- */

static void
look_came(evutil_socket_t fd, short what, void *context)
{
	Watch *watch = context;
	const char *const values[] = {watch->schemas};

	(void) fd;
	(void) what;
	if (PQsendQueryParams(watch->conn, fingerprint_sql, 1, NULL, values, NULL, NULL, 0))
		watch->looking = true;
	else
		lose(watch);
}

/* A fingerprint that cannot be had is none: notifications are all there is then. */
static void
compare(Watch *watch, const PGresult *result)
{
	const char *found;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return;
	found = PQgetvalue(result, 0, 0);
	if (watch->fingerprint && strcmp(watch->fingerprint, found) == 0)
		return;
	if (watch->fingerprint)
		arm(watch->settled, SETTLE_MS);
	free(watch->fingerprint);
	watch->fingerprint = text_copy(found);
}

static void
take_looks(Watch *watch)
{
	PGresult *result;

	while (watch->looking && !PQisBusy(watch->conn))
	{
		result = PQgetResult(watch->conn);
		if (result)
			compare(watch, result);
		else
		{
			watch->looking = false;
			arm(watch->look, watch->look_ms);
		}
		PQclear(result);
	}
}

/* --- listening --------------------------------------------------------------------- */

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
	take_looks(watch);
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
	char *sql =
		*connecting->channel ? text_format("LISTEN %s", quoted) : text_copy("UNLISTEN *");
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
	arm(watch->settled, SETTLE_MS);
	if (watch->look_ms)
		look_came(-1, 0, watch);
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
watch_open(struct event_base *base, const Config *config, void (*heard)(void *context),
		   void *context)
{
	Errands *errands;
	Watch *watch;

	if (*config->channel == '\0' && config->look_interval == 0)
		return NULL;
	errands = errands_open(base);
	if (errands == NULL)
		return NULL;
	watch = memory_new(sizeof(Watch));
	watch->base = base;
	watch->database = text_copy(config->database);
	watch->channel = text_copy(config->channel);
	watch->schemas = text_copy(config->schemas);
	watch->look_ms = config->look_interval;
	watch->heard = heard;
	watch->context = context;
	watch->errands = errands;
	watch->retry = evtimer_new(base, try_again, watch);
	watch->settled = evtimer_new(base, settled, watch);
	watch->look = evtimer_new(base, look_came, watch);
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
	event_free(watch->look);
	free(watch->database);
	free(watch->channel);
	free(watch->schemas);
	free(watch->fingerprint);
	errands_close(watch->errands);
	free(watch);
}
