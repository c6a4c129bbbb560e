/*
 * recall.c
 *		What judgments remember of one another: a model's answers, and, where a
 *		decision asks for it, which rules matched.
 *
 * Rules are decided anew even where a model's answer is given again: that costs less
 * than looking them up, and what they say by the clock is never old.  Only a decision
 * with a cache_ttl has conditions worth remembering.  Nothing personal is kept: no
 * input, only the digest of all, and what was answered.
 */
#include "postgres.h"

#include "judgment/judgment_int.h"
#include "lib/stringinfo.h"
#include "metrics/metrics.h"
#include "miscadmin.h"

int judgment_cache_ttl_ms;

/* In front of what is kept. */
typedef struct KeptHead
{
	pg_uuid_t execution_id; /* of the judgment that is given again */
} KeptHead;

static int64
ttl_of(const Judgment *judgment)
{
	const Decision *decision = judgment->decision;

	if (decision->cache_ttl_ms >= 0)
		return decision->cache_ttl_ms;
	return judgment->policy == POLICY_RULE_ONLY ? 0 : judgment_cache_ttl_ms;
}

static void
append_doc(StringInfo material, Jsonb *doc)
{
	uint32 length = doc ? VARSIZE(doc) - VARHDRSZ : 0;

	appendBinaryStringInfo(material, (const char *) &length, sizeof(length));
	if (doc != NULL)
		appendBinaryStringInfo(material, (const char *) &doc->root, length);
}

/*
 * The definition's hash holds prompt and language; jsonb has one order of keys only.
 * let values follow from the inputs, but for the clock and tables.
 */
bool
recall_key(const Judgment *judgment, Evaluation *rules, Jsonb *context,
		   JudgmentKeeping *keeping)
{
	Decision *decision = judgment->decision;
	bool with_lets = decision->uses_time || decision->is_mutable;
	StringInfoData material;

	if (judgment->recall == RECALL_NEVER || decision->hash == NULL ||
		ttl_of(judgment) <= 0)
		return false;
	*keeping = (JudgmentKeeping){.execution_id = judgment->execution_id,
								 .ttl_ms = ttl_of(judgment)};
	initStringInfo(&material);
	appendStringInfo(&material, "%s %d %s %s %d %g", decision->hash, decision->version,
					 judgment_policy_names[judgment->policy], decision->language,
					 llm_masks_personal(), llm_ladder_confidence);
	append_doc(&material, decision_values(decision, with_lets));
	append_doc(&material, context);
	if (rules != NULL)
		appendStringInfo(&material, "%s %g %s",
						 rules->verdict && rules->verdict->status ? rules->verdict->status
																  : "",
						 rules->verdict ? rules->verdict->confidence : 0,
						 evaluation_reason(rules));
	cache_key(&keeping->ticket, CACHE_JUDGMENT, decision->name, material.data,
			  material.len);
	return true;
}

CacheFound *
recall_look(const char *decision, CacheTicket *ticket, CacheTurn turn)
{
	CacheFound *found = palloc(sizeof(CacheFound));

	if (!cache_find(ticket, turn, found) || found->size < sizeof(KeptHead))
	{
		metric_add(METRIC_JUDGMENT_CACHE_MISSES, 1, METRIC_LABELS(decision));
		return NULL;
	}
	metric_add(METRIC_JUDGMENT_CACHE_HITS, 1, METRIC_LABELS(decision));
	return found;
}

const void *
recall_bytes(const CacheFound *found, Size *size)
{
	*size = found->size - sizeof(KeptHead);
	return (const char *) found->bytes + sizeof(KeptHead);
}

bool
recall_find(Judgment *judgment, CacheTicket *ticket, const void **bytes, Size *size)
{
	/* In pieces there may be models under way that cannot be attended to meanwhile. */
	CacheTurn turn = judgment->in_pieces ? CACHE_TAKE_TURN : CACHE_AWAIT_TURN;

	if (judgment->recall != RECALL_ALLOWED)
		return false;
	judgment->recalled = recall_look(judgment->decision->name, ticket, turn);
	if (judgment->recalled == NULL)
		return false;
	*bytes = recall_bytes(judgment->recalled, size);
	return true;
}

const pg_uuid_t *
recall_first(const Judgment *judgment)
{
	return &((const KeptHead *) judgment->recalled->bytes)->execution_id;
}

void
recall_keep(JudgmentKeeping *keeping, const void *bytes, Size size)
{
	char *kept = palloc(sizeof(KeptHead) + size);

	((KeptHead *) kept)->execution_id = keeping->execution_id;
	memcpy(kept + sizeof(KeptHead), bytes, size);
	if (keeping->later)
		cache_put_in_memory(&keeping->ticket, kept, sizeof(KeptHead) + size,
							keeping->ttl_ms);
	else
		cache_put(&keeping->ticket, kept, sizeof(KeptHead) + size, keeping->ttl_ms);
	pfree(kept);
}

/* --- rules ---------------------------------------------------------------------------------- */

/* How many rules were decided, then the positions of those that matched. */
static void
keep_rules(JudgmentKeeping *keeping, const Evaluation *rules)
{
	int count = list_length(rules->hits);
	int32 *kept = palloc(sizeof(int32) * (count + 1));
	ListCell *cell;

	kept[0] = rules->decided;
	foreach (cell, rules->hits)
		kept[foreach_current_index(cell) + 1] = ((Rule *) lfirst(cell))->index;
	recall_keep(keeping, kept, sizeof(int32) * (count + 1));
}

/* What could not be decided may be so only now, and is tried again. */
void
rules_finish(Judgment *judgment, Evaluation *rules)
{
	JudgmentKeeping keeping;
	const void *bytes;
	Size size;

	if (!recall_key(judgment, NULL, NULL, &keeping))
		evaluation_run(rules);
	else if (recall_find(judgment, &keeping.ticket, &bytes, &size))
	{
		const int32 *kept = bytes;

		evaluation_resume(rules, kept + 1, size / sizeof(int32) - 1, kept[0]);
	}
	else
	{
		evaluation_run(rules);
		if (rules->verdict != NULL && rules->undecided == NIL)
			keep_rules(&keeping, rules);
		else
			cache_give_up(&keeping.ticket);
	}
}
