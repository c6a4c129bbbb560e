/*
 * redis_client.c
 *		One connection to Redis a process: found, made, spoken over and let go.
 *
 * hiredis writes the commands and reads the replies, a link of the http room carries
 * them.  A command that cannot be answered within factory.cache_redis_timeout, all of
 * finding and connecting included, has no reply; the server is then left alone for a
 * second, so that who judges is not kept waiting again and again.  So it is where slow
 * answers have cost one statement, or a worker's transaction, as much as that: a statement
 * of many rows does not pay for each.
 */
#include "postgres.h"

#include <ctype.h>
#include <hiredis/hiredis.h>
#include <limits.h>

#include "access/xact.h"
#include "base/secret.h"
#include "cache/cache_int.h"
#include "http/link.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define REDIS_REST_MS 1000
#define REDIS_LOG_AGAIN_MS (60 * 1000)

/* An answer is slow that takes more than this part of the time it may take. */
#define REDIS_SLOW_PART 20
#define REDIS_MAX_REPLY (4 * 1024 * 1024)
#define REDIS_MAX_ADDRESSES 8
#define REDIS_NAME_MAX 255

#define REDIS_PORT 6379
#define SENTINEL_PORT 26379

typedef struct RedisAddress
{
	bool is_tls;
	char user[REDIS_NAME_MAX + 1]; /* "": the default one */
	char host[REDIS_NAME_MAX + 1];
	int port; /* 0: the usual one */
	int database;
} RedisAddress;

char *redis_urls;
char *redis_master;
char *redis_password_file;
char *redis_ca_file;
int redis_timeout_ms;

static HttpLink *connection = NULL;
static redisReader *reader = NULL;
static bool is_busy = false; /* a reply is due: an error came between */
static char *connected_as = NULL;
static char connected_host[REDIS_NAME_MAX + 1];
static TimestampTz rest_until = 0;

/* What slow answers have cost the statement that began then. */
static TimestampTz slow_statement = 0;
static int64 slow_usec = 0;

/* --- addresses ------------------------------------------------------------------------- */

static bool
copy_part(char *part, const char *from, const char *to)
{
	if (to <= from || to - from > REDIS_NAME_MAX)
		return false;
	memcpy(part, from, to - from);
	part[to - from] = '\0';
	return true;
}

/* A number up to the end of the text. */
static bool
read_number(const char *text, int max, int *number)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	*number = (int) value;
	return errno == 0 && isdigit((unsigned char) *text) && *end == '\0' && value <= max;
}

/* "redis[s]://[user@]host[:port][/database]"; NULL, or what is wrong with it. */
static const char *
read_address(const char *url, RedisAddress *address)
{
	const char *rest = strstr(url, "://");
	const char *at, *end;
	char tail[REDIS_NAME_MAX + 1];
	char *slash;

	memset(address, 0, sizeof(*address));
	address->is_tls = strncmp(url, "rediss://", 9) == 0;
	if (rest == NULL || (!address->is_tls && strncmp(url, "redis://", 8) != 0))
		return "it does not begin with redis:// or rediss://";
	rest += 3;
	at = strchr(rest, '@');
	if (at != NULL && !copy_part(address->user, rest, at))
		return "the user is empty or too long";
	if (strchr(address->user, ':') != NULL)
		return "a password has no place here";
	rest = at ? at + 1 : rest;
	end = *rest == '[' ? strchr(rest, ']') : rest + strcspn(rest, ":/");
	if (end == NULL || !copy_part(address->host, *rest == '[' ? rest + 1 : rest, end))
		return "the host is missing or too long";
	strlcpy(tail, *end == ']' ? end + 1 : end, sizeof(tail));
	slash = strchr(tail, '/');
	if (slash != NULL)
	{
		*slash++ = '\0';
		if (*slash != '\0' && !read_number(slash, INT_MAX, &address->database))
			return "the database is not a number";
	}
	if (tail[0] != '\0' &&
		(tail[0] != ':' || !read_number(tail + 1, 65535, &address->port)))
		return "the port is not a number up to 65535";
	return NULL;
}

/* Of a list with commas; how many there are, or -1 with what is wrong. */
static int
read_addresses(const char *list, RedisAddress *addresses, const char **fault)
{
	int count = 0;

	while (*list != '\0')
	{
		size_t length = strcspn(list, ",");
		char one[2 * REDIS_NAME_MAX + 32];

		if (count == REDIS_MAX_ADDRESSES || length >= sizeof(one))
		{
			*fault = "there are more than 8 addresses, or one is too long";
			return -1;
		}
		memcpy(one, list, length);
		one[length] = '\0';
		*fault = read_address(one + strspn(one, " "), &addresses[count]);
		if (*fault != NULL)
			return -1;
		count++;
		list += length + (list[length] == ',');
	}
	return count;
}

bool
redis_check_urls(char **value, void **extra, GucSource source)
{
	RedisAddress addresses[REDIS_MAX_ADDRESSES];
	const char *fault;

	if (read_addresses(*value, addresses, &fault) >= 0)
		return true;
	GUC_check_errdetail("Not an address of Redis: %s.", fault);
	GUC_check_errhint(
		"Write redis://host:6379/0 or rediss://user@host, several with "
		"commas; the password is in \"factory.cache_redis_password_file\".");
	return false;
}

