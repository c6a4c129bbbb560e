/*
 * request.c
 *		What a request's transaction begins with: who asks, and what it may know.
 *
 * A gateway serves many callers on one connection.  Setting a role costs more than a
 * small statement does, and callers come one after another with the same; hence role,
 * claims and the rest are set for the session, and only where they are others than those
 * that are there.  What is there is looked at, not remembered: a function of the caller
 * before may have changed any of it.  The tenant is the transaction's alone.
 *
 * All of it comes as one text, because each argument of a statement costs as much as
 * looking whether it changes anything: to begin_request(), or as a parameter of type
 * factory.request of the very statement that is asked for.  The server reads parameters
 * before it looks at its plan, so that the statement is the caller's from there on, and no
 * statement goes before it.
 *
 * Only a client's Bind reads that type's binary form, which is what begins; its text
 * form, which any cast or literal would read, is always refused.  Either way does
 * nothing that the session's own user could not do by SET.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/proc.h" /* StatementTimeout */
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timeout.h"

/* The fields of a request, in their order; the tenant alone may be missing. */
typedef enum RequestField
{
	FIELD_SEARCH_PATH,
	FIELD_STATEMENT_TIMEOUT, /* ms */
	FIELD_READ_ONLY,         /* t or f */
	FIELD_CLAIMS,
	FIELD_METHOD,
	FIELD_PATH,
	FIELD_HEADERS,
	FIELD_ROLE,
	FIELD_TENANT,
	FIELD_COUNT
} RequestField;

/* What we look at in each request, and where it was found the last time. */
typedef struct Place
{
	const char *name;
	int index;
} Place;

static Place tenant_place = {"factory.tenant", 0};

static struct
{
	RequestField field;
	Place place;
} session_texts[] = {
	{FIELD_CLAIMS, {"request.jwt.claims", 0}},
	{FIELD_METHOD, {"request.method", 0}},
	{FIELD_PATH, {"request.path", 0}},
	{FIELD_HEADERS, {"request.headers", 0}},
};

/* --- reading the text -------------------------------------------------------------- */

static void
refuse_text(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a request does not begin like this"),
			 errdetail("It is a list of fields, each LENGTH:BYTES and a comma; the "
					   "tenant, the last of %d, may be missing.",
					   FIELD_COUNT),
			 errhint("Let factoryd call factory.begin_request().")));
}

/*
 * The next field, made a string where it stands; NULL behind the last.  The byte at end
 * is a zero.
 */
static char *
next_field(char **text, const char *end)
{
	char *field;
	unsigned long length;

	if (*text == end)
		return NULL;
	length = strtoul(*text, &field, 10);
	if (field == *text || *field != ':' || length >= (unsigned long) (end - field) - 1 ||
		field[1 + length] != ',')
		refuse_text();
	field++;
	field[length] = '\0';
	if (strlen(field) != length)
		refuse_text();
	*text = field + length + 1;
	return field;
}

static void
read_fields(char *text, const char *end, char **fields)
{
	for (int i = 0; i < FIELD_COUNT; i++)
	{
		fields[i] = next_field(&text, end);
		if (fields[i] == NULL && i != FIELD_TENANT)
			refuse_text();
		if (fields[i] != NULL)
			fields[i] = pg_any_to_server(fields[i], strlen(fields[i]), PG_UTF8);
	}
	if (text != end)
		refuse_text();
}

/* --- setting what is not as wanted ------------------------------------------------- */

static void
set_as_caller(const char *name, const char *value, GucAction action)
{
	(void) set_config_option(name, value, superuser() ? PGC_SUSET : PGC_USERSET,
							 PGC_S_SESSION, action, true, 0, false);
}

static bool
is_set(Place *place, const char *value)
{
	const char *now = compat_text_setting(place->name, &place->index);

	return now != NULL && strcmp(now, value) == 0;
}

static void
keep_set(Place *place, const char *value)
{
	if (!is_set(place, value) &&
		!compat_replace_setting(place->name, &place->index, value))
		set_as_caller(place->name, value, GUC_ACTION_SET);
}

