/*
 * escalation.c
 *		Judgments that a person shall look at: one row of factory.review each.
 *
 * What is uncertain, grave or dangerous is flagged; what the policy leaves to a person,
 * or where rules and model disagree and nobody is to win, has no answer but theirs.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/activity.h"
#include "base/base.h"
#include "base/queue.h"
#include "catalog/pg_type.h"
#include "judgment/judgment_int.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

double review_confidence = 0.7;
bool review_critical = true;
int review_deadline_minutes = 240;

static const QueueColumn columns[] = {
	{"tenant_id", TEXTOID},    {"execution_id", UUIDOID},      {"decision", TEXTOID},
	{"version", INT4OID},      {"reasons", TEXTARRAYOID},      {"result", TEXTOID},
	{"confidence", FLOAT8OID}, {"proposal", JSONBOID},         {"input", JSONBOID},
	{"created_by", TEXTOID},   {"created_at", TIMESTAMPTZOID}, {"due_at", TIMESTAMPTZOID},
};

#define REVIEW_COLUMNS lengthof(columns)

static QueueKind review_rows = {"review", columns, REVIEW_COLUMNS};

void
escalation_register(void)
{
	queue_register(&review_rows);
}

/* --- whether ------------------------------------------------------------------------------ */

static List *
add_reason(List *reasons, bool holds, const char *reason)
{
	return holds ? lappend(reasons, unconstify(char *, reason)) : reasons;
}

void
escalation_consider(Judgment *judgment)
{
	const Verdict *verdict = &judgment->verdict;
	List *reasons = NIL;

	reasons = add_reason(reasons, judgment->policy == POLICY_ESCALATE, "policy");
	reasons = add_reason(reasons, judgment->conflict, "conflict");
	if (judgment->known)
	{
		reasons = add_reason(reasons, verdict->confidence < review_confidence,
							 "low_confidence");
		reasons =
			add_reason(reasons, review_critical && verdict->severity == SEVERITY_CRITICAL,
					   "critical");
		reasons = add_reason(reasons, actions_need_approval(verdict->actions),
							 "dangerous_action");
	}
	judgment->review = reasons;
}

/* --- the row ------------------------------------------------------------------------------ */

static void
put_verdict(DocBuilder *b, const char *key, const Verdict *verdict)
{
	if (verdict == NULL)
		return;
	doc_begin_object(b, key);
	doc_put_string(b, "status", verdict->status);
	doc_put_string(b, "severity", severity_name(verdict->severity));
	doc_put_number(b, "confidence", verdict->confidence);
	doc_put_doc(b, "recommended_actions", verdict_actions(verdict));
	doc_end_object(b);
}

/* What was answered, or would have been. */
static Jsonb *
proposal(const Judgment *judgment)
{
	const Evaluation *rules = judgment->evaluation;
	const ModelVerdict *model = judgment->model;
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	put_verdict(&b, "answer", judgment->known ? &judgment->verdict : NULL);
	put_verdict(&b, "rules", rules ? rules->verdict : NULL);
	put_verdict(&b, "model", model && model->failure == NULL ? &model->verdict : NULL);
	doc_end_object(&b);
	return doc_finish(&b);
}

static Datum
reasons_array(const List *reasons)
{
	Datum *texts = palloc(sizeof(Datum) * list_length(reasons));
	int count = 0;
	ListCell *cell;

	foreach (cell, reasons)
		texts[count++] = CStringGetTextDatum(lfirst(cell));
	return PointerGetDatum(
		construct_array(texts, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
write_row(const Judgment *judgment, Jsonb *input, bool async)
{
	const Decision *decision = judgment->decision;
	TimestampTz due =
		TimestampTzPlusMilliseconds(judgment->created_at,
									(int64) review_deadline_minutes * 60 * 1000);
	Datum values[REVIEW_COLUMNS] = {
		CStringGetTextDatum(tenant_current()),
		UUIDPGetDatum(&judgment->execution_id),
		CStringGetTextDatum(decision->name),
		Int32GetDatum(decision->version),
		reasons_array(judgment->review),
		CStringGetTextDatum(judgment->result ? judgment->result : "unknown"),
		Float8GetDatum(judgment->verdict.confidence),
		JsonbPGetDatum(proposal(judgment)),
		JsonbPGetDatum(input ? input
							 : decision_values(unconstify(Decision *, decision), false)),
		CStringGetTextDatum(GetUserNameFromId(GetUserId(), false)),
		TimestampTzGetDatum(judgment->created_at),
		TimestampTzGetDatum(due)};
	bool nulls[REVIEW_COLUMNS] = {false};

	nulls[6] = !judgment->known;
	nulls[11] = review_deadline_minutes == 0;
	if (!async || !queue_put(&review_rows, values, nulls))
		queue_insert(&review_rows, values, nulls);
}

const char *
escalation_obstacle(void)
{
	if (!house_is_enabled())
		return "not opened: factory.enabled is off";
	if (RecoveryInProgress())
		return "not opened: the server is a standby";
	if (XactReadOnly)
		return "not opened: the transaction is read-only";
	return NULL;
}

void
escalation_open(const Judgment *judgment, Jsonb *input)
{
	const char *reason;
	bool async = judgment_log_mode == LOG_ASYNC && house_may_act(&reason);

	if (judgment->review != NIL && escalation_obstacle() == NULL)
		write_row(judgment, input, async);
}