bool
redis_is_wanted(void)
{
	return redis_urls != NULL && redis_urls[0] != '\0';
}

/* --- one command over one link ------------------------------------------------------------- */

static void
hang_up(void)
{
	if (connection != NULL)
		link_close(connection);
	if (reader != NULL)
		redisReaderFree(reader);
	connection = NULL;
	reader = NULL;
	is_busy = false;
}

static redisReply *
read_reply(TimestampTz deadline)
{
	void *reply = NULL;
	size_t total = 0;
	char bytes[8192];

	for (;;)
	{
		size_t received;

		if (redisReaderGetReply(reader, &reply) != REDIS_OK)
			return NULL;
		if (reply != NULL)
			return reply;
		received = link_receive(connection, bytes, sizeof(bytes), deadline);
		total += received;
		if (received == 0 || total > REDIS_MAX_REPLY ||
			redisReaderFeed(reader, bytes, received) != REDIS_OK)
			return NULL;
	}
}

/* NULL: the connection is of no more use. */
static redisReply *
exchange(int count, const char **words, const size_t *lengths, TimestampTz deadline)
{
	char *command;
	char *copy;
	int length = redisFormatCommandArgv(&command, count, words, lengths);
	redisReply *reply = NULL;

	if (length < 0)
		return NULL;
	copy = palloc(length);
	memcpy(copy, command, length);
	redisFreeCommand(command);
	is_busy = true;
	if (link_send(connection, copy, length, deadline))
		reply = read_reply(deadline);
	pfree(copy);
	is_busy = reply == NULL;
	return reply;
}

/* NULL, or why the reply is none that was wanted. */
static char *
fault_of(const redisReply *reply, int wanted)
{
	if (reply == NULL)
		return pstrdup("no answer came in time");
	if (reply->type == REDIS_REPLY_ERROR)
		return psprintf("it says: %s", reply->str);
	return reply->type == wanted ? NULL : pstrdup("its answer is none of Redis's");
}

/* A command whose reply is only looked at. */
static char *
ask(int wanted, TimestampTz deadline, int count, const char **words)
{
	redisReply *reply = exchange(count, words, NULL, deadline);
	char *fault = fault_of(reply, wanted);

	if (reply != NULL)
		freeReplyObject(reply);
	return fault;
}

/* --- connecting -------------------------------------------------------------------------------- */

static char *
dial(const RedisAddress *address, int usual_port, TimestampTz deadline)
{
	HttpLinkTarget target = {
		.host = address->host,
		.port = address->port ? address->port : usual_port,
		.is_tls = address->is_tls,
		.ca_file = redis_ca_file[0] != '\0' ? redis_ca_file : NULL,
	};
	char *reason = NULL;
	long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

	hang_up();
	if (left <= 0)
		return pstrdup("no answer came in time");
	reader = redisReaderCreate();
	if (reader == NULL)
		return pstrdup("out of memory");
	connection = link_open(&target, (int) left, &reason);
	return connection ? NULL : reason;
}

static char *
log_in(const RedisAddress *address, TimestampTz deadline)
{
	const char *reason = NULL;
	const char *words[3] = {"AUTH"};
	int count = 1;
	char *password;
	char *fault;

	if (redis_password_file[0] == '\0')
		return NULL;
	password = secret_read_file(redis_password_file, &reason);
	if (password == NULL)
		return psprintf("its password is not to be had: %s", reason);
	if (address->user[0] != '\0')
		words[count++] = address->user;
	words[count++] = password;
	fault = ask(REDIS_REPLY_STATUS, deadline, count, words);
	explicit_bzero(password, strlen(password));
	return fault;
}

static char *
choose_database(const RedisAddress *address, TimestampTz deadline)
{
	char number[16];

	if (address->database == 0)
		return NULL;
	snprintf(number, sizeof(number), "%d", address->database);
	return ask(REDIS_REPLY_STATUS, deadline, 2, (const char *[]){"SELECT", number});
}

/* A sentinel may be out of date: who is connected to says himself what he is. */
static char *
check_is_master(TimestampTz deadline)
{
	redisReply *reply = exchange(1, (const char *[]){"ROLE"}, NULL, deadline);
	char *fault = fault_of(reply, REDIS_REPLY_ARRAY);

	if (fault == NULL && (reply->elements < 1 || reply->element[0]->str == NULL ||
						  strcmp(reply->element[0]->str, "master") != 0))
		fault = pstrdup("it is no master");
	if (reply != NULL)
		freeReplyObject(reply);
	return fault;
}

static char *
connect_to(const RedisAddress *address, TimestampTz deadline)
{
	char *fault = dial(address, REDIS_PORT, deadline);

	if (fault == NULL)
		fault = log_in(address, deadline);
	if (fault == NULL)
		fault = choose_database(address, deadline);
	if (fault == NULL)
		fault = check_is_master(deadline);
	return fault;
}

