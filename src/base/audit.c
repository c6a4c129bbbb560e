/*
 * audit.c
 *		Writing the audit log.
 *
 * The row is part of the transaction that it tells of: both are there, or neither.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/activity.h"
#include "base/attempt.h"
#include "base/audit.h"
#include "base/base.h"
#include "base/compat.h"
#include "base/document.h"
#include "base/house.h"
#include "base/months.h"
#include "base/settings.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* What a request says of itself is kept up to this many bytes. */
#define AUDIT_CLAIM_MAX 200

static int retention_minutes = 0;
static char *trace_id_setting = NULL;

static const Setting settings[] = {
	{"factory.audit_retention",
	 "Sets how long the audit log is kept at least; 0 means for ever.", SETTING_INT,
	 &retention_minutes, .boot = 731 * 24 * 60, .min = 0, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MIN},
	{"factory.trace_id",
	 "Sets the trace that the audit log names; empty means that of the request's "
	 "traceparent header.",
	 SETTING_STRING, &trace_id_setting, .boot_text = "", .context = PGC_USERSET},
};

void
audit_define_settings(void)
{
	settings_define(settings, lengthof(settings));
	months_keep(&(MonthlyLog){
		"audit_log", "SELECT factory.make_audit_months()",
		"SELECT factory.drop_audit_before() "
		"WHERE pg_catalog.current_setting('factory.audit_retention') <> '0'"});
}

/* --- who ----------------------------------------------------------------------------------- */

/* A document that a request's setting holds, or NULL. */
static Jsonb *
request_document(const char *setting)
{
	const char *text = GetConfigOption(setting, true, false);
	char *utf8, *why;

	if (text == NULL || *text == '\0')
		return NULL;
	utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);
	return doc_parse(utf8, strlen(utf8), &why);
}

static char *
clipped(char *text)
{
	if (text != NULL && strlen(text) > AUDIT_CLAIM_MAX)
		text[pg_mbcliplen(text, strlen(text), AUDIT_CLAIM_MAX)] = '\0';
	return text;
}

/* Whom a request through factoryd claims to come from, or NULL. */
static char *
claimed_subject(void)
{
	Jsonb *claims = request_document("request.jwt.claims");

	return claims ? clipped(doc_get_string(claims, "sub")) : NULL;
}

/* The setting, or the second field of a request's "traceparent: 00-TRACE-SPAN-00". */
static char *
trace_id(void)
{
	Jsonb *headers;
	char *parent;

	if (trace_id_setting != NULL && trace_id_setting[0] != '\0')
		return clipped(pstrdup(trace_id_setting));
	headers = request_document("request.headers");
	parent = headers ? doc_get_string(headers, "traceparent") : NULL;
	if (parent == NULL || strlen(parent) < 36 || parent[2] != '-' || parent[35] != '-')
		return NULL;
	return pnstrdup(parent + 3, 32);
}

static const char *
actor_type(const char *subject)
{
	if (MyBackendType == B_BG_WORKER)
		return "system";
	return subject != NULL ? "api" : "user";
}

/* Some of what is audited concerns the whole server: no tenant is no obstacle. */
static void
find_tenant(void *argument)
{
	*(const char **) argument = tenant_current();
}

/* --- writing ------------------------------------------------------------------------------ */

#define AUDIT_COLUMNS 12

static const char *const insert_query =
	"INSERT INTO factory.audit_log (tenant_id, actor, actor_type, session_role, "
	"acting_role, action, object_type, object, before, after, application, trace_id, "
	"source_address) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
	"pg_catalog.inet_client_addr())";

typedef struct AuditValue
{
	Oid type;
	Datum value;
	bool isnull;
} AuditValue;

static AuditValue
text_value(const char *text)
{
	return (AuditValue){TEXTOID, text ? CStringGetTextDatum(text) : (Datum) 0, !text};
}

static AuditValue
document_value(Jsonb *document)
{
	return (AuditValue){JSONBOID, document ? JsonbPGetDatum(document) : (Datum) 0,
						!document};
}

static void
insert_row(const AuditValue *row)
{
	Oid types[AUDIT_COLUMNS];
	Datum values[AUDIT_COLUMNS];
	char nulls[AUDIT_COLUMNS];
	HouseRights saved;

	for (int i = 0; i < AUDIT_COLUMNS; i++)
	{
		types[i] = row[i].type;
		values[i] = row[i].value;
		nulls[i] = row[i].isnull ? 'n' : ' ';
	}
	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_with_args(insert_query, AUDIT_COLUMNS, types, values, nulls, false,
							  0) != SPI_OK_INSERT)
		elog(ERROR, "could not write the audit log");
	SPI_finish();
	house_leave(&saved);
}

static bool
nothing_can_be_changed(void)
{
	return RecoveryInProgress() || XactReadOnly || IsInParallelMode();
}

void
audit_write(const char *action, const char *object_type, const char *object,
			Jsonb *before, Jsonb *after)
{
	AuditValue row[AUDIT_COLUMNS];
	char *subject = claimed_subject();
	const char *session_role = GetUserNameFromId(GetSessionUserId(), false);
	const char *acting_role = GetUserNameFromId(GetOuterUserId(), false);
	const char *tenant = TENANT_DEFAULT;
	int n = 0;

	if (nothing_can_be_changed())
		return;
	(void) attempt(find_tenant, &tenant);
	months_make();
	row[n++] = text_value(tenant);
	row[n++] = text_value(subject ? subject : acting_role);
	row[n++] = text_value(actor_type(subject));
	row[n++] = text_value(session_role);
	row[n++] = text_value(acting_role);
	row[n++] = text_value(action);
	row[n++] = text_value(object_type);
	row[n++] = text_value(object);
	row[n++] = document_value(before);
	row[n++] = document_value(after);
	row[n++] = text_value(application_name);
	row[n++] = text_value(trace_id());
	Assert(n == AUDIT_COLUMNS);
	insert_row(row);
}

/* --- for SQL -------------------------------------------------------------------------------- */

static char *
text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static Jsonb *
document_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_JSONB_P(number);
}

FACTORY_FUNCTION(factory_audit);

Datum
factory_audit(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("action and object type must not be null")));
	audit_write(text_argument(fcinfo, 0), text_argument(fcinfo, 1),
				text_argument(fcinfo, 2), document_argument(fcinfo, 3),
				document_argument(fcinfo, 4));
	PG_RETURN_VOID();
}
