/*
 * request.c
 *		What a request's transaction begins with: who asks, and what it may know.
 *
 * A gateway serves many callers on one connection.  Setting a role costs more than a
 * small statement does, and callers come one after another with the same; hence role,
 * claims and the rest are set for the session, and only where they are others than those
 * that are there.  What is there is looked at, not remembered: a function of the caller
 * before may have changed any of it.  The tenant is the transaction's alone.
 */
#include "postgres.h"

#include "base/compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#define TENANT_SETTING "factory.tenant"

static void
set_as_caller(const char *name, const char *value, GucAction action)
{
	(void) set_config_option(name, value, superuser() ? PGC_SUSET : PGC_USERSET,
							 PGC_S_SESSION, action, true, 0, false);
}

static bool
is_set(const char *name, const char *value)
{
	const char *now = GetConfigOption(name, true, false);

	return now != NULL && strcmp(now, value) == 0;
}

static void
keep_set(const char *name, const char *value)
{
	if (!is_set(name, value))
		set_as_caller(name, value, GUC_ACTION_SET);
}

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
	const char *wanted = tenant ? tenant : GetConfigOptionResetString(TENANT_SETTING);

	if (is_set(TENANT_SETTING, wanted))
		return;
	if (!acts_as("none"))
		set_as_caller("role", "none", GUC_ACTION_SET);
	set_as_caller(TENANT_SETTING, wanted, tenant ? GUC_ACTION_LOCAL : GUC_ACTION_SET);
}

FACTORY_FUNCTION(factory_begin_request);

Datum
factory_begin_request(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {
		"search_path",    "statement_timeout", "request.jwt.claims",
		"request.method", "request.path",      "request.headers",
	};
	char *role;

	for (int i = 0; i < lengthof(names) + 2; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("a request must not begin with NULL"),
							errdetail("Only the tenant may be NULL.")));
	for (int i = 0; i < lengthof(names); i++)
		keep_set(names[i], text_to_cstring(PG_GETARG_TEXT_PP(i)));
	role = text_to_cstring(PG_GETARG_TEXT_PP(6));
	work_for(PG_ARGISNULL(8) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(8)));
	if (!acts_as(role))
		set_as_caller("role", role, GUC_ACTION_SET);
	if (PG_GETARG_BOOL(7))
		set_as_caller("transaction_read_only", "on", GUC_ACTION_LOCAL);
	PG_RETURN_BOOL(false);
}