/* The master's address by a sentinel's word, in place of the sentinel's own. */
static char *
ask_sentinel(RedisAddress *address, TimestampTz deadline)
{
	const char *words[] = {"SENTINEL", "get-master-addr-by-name", redis_master};
	char *fault = dial(address, SENTINEL_PORT, deadline);
	redisReply *reply;

	if (fault != NULL)
		return fault;
	/* Many sentinels want no password, and say so. */
	(void) log_in(address, deadline);
	reply = exchange(3, words, NULL, deadline);
	fault = fault_of(reply, REDIS_REPLY_ARRAY);
	if (fault == NULL && (reply->elements != 2 || reply->element[0]->str == NULL ||
						  reply->element[1]->str == NULL ||
						  strlcpy(address->host, reply->element[0]->str,
								  sizeof(address->host)) >= sizeof(address->host) ||
						  !read_number(reply->element[1]->str, 65535, &address->port)))
		fault = psprintf("it knows no master \"%s\"", redis_master);
	if (reply != NULL)
		freeReplyObject(reply);
	return fault;
}

static void
complain(const char *host, const char *fault)
{
	static TimestampTz quiet_until = 0;
	TimestampTz now = GetCurrentTimestamp();

	rest_until = TimestampTzPlusMilliseconds(now, REDIS_REST_MS);
	if (now < quiet_until)
		return;
	quiet_until = TimestampTzPlusMilliseconds(now, REDIS_LOG_AGAIN_MS);
	ereport(LOG, (errmsg("no Redis for the cache at \"%s\": %s", host, fault),
				  errdetail("Answers are computed, or found in shared memory.")));
}

static bool
connect_to_any(TimestampTz deadline)
{
	RedisAddress addresses[REDIS_MAX_ADDRESSES];
	const char *ignored;
	int count = read_addresses(redis_urls, addresses, &ignored);
	char *fault = NULL;
	const char *host = "";

	for (int i = 0; i < count; i++)
	{
		host = addresses[i].host;
		fault = redis_master[0] != '\0' ? ask_sentinel(&addresses[i], deadline) : NULL;
		if (fault == NULL)
			fault = connect_to(&addresses[i], deadline);
		if (fault == NULL)
		{
			strlcpy(connected_host, host, sizeof(connected_host));
			return true;
		}
	}
	hang_up();
	complain(host, fault ? fault : "no address is given");
	return false;
}

/* Settings, or the password's place, may be others since. */
static bool
is_connected_as_set(void)
{
	char *wanted = psprintf("%s\n%s\n%s\n%s", redis_urls, redis_master,
							redis_password_file, redis_ca_file);
	bool same = connected_as != NULL && strcmp(wanted, connected_as) == 0;

	if (!same)
	{
		free(connected_as);
		connected_as = strdup(wanted);
		rest_until = 0;
	}
	pfree(wanted);
	return same;
}

/* --- for the level ----------------------------------------------------------------------------------- */

static int64
cost_of_statement(void)
{
	if (slow_statement != GetCurrentStatementStartTimestamp())
		slow_usec = 0;
	slow_statement = GetCurrentStatementStartTimestamp();
	return slow_usec;
}

static void
note_cost(int64 usec)
{
	if (usec > redis_timeout_ms * INT64CONST(1000) / REDIS_SLOW_PART)
		slow_usec = cost_of_statement() + usec;
}

/* Whether this statement may ask; else the server is left alone, and the log says why. */
static bool
may_ask(void)
{
	int64 usec = cost_of_statement();

	if (GetCurrentTimestamp() < rest_until)
		return false;
	if (usec < redis_timeout_ms * INT64CONST(1000))
		return true;
	complain(connected_host, psprintf("its slow answers took %d ms of one statement",
									  (int) (usec / 1000)));
	return false;
}

/* By the connection there is, or by a new one; NULL where there is no reply. */
static redisReply *
exchange_connected(int count, const char **words, const size_t *lengths, bool is_old,
				   TimestampTz deadline)
{
	redisReply *reply;

	if (connection == NULL && !connect_to_any(deadline))
		return NULL;
	reply = exchange(count, words, lengths, deadline);
	/* One that was idle may have been closed by the other side. */
	if (reply == NULL && is_old && connect_to_any(deadline))
		reply = exchange(count, words, lengths, deadline);
	return reply;
}

redisReply *
redis_command(int count, const char **words, const size_t *lengths)
{
	TimestampTz began = GetCurrentTimestamp();
	TimestampTz deadline = TimestampTzPlusMilliseconds(began, redis_timeout_ms);
	bool is_old = connection != NULL;
	redisReply *reply;

	if (!is_connected_as_set() || is_busy)
	{
		hang_up();
		is_old = false;
	}
	if (!may_ask())
		return NULL;
	reply = exchange_connected(count, words, lengths, is_old, deadline);
	note_cost(GetCurrentTimestamp() - began);
	if (reply != NULL && reply->type != REDIS_REPLY_ERROR)
		return reply;
	if (connection != NULL)
		complain(connected_host, fault_of(reply, REDIS_REPLY_NIL));
	if (reply != NULL)
		freeReplyObject(reply);
	hang_up();
	return NULL;
}
