/*
 * join.c
 *		Who asks the same at once is given one answer.
 *
 * Who asks first takes a place in shared memory with all that the call depends on, its
 * key: tenant, role, the model's row, prompt, schema, options; of what is long, a digest,
 * which would cost a call of the usual size more than all else here.  Who asks the same
 * while the first waits for his model waits for him.  When he is through he puts the
 * answer there for those who wait, and leaves; the last of them frees the place.  Nothing
 * is kept for later: that is the cache's matter.
 *
 * Where the first fails, is cancelled or ends, each who waits asks for himself.  Who is
 * waited for does not wait, so no two wait for each other.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "base/activity.h"
#include "base/compat.h"
#include "base/settings.h"
#include "base/tenant.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "lib/stringinfo.h"
#include "llm/llm_int.h"
#include "metrics/metrics.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define JOIN_TRANCHE "pg_factory_joins"

/* Calls that others can wait for, of all databases. */
#define JOIN_PLACES 64

/* An answer that is longer is its caller's alone. */
#define JOIN_MAX_ANSWER (16 * 1024)

/* A key that is longer is digested. */
#define JOIN_MAX_KEY (4 * 1024)

typedef struct JoinPlace
{
	int asker;   /* process; 0: through, or free; under lock, as all but changed */
	int waiting; /* sessions; 0 and no asker: free */
	Size key;    /* bytes of it, while there is an asker */
	Size answer; /* bytes of it, once the asker is through; 0: none */
	ConditionVariable changed; /* told when the asker is through */
} JoinPlace;

typedef struct JoinShared
{
	LWLock *lock;
	int busy; /* places that are not free; under lock */
	JoinPlace places[JOIN_PLACES];
	char texts[JOIN_PLACES]
			  [JOIN_MAX_ANSWER]; /* a place's own: its key, then its answer */
} JoinShared;

static JoinShared *shared = NULL;
static bool is_enabled = true;

/* What this process has to leave when it ends; -1: none. */
static int asking_at = -1;
static int waiting_at = -1;

static const Setting settings[] = {
	{"factory.llm_join",
	 "Enables giving one answer to all sessions that ask a model the same at once.",
	 SETTING_BOOL, &is_enabled, .boot = true, .context = PGC_USERSET},
};

void
join_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

void
join_request_shmem(void)
{
	RequestAddinShmemSpace(sizeof(JoinShared));
	RequestNamedLWLockTranche(JOIN_TRANCHE, 1);
}

void
join_attach_shmem(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("pg_factory joins", sizeof(JoinShared), &found);
	if (!found)
	{
		memset(shared, 0, offsetof(JoinShared, texts));
		shared->lock = &GetNamedLWLockTranche(JOIN_TRANCHE)->lock;
		for (int i = 0; i < JOIN_PLACES; i++)
			ConditionVariableInit(&shared->places[i].changed);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* --- what is the same ------------------------------------------------------------------- */

/* What a call depends on and has always the same length; then come its texts. */
typedef struct JoinKey
{
	Oid database;
	Oid role;
	int tier;
	int max_tokens;
	bool masks;
	bool ladder;
	double ladder_confidence;
	double model_ladder_confidence;
	double temperature;
	Size lengths[8]; /* of the texts; of one that is none 0, of an empty one 1 */
} JoinKey;

static int
add_bytes(StringInfo key, const void *bytes, Size length, int number)
{
	if (length > 0)
		appendBinaryStringInfo(key, bytes, length);
	((JoinKey *) key->data)->lengths[number] = length;
	return number + 1;
}

static int
add_text(StringInfo key, const char *text, int number)
{
	return add_bytes(key, text, text ? strlen(text) + 1 : 0, number);
}

static int
add_document(StringInfo key, const Jsonb *document, int number)
{
	return add_bytes(key, document, document ? VARSIZE(document) : 0, number);
}

static void
digest(StringInfo key)
{
	unsigned char result[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) key->data, key->len) < 0 ||
		pg_cryptohash_final(context, result, sizeof(result)) < 0)
		elog(ERROR, "could not digest a request");
	pg_cryptohash_free(context);
	resetStringInfo(key);
	appendBinaryStringInfo(key, (const char *) result, sizeof(result));
}

/* One that is not digested is longer than a digest. */
static void
make_key(StringInfo key, const LlmRequest *request, const LlmModel *model)
{
	JoinKey fixed;
	int number = 0;

	/* The gaps are compared, too. */
	memset(&fixed, 0, sizeof(fixed));
	fixed.database = MyDatabaseId;
	fixed.role = GetUserId();
	fixed.tier = model->tier;
	fixed.max_tokens = model->options.max_tokens;
	fixed.masks = llm_masks_personal();
	fixed.ladder = model->options.ladder;
	fixed.ladder_confidence = llm_ladder_confidence;
	fixed.model_ladder_confidence = model->options.ladder_confidence;
	fixed.temperature = model->options.temperature;
	initStringInfo(key);
	appendBinaryStringInfo(key, (const char *) &fixed, sizeof(fixed));
	number = add_text(key, tenant_current(), number);
	number = add_text(key, request->model, number);
	number = add_text(key, model->server, number);
	number = add_text(key, model->provider_model, number);
	number = add_text(key, request->system, number);
	number = add_text(key, request->user, number);
	number = add_document(key, request->schema, number);
	number = add_document(key, request->options, number);
	Assert(number == lengthof(fixed.lengths));
	if (key->len > JOIN_MAX_KEY)
		digest(key);
}

/* --- places -------------------------------------------------------------------------------- */