static void
keep_statement_limits(char **fields)
{
	if (namespace_search_path == NULL ||
		strcmp(namespace_search_path, fields[FIELD_SEARCH_PATH]) != 0)
		set_as_caller("search_path", fields[FIELD_SEARCH_PATH], GUC_ACTION_SET);
	if (StatementTimeout != atoi(fields[FIELD_STATEMENT_TIMEOUT]))
		set_as_caller("statement_timeout", fields[FIELD_STATEMENT_TIMEOUT],
					  GUC_ACTION_SET);

	/* What SET TRANSACTION READ ONLY does; its end is the transaction's. */
	if (strcmp(fields[FIELD_READ_ONLY], "t") == 0)
		XactReadOnly = true;
}

/* --- who asks ---------------------------------------------------------------------- */

/*
 * Whether the session acts as the role already, and may still.  By its oid: the name may
 * be another role's since.
 */
static bool
acts_as(const char *role)
{
	Oid wanted;

	if (strcmp(role, "none") == 0)
		return !OidIsValid(GetCurrentRoleId());
	wanted = get_role_oid(role, true);
	return OidIsValid(wanted) && GetCurrentRoleId() == wanted &&
		   compat_may_set_role(GetSessionUserId(), wanted);
}

/* The session's own user names the tenant: its right it is. */
static void
work_for(const char *tenant)
{
	const char *wanted =
		tenant ? tenant : compat_reset_text(tenant_place.name, &tenant_place.index);

	if (is_set(&tenant_place, wanted))
		return;
	if (!acts_as("none"))
		set_as_caller("role", "none", GUC_ACTION_SET);
	set_as_caller(tenant_place.name, wanted, tenant ? GUC_ACTION_LOCAL : GUC_ACTION_SET);
}

/* Lengths are those of UTF-8, which factoryd writes, whatever the database's encoding. */
static void
begin_request(char *text, const char *end)
{
	char *fields[FIELD_COUNT];

	read_fields(text, end, fields);
	keep_statement_limits(fields);
	for (int i = 0; i < lengthof(session_texts); i++)
		keep_set(&session_texts[i].place, fields[session_texts[i].field]);
	work_for(fields[FIELD_TENANT]);
	if (!acts_as(fields[FIELD_ROLE]))
		set_as_caller("role", fields[FIELD_ROLE], GUC_ACTION_SET);
}

/* --- by a function of its own ------------------------------------------------------ */

FACTORY_FUNCTION(factory_begin_request);

Datum
factory_begin_request(PG_FUNCTION_ARGS)
{
	char *given;

	if (PG_ARGISNULL(0))
		refuse_text();
	given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	given = pg_server_to_any(given, strlen(given), PG_UTF8);
	begin_request(given, given + strlen(given));
	PG_RETURN_BOOL(false);
}

/* --- by a parameter of the statement ------------------------------------------------ */

FACTORY_FUNCTION(factory_request_in);
FACTORY_FUNCTION(factory_request_out);
FACTORY_FUNCTION(factory_request_receive);

Datum
factory_request_in(PG_FUNCTION_ARGS)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("a request cannot be written as text"),
					errhint("Give it as a statement's parameter in binary format, or "
							"call factory.begin_request().")));
	PG_RETURN_NULL();
}

Datum
factory_request_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(pstrdup("request"));
}

/* Tells factoryd that it was the request that failed, not what it asks for. */
static void
name_request(void *argument)
{
	err_generic_string(PG_DIAG_SCHEMA_NAME, "factory");
	err_generic_string(PG_DIAG_DATATYPE_NAME, "request");
}

/* The server does not ask who may call a type's functions. */
static void
check_may_begin(Oid function)
{
	if (!compat_may_execute(function, GetSessionUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function));
}

/* The clock of this very statement runs since before it was read. */
static void
restart_statement_clock(void)
{
	if (get_timeout_active(STATEMENT_TIMEOUT))
		disable_timeout(STATEMENT_TIMEOUT, false);
	if (StatementTimeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
}

Datum
factory_request_receive(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int length = message->len - message->cursor;
	char *text = palloc(length + 1);
	int timeout_before = StatementTimeout;
	ErrorContextCallback naming = {error_context_stack, name_request, NULL};

	error_context_stack = &naming;
	check_may_begin(fcinfo->flinfo->fn_oid);
	pq_copymsgbytes(message, text, length);
	text[length] = '\0';
	begin_request(text, text + length);
	if (StatementTimeout != timeout_before)
		restart_statement_clock();
	error_context_stack = naming.previous;
	PG_RETURN_CHAR(0);
}
