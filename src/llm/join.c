/*
 * join.c
 *		Who asks the same at once is given one answer.
 *
 * Who asks first takes a place in shared memory with a digest of all that the call
 * depends on: tenant, role, the model's row, prompt, schema, options.  Who asks the same
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

typedef struct JoinPlace
{
	unsigned char digest[PG_SHA256_DIGEST_LENGTH]; /* under lock, as all but changed */
	int asker;                                     /* process; 0: through, or free */
	int waiting;                                   /* sessions; 0 and no asker: free */
	Size answer;               /* bytes of it, once the asker is through; 0: none */
	ConditionVariable changed; /* told when the asker is through */
} JoinPlace;

typedef struct JoinShared
{
	LWLock *lock;
	JoinPlace places[JOIN_PLACES];
	char answers[JOIN_PLACES][JOIN_MAX_ANSWER]; /* a place's own */
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
		memset(shared, 0, offsetof(JoinShared, answers));
		shared->lock = &GetNamedLWLockTranche(JOIN_TRANCHE)->lock;
		for (int i = 0; i < JOIN_PLACES; i++)
			ConditionVariableInit(&shared->places[i].changed);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* --- what is the same ------------------------------------------------------------------- */

static void
digest_add(pg_cryptohash_ctx *context, const void *bytes, Size length)
{
	if (pg_cryptohash_update(context, (const uint8 *) &length, sizeof(length)) < 0 ||
		pg_cryptohash_update(context, bytes, length) < 0)
		elog(ERROR, "could not digest a request");
}

/* None is another than an empty one. */
static void
digest_add_text(pg_cryptohash_ctx *context, const char *text)
{
	digest_add(context, text ? text : "", text ? strlen(text) + 1 : 0);
}

static void
digest_add_document(pg_cryptohash_ctx *context, Jsonb *document)
{
	digest_add(context, document ? (char *) document : "",
			   document ? VARSIZE(document) : 0);
}

static void
digest_add_model(pg_cryptohash_ctx *context, const LlmModel *model)
{
	digest_add_text(context, model->server);
	digest_add_text(context, model->provider_model);
	digest_add(context, &model->tier, sizeof(model->tier));
	digest_add(context, &model->options.temperature, sizeof(double));
	digest_add(context, &model->options.max_tokens, sizeof(int));
	digest_add(context, &model->options.ladder, sizeof(bool));
	digest_add(context, &model->options.ladder_confidence, sizeof(double));
}

static void
make_digest(unsigned char *digest, const LlmRequest *request, const LlmModel *model)
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	Oid role = GetUserId();
	bool masks = llm_masks_personal();

	if (context == NULL || pg_cryptohash_init(context) < 0)
		elog(ERROR, "could not begin to digest a request");
	digest_add(context, &MyDatabaseId, sizeof(MyDatabaseId));
	digest_add(context, &role, sizeof(role));
	digest_add(context, &masks, sizeof(masks));
	digest_add(context, &llm_ladder_confidence, sizeof(llm_ladder_confidence));
	digest_add_text(context, tenant_current());
	digest_add_text(context, request->model);
	digest_add_model(context, model);
	digest_add_text(context, request->system);
	digest_add_text(context, request->user);
	digest_add_document(context, request->schema);
	digest_add_document(context, request->options);
	if (pg_cryptohash_final(context, digest, PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not end the digest of a request");
	pg_cryptohash_free(context);
}

/* --- places -------------------------------------------------------------------------------- */

static void
leave_asking(const Jsonb *document)
{
	JoinPlace *place = &shared->places[asking_at];
	Size size = document ? VARSIZE(document) : 0;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	place->answer = 0;
	if (place->waiting > 0 && size <= JOIN_MAX_ANSWER)
	{
		memcpy(shared->answers[asking_at], document ? (const char *) document : "", size);
		place->answer = size;
	}
	place->asker = 0;
	LWLockRelease(shared->lock);
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
		memcpy(buffer, shared->answers[waiting_at], size);
	place->waiting--;
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

/* Either asking_at or waiting_at is set; neither where all places are taken. */
static void
take_place(const unsigned char *digest)
{
	static bool callback_registered = false;
	int free = -1;

	if (!callback_registered)
		before_shmem_exit(backend_exits, (Datum) 0);
	callback_registered = true;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < JOIN_PLACES && waiting_at < 0; i++)
	{
		JoinPlace *place = &shared->places[i];

		if (place->asker == 0 && place->waiting == 0)
			free = free < 0 ? i : free;
		else if (place->asker != 0 &&
				 memcmp(place->digest, digest, PG_SHA256_DIGEST_LENGTH) == 0)
		{
			place->waiting++;
			waiting_at = i;
		}
	}
	if (waiting_at < 0 && free >= 0)
	{
		memcpy(shared->places[free].digest, digest, PG_SHA256_DIGEST_LENGTH);
		shared->places[free].asker = MyProcPid;
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
	model = model_find(request->model);
	return model != NULL && gate_is_trusted(model->server) ? model : NULL;
}

Jsonb *
join_begin(JoinTicket *ticket, LlmRequest *request)
{
	unsigned char digest[PG_SHA256_DIGEST_LENGTH];
	const LlmModel *model = model_to_join(request);
	LlmOptions options;
	TimestampTz until;
	Jsonb *theirs;

	ticket->place = -1;
	if (model == NULL)
		return NULL;
	options = model->options;
	if (request->options != NULL)
		options_read(&options, request->options);
	make_digest(digest, request, model);
	take_place(digest);
	ticket->place = asking_at;
	if (waiting_at < 0)
		return NULL;
	until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										call_timeout(request, &options));
	theirs = take_their_answer(until);
	if (theirs != NULL)
		metric_add(METRIC_LLM_JOINED_CALLS, 1, METRIC_LABELS(model->name));
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
