/*
 * join.c
 *		Who asks the same at once is given one answer.
 *
 * Who asks first takes a place in shared memory with all that the call depends on, its
 * key: tenant, role, the model's row, prompt, schema, options; of what is long, a digest,
 * which would cost a call of the usual size more than all else here.  A call of the same
 * while the first waits for his model follows him.  When he is through he puts the
 * answer there for those who follow, and leaves; the last of them frees the place.
 * Nothing is kept for later: that is the cache's matter.
 *
 * Where the first fails, is cancelled or ends, each who follows asks for himself; so he
 * does where the first is not through in time.  A call that follows is one of those that
 * a process drives, and holds none of them up.  But one that is made within another, by
 * the query whose rows are the prompts, does: it neither follows nor is followed, so no
 * two wait for each other.
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
#include "http/http.h"
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

/* Calls that others can follow, of all databases. */
#define JOIN_PLACES 256

/* An answer that is longer is its caller's alone. */
#define JOIN_MAX_ANSWER (16 * 1024)

/* A key that is longer is digested. */
#define JOIN_MAX_KEY (4 * 1024)

typedef struct JoinPlace
{
	int asker;         /* process; 0: through, or free; under lock, as all but changed */
	int waiting;       /* calls that follow; 0 and no asker: free */
	TimestampTz until; /* the asker is to be through by then */
	Size key;          /* bytes of it, while there is an asker */
	Size answer;       /* bytes of it, once the asker is through; 0: none */
	ConditionVariable changed; /* told when the asker is through */
} JoinPlace;

typedef struct JoinShared
{
	LWLock *lock;
	int busy;                 /* places that are not free; under lock */
	pg_atomic_uint64 endings; /* askers that were followed and are through */
	ConditionVariable ended;  /* told of each */
	JoinPlace places[JOIN_PLACES];
	char texts[JOIN_PLACES]
			  [JOIN_MAX_ANSWER]; /* a place's own: its key, then its answer */
} JoinShared;

static JoinShared *shared = NULL;
static bool is_enabled = true;

/* What this process has to leave when it ends, by place. */
static bool asking[JOIN_PLACES];
static int following[JOIN_PLACES];
static int asking_count = 0;
static int following_count = 0;