static void
leave_asking(const Jsonb *document)
{
	JoinPlace *place = &shared->places[asking_at];
	Size size = document ? VARSIZE(document) : 0;
	bool is_waited_for;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	is_waited_for = place->waiting > 0;
	place->answer = 0;
	if (is_waited_for && size <= JOIN_MAX_ANSWER)
	{
		memcpy(shared->texts[asking_at], document ? (const char *) document : "", size);
		place->answer = size;
	}
	place->asker = 0;
	if (!is_waited_for)
		shared->busy--;
	LWLockRelease(shared->lock);
	if (is_waited_for)
		ConditionVariableBroadcast(&place->changed);
	asking_at = -1;
}

/* With the answer in the buffer, if it is there; its size, 0 for none. */
static Size
leave_waiting(char *buffer)
{
	JoinPlace *place = &shared->places[waiting_at];
	Size size = 0;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (place->asker == 0)
		size = place->answer;
	if (size > 0 && buffer != NULL)
		memcpy(buffer, shared->texts[waiting_at], size);
	place->waiting--;
	if (place->asker == 0 && place->waiting == 0)
		shared->busy--;
	LWLockRelease(shared->lock);
	waiting_at = -1;
	return size;
}

static void
backend_exits(int code, Datum argument)
{
	if (asking_at >= 0)
		leave_asking(NULL);
	if (waiting_at >= 0)
		(void) leave_waiting(NULL);
}

static bool
is_asking(int position, StringInfo key)
{
	const JoinPlace *place = &shared->places[position];

	return place->asker != 0 && place->key == key->len &&
		   memcmp(shared->texts[position], key->data, key->len) == 0;
}

/* Either asking_at or waiting_at is set; neither where all places are taken. */
static void
take_place(StringInfo key)
{
	static bool callback_registered = false;
	int free = -1;
	int busy = 0;

	if (!callback_registered)
		before_shmem_exit(backend_exits, (Datum) 0);
	callback_registered = true;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0;
		 i < JOIN_PLACES && waiting_at < 0 && (free < 0 || busy < shared->busy); i++)
	{
		JoinPlace *place = &shared->places[i];

		if (place->asker == 0 && place->waiting == 0)
			free = free < 0 ? i : free;
		else
		{
			busy++;
			if (is_asking(i, key))
			{
				place->waiting++;
				waiting_at = i;
			}
		}
	}
	if (waiting_at < 0 && free >= 0)
	{
		memcpy(shared->texts[free], key->data, key->len);
		shared->places[free].key = key->len;
		shared->places[free].asker = MyProcPid;
		shared->busy++;
		asking_at = free;
	}
	LWLockRelease(shared->lock);
}

static bool
is_asked(const JoinPlace *place)
{
	bool result;

	LWLockAcquire(shared->lock, LW_SHARED);
	result = place->asker != 0;
	LWLockRelease(shared->lock);
	return result;
}

static void
wait_for(JoinPlace *place, TimestampTz until)
{
	static uint32 wait_event = 0;

	ConditionVariablePrepareToSleep(&place->changed);
	while (is_asked(place))
	{
		long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (left <= 0 ||
			ConditionVariableTimedSleep(&place->changed, Min(left, (long) INT_MAX),
										compat_named_wait(&wait_event, "FactoryJoin")))
			break;
	}
	ConditionVariableCancelSleep();
}

/* NULL where there is none. */
static Jsonb *
take_their_answer(TimestampTz until)
{
	char *buffer = palloc(JOIN_MAX_ANSWER);

	PG_TRY();
	{
		wait_for(&shared->places[waiting_at], until);
	}
	PG_CATCH();
	{
		ConditionVariableCancelSleep();
		(void) leave_waiting(NULL);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return leave_waiting(buffer) > 0 ? (Jsonb *) buffer : NULL;
}

/* --- the door ---------------------------------------------------------------------------------- */

/*
 * A call that may not be made, or is one within another, is nobody's to share; nor is the
 * one that tries whether a failing server is back: who asks meanwhile is told at once.
 */
static const LlmModel *
model_to_join(const LlmRequest *request)
{
	const LlmModel *model;
	const char *reason;

	if (!is_enabled || asking_at >= 0 || ledger_obstacle() != NULL ||
		!house_may_act(&reason))
		return NULL;
	model = model_glance(request->model);
	return model != NULL && gate_is_trusted(model->server) ? model : NULL;
}

Jsonb *
join_begin(JoinTicket *ticket, LlmRequest *request)
{
	const LlmModel *model = model_to_join(request);
	StringInfoData key;
	LlmOptions options;
	TimestampTz until;
	Jsonb *theirs;

	ticket->place = -1;
	if (model == NULL)
		return NULL;
	options = model->options;
	if (request->options != NULL)
		options_read(&options, request->options);
	make_key(&key, request, model);
	take_place(&key);
	pfree(key.data);
	ticket->place = asking_at;
	if (waiting_at < 0)
		return NULL;
	ticket->since = GetCurrentTimestamp();
	until = TimestampTzPlusMilliseconds(ticket->since, call_timeout(request, &options));
	theirs = take_their_answer(until);
	if (theirs != NULL)
		metric_add(METRIC_LLM_JOINED_CALLS, 1, METRIC_LABELS(request->model));
	/* What is left of the time, where one asks for oneself after all. */
	request->not_after = until;
	return theirs;
}

void
join_end(JoinTicket *ticket, const Jsonb *document)
{
	if (ticket->place >= 0 && ticket->place == asking_at)
		leave_asking(document);
	ticket->place = -1;
}