static const Setting settings[] = {
	{"factory.llm_join",
	 "Enables giving one answer to all sessions and jobs that ask a model the same at "
	 "once.",
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
		pg_atomic_init_u64(&shared->endings, 0);
		ConditionVariableInit(&shared->ended);
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
leave_asking(int position, const Jsonb *document)
{
	JoinPlace *place = &shared->places[position];
	Size size = document ? VARSIZE(document) : 0;
	bool is_followed;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	is_followed = place->waiting > 0;
	place->answer = 0;
	if (is_followed && size <= JOIN_MAX_ANSWER)
	{
		memcpy(shared->texts[position], document ? (const char *) document : "", size);
		place->answer = size;
	}
	place->asker = 0;
	if (is_followed)
		(void) pg_atomic_fetch_add_u64(&shared->endings, 1);
	else
		shared->busy--;
	LWLockRelease(shared->lock);
	if (is_followed)
	{
		ConditionVariableBroadcast(&place->changed);
		ConditionVariableBroadcast(&shared->ended);
	}
	asking[position] = false;
	asking_count--;
}

/* With the answer in the buffer, if it is there; its size, 0 for none. */
static Size
leave_following(int position, char *buffer, bool *is_late)
{
	JoinPlace *place = &shared->places[position];
	Size size = 0;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (place->asker == 0)
		size = place->answer;
	if (size > 0 && buffer != NULL)
		memcpy(buffer, shared->texts[position], size);
	*is_late = place->asker != 0 && place->until <= GetCurrentTimestamp();
	place->waiting--;
	if (place->asker == 0 && place->waiting == 0)
		shared->busy--;
	LWLockRelease(shared->lock);
	following[position]--;
	following_count--;
	return size;
}

static void
backend_exits(int code, Datum argument)
{
	bool ignored;

	for (int i = 0; i < JOIN_PLACES && asking_count + following_count > 0; i++)
	{
		if (asking[i])
			leave_asking(i, NULL);
		while (following[i] > 0)
			(void) leave_following(i, NULL, &ignored);
	}
}

static bool
is_asking(int position, StringInfo key)
{
	const JoinPlace *place = &shared->places[position];

	return place->asker != 0 && place->key == key->len &&
		   memcmp(shared->texts[position], key->data, key->len) == 0;
}

/* Where the same is asked, or a free place, or -1; under lock. */
static int
find_place(StringInfo key)
{
	int free = -1;
	int busy = 0;

	for (int i = 0; i < JOIN_PLACES && (free < 0 || busy < shared->busy); i++)
	{
		const JoinPlace *place = &shared->places[i];

		if (place->asker == 0 && place->waiting == 0)
			free = free < 0 ? i : free;
		else if (is_asking(i, key))
			return i;
		else
			busy++;
	}
	return free;
}

static void
follow(int position, LlmCall *call)
{
	shared->places[position].waiting++;
	following[position]++;
	following_count++;
	call->state = CALL_FOLLOWING;
}

static void
be_followed(int position, StringInfo key, TimestampTz until)
{
	JoinPlace *place = &shared->places[position];

	memcpy(shared->texts[position], key->data, key->len);
	place->key = key->len;
	place->asker = MyProcPid;
	place->until = until;
	shared->busy++;
	asking[position] = true;
	asking_count++;
}

/* None where all places are taken. */
static void
take_place(StringInfo key, LlmCall *call)
{
	static bool callback_registered = false;
	int position;

	if (!callback_registered)
		before_shmem_exit(backend_exits, (Datum) 0);
	callback_registered = true;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	position = find_place(key);
	if (position >= 0 && shared->places[position].asker != 0)
		follow(position, call);
	else if (position >= 0)
		be_followed(position, key, call->moment);
	LWLockRelease(shared->lock);
	call->place = position + 1;
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

static bool
is_followed(const JoinPlace *place)
{
	bool result;

	LWLockAcquire(shared->lock, LW_SHARED);
	result = place->waiting > 0;
	LWLockRelease(shared->lock);
	return result;
}

/* --- waiting ------------------------------------------------------------------------------- */

void
join_wait_alone(const LlmCall *call)
{
	static uint32 wait_event = 0;
	JoinPlace *place = &shared->places[call->place - 1];

	ConditionVariablePrepareToSleep(&place->changed);
	while (is_asked(place))
	{
		long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), call->moment);

		if (left <= 0 ||
			ConditionVariableTimedSleep(&place->changed, Min(left, (long) INT_MAX),
										compat_named_wait(&wait_event, "FactoryJoin")))
			break;
	}
	ConditionVariableCancelSleep();
}

/*
 * Whoever is through meanwhile sets our latch.  Who was it before we would have been
 * told is counted; and what was counted before is known, since each call is looked at
 * between two waits.
 */
void
join_wait(TimestampTz until)
{
	static uint64 known = 0;

	if (following_count == 0)
	{
		http_wait(until);
		return;
	}
	ConditionVariablePrepareToSleep(&shared->ended);
	if (pg_atomic_read_u64(&shared->endings) == known)
		http_wait(until);
	ConditionVariableCancelSleep();
	known = pg_atomic_read_u64(&shared->endings);
}

/* --- the door ---------------------------------------------------------------------------------- */

bool
join_is_free(void)
{
	return asking_count + following_count == 0;
}

/*
 * A call that may not be made is nobody's to share; nor is the one that tries whether a
 * failing server is back: who asks meanwhile is told at once.
 */
static const LlmModel *
model_to_join(const LlmRequest *request)
{
	const LlmModel *model;
	const char *reason;

	if (!is_enabled || ledger_obstacle() != NULL || !house_may_act(&reason))
		return NULL;
	model = model_glance(request->model);
	return model != NULL && gate_is_trusted(model->server) ? model : NULL;
}

bool
join_begin(LlmCall *call)
{
	const LlmModel *model = model_to_join(&call->request);
	StringInfoData key;
	LlmOptions options;

	if (model == NULL)
		return false;
	options = model->options;
	if (call->request.options != NULL)
		options_read(&options, call->request.options);
	make_key(&key, &call->request, model);
	call->started = GetCurrentTimestamp();
	call->moment = call_deadline(call, &options);
	take_place(&key, call);
	pfree(key.data);
	return call->state == CALL_FOLLOWING;
}

bool
join_is_over(const LlmCall *call)
{
	return !is_asked(&shared->places[call->place - 1]) ||
		   GetCurrentTimestamp() >= call->moment;
}

/* An answer that another's call brought: this one took nothing but time. */
static void
take_their_answer(LlmCall *call, Jsonb *theirs)
{
	LlmAnswer *answer = &call->answer;

	answer->text = doc_get_string(theirs, "text");
	answer->json = doc_get_doc(theirs, "json");
	answer->model = doc_get_string(theirs, "model");
	answer->ladder = doc_get_doc(theirs, "ladder");
	answer->is_joined = true;
	answer->latency_ms = (GetCurrentTimestamp() - call->started) / 1000.0;
	call->state = CALL_ENDED;
	metric_add(METRIC_LLM_JOINED_CALLS, 1, METRIC_LABELS(call->request.model));
}

bool
join_take(LlmCall *call)
{
	static char theirs[JOIN_MAX_ANSWER];
	bool is_late;
	Size size = leave_following(call->place - 1, theirs, &is_late);

	call->place = 0;
	call->state = CALL_PAUSED;
	if (size > 0)
		take_their_answer(call, memcpy(palloc(size), theirs, size));
	/* Who was held up by something else has cost us our time: it begins anew. */
	else if (!is_late)
		call->request.not_after = call->moment;
	return size > 0;
}

void
join_answer(LlmCall *call)
{
	const Jsonb *document = NULL;

	if (call->answer.failure == LLM_OK && is_followed(&shared->places[call->place - 1]))
		document = llm_answer_document(&call->answer);
	leave_asking(call->place - 1, document);
	call->place = 0;
}

void
join_end(LlmCall *call)
{
	int position = call->place - 1;
	bool ignored;

	call->place = 0;
	/* A process that ends may have left before. */
	if (position < 0 || join_is_free())
		return;
	if (call->state == CALL_FOLLOWING)
		(void) leave_following(position, NULL, &ignored);
	else
		leave_asking(position, NULL);
}
