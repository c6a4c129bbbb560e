/*
 * tenant.c
 *		Whose rows a session works with.
 *
 * Row security asks this for every statement and the judgment for every call, so
 * the answer is kept until role, setting, mapping or memberships change.  The
 * mapping is read by a scan of its own: row security on it would ask again.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/base.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/house.h"
#include "base/settings.h"
#include "base/tenant.h"
#include "base/tenant_int.h"
#include "catalog/pg_authid.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* Columns of factory.tenant_role, as in tables.sql. */
#define MAPPING_TENANT 1
#define MAPPING_ROLE 2

static char *tenant_setting = NULL;
static char *default_setting = NULL;

static List *known = NIL; /* of Tenant *, each name once */

/* What was found out last, of whom, and after how many changes: holds until the next. */
static uint64 changes = 1;
static uint64 found_after = 0;
static Oid asked_role = InvalidOid;
static Tenant *current = NULL;
static bool current_bound = false;

static Oid mapping_relation = InvalidOid;
static Oid tenant_relation = InvalidOid;
static bool watching = false;

/* --- settings ----------------------------------------------------------------------- */

static bool
check_tenant_name(char **text, void **extra, GucSource source)
{
	if (*text == NULL || strlen(*text) <= TENANT_NAME_MAX)
		return true;
	GUC_check_errdetail("A tenant's name has at most %d bytes.", TENANT_NAME_MAX);
	return false;
}

static void
forget_current(const char *text, void *extra)
{
	changes++;
}

/*
 * RESET ALL would put back a setting that its user may not set, and with it the
 * tenant: hence no reset by that way.
 */
static const Setting settings[] = {
	{"factory.default_tenant",
	 "Sets the tenant of roles that belong to none; empty means they have none.",
	 SETTING_STRING, &default_setting, .boot_text = TENANT_DEFAULT, .context = PGC_SUSET,
	 .flags = GUC_NO_RESET_ALL, .check_text = check_tenant_name,
	 .assign_text = forget_current},
	{"factory.tenant", "Sets the tenant to work for, where the role belongs to none.",
	 SETTING_STRING, &tenant_setting, .boot_text = "", .context = PGC_SUSET,
	 .flags = GUC_NO_RESET_ALL | GUC_NOT_IN_SAMPLE, .check_text = check_tenant_name,
	 .assign_text = forget_current},
};

void
tenant_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

/* --- what invalidates ------------------------------------------------------------------ */

static void
relation_changed(Datum argument, Oid relation)
{
	if (relation == InvalidOid || relation == mapping_relation ||
		relation == tenant_relation)
		changes++;
}

static void
membership_changed(Datum argument, int cache, uint32 hash)
{
	changes++;
}

static void
watch(void)
{
	/* A dropped and created extension has other tables. */
	mapping_relation = house_relation_if_exists("tenant_role");
	tenant_relation = house_relation_if_exists("tenant");
	if (watching)
		return;
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, membership_changed, (Datum) 0);
	watching = true;
}

FACTORY_FUNCTION(factory_tenant_changed);

/* Whoever changes tenants or their roles: every backend asks anew, at commit. */
Datum
factory_tenant_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" must be called as a trigger",
							   "factory.tenant_changed")));
	CacheInvalidateRelcache(trigger->tg_relation);
	PG_RETURN_POINTER(NULL);
}

/* --- finding out ------------------------------------------------------------------------- */

static Tenant *
tenant_named(const char *name)
{
	MemoryContext caller;
	ListCell *cell;
	Tenant *tenant;

	foreach (cell, known)
		if (strcmp(((Tenant *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	caller = MemoryContextSwitchTo(TopMemoryContext);
	tenant = palloc0(sizeof(Tenant));
	strlcpy(tenant->name, name, sizeof(tenant->name));
	known = lappend(known, tenant);
	MemoryContextSwitchTo(caller);
	return tenant;
}

static void
raise_two_tenants(Oid role, const char *one, const char *other)
{
	ereport(ERROR,
			(errcode(ERRCODE_FACTORY_TENANT_UNCLEAR),
			 errmsg("role \"%s\" belongs to more than one tenant",
					GetUserNameFromId(role, false)),
			 errdetail("It is a member of roles of \"%s\" and of \"%s\".", one, other),
			 errhint("Map the role itself to one of them with "
					 "factory.map_tenant_role().")));
}

/* The tenant that factory.tenant_role gives a role, or NULL; its own row wins. */
static char *
mapped_tenant(Oid role)
{
	Relation mapping;
	SysScanDesc scan;
	HeapTuple tuple;
	char *own = NULL;
	char *inherited = NULL;
	char *other = NULL;

	if (!OidIsValid(mapping_relation))
		return NULL;
	mapping = table_open(mapping_relation, AccessShareLock);
	scan = systable_beginscan(mapping, InvalidOid, false, NULL, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool isnull;
		TupleDesc shape = RelationGetDescr(mapping);
		Oid of = DatumGetObjectId(heap_getattr(tuple, MAPPING_ROLE, shape, &isnull));
		char *name;

		if (of != role && !is_member_of_role_nosuper(role, of))
			continue;
		name = TextDatumGetCString(heap_getattr(tuple, MAPPING_TENANT, shape, &isnull));
		if (of == role)
			own = name;
		else if (inherited == NULL)
			inherited = name;
		else if (strcmp(inherited, name) != 0)
			other = name;
	}
	systable_endscan(scan);
	table_close(mapping, AccessShareLock);
	if (own == NULL && other != NULL)
		raise_two_tenants(role, inherited, other);
	return own ? own : inherited;
}

/*
 * What the tables say of a tenant; false where there is none of that name.  The
 * default one needs no row.
 */
static bool
read_tenant(Tenant *tenant)
{
	Relation tenants;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	for (int i = 0; i < QUOTA_COUNT; i++)
		tenant->limits[i] = QUOTA_NONE;
	if (!OidIsValid(tenant_relation))
		return true;
	tenants = table_open(tenant_relation, AccessShareLock);
	scan = systable_beginscan(tenants, InvalidOid, false, NULL, 0, NULL);
	while (!found && (tuple = systable_getnext(scan)) != NULL)
	{
		bool isnull;
		TupleDesc shape = RelationGetDescr(tenants);
		Datum name = heap_getattr(tuple, TENANT_COLUMN_NAME, shape, &isnull);

		if (strcmp(TextDatumGetCString(name), tenant->name) != 0)
			continue;
		found = true;
		for (int i = 0; i < QUOTA_COUNT; i++)
		{
			Datum limit = heap_getattr(tuple, TENANT_COLUMN_QUOTA + i, shape, &isnull);

			tenant->limits[i] = isnull ? QUOTA_NONE : DatumGetInt64(limit);
		}
	}
	systable_endscan(scan);
	table_close(tenants, AccessShareLock);
	return found || strcmp(tenant->name, TENANT_DEFAULT) == 0;
}

static void
raise_no_tenant(Oid role)
{
	ereport(ERROR,
			(errcode(ERRCODE_FACTORY_TENANT_UNCLEAR),
			 errmsg("role \"%s\" belongs to no tenant", GetUserNameFromId(role, false)),
			 errhint("Map it with factory.map_tenant_role(), or name the tenant of such "
					 "roles in factory.default_tenant.")));
}

static void
raise_other_tenant(Oid role, const char *its)
{
	ereport(ERROR,
			(errcode(ERRCODE_FACTORY_TENANT_UNCLEAR),
			 errmsg("role \"%s\" does not belong to tenant \"%s\"",
					GetUserNameFromId(role, false), tenant_setting),
			 errdetail("factory.tenant says \"%s\", the role's own tenant is \"%s\".",
					   tenant_setting, its),
			 errhint("Leave factory.tenant empty for roles that are mapped.")));
}

static bool
is_set(const char *setting)
{
	return setting != NULL && setting[0] != '\0';
}

static void
find_out(Oid role)
{
	uint64 changes_before = changes;
	char *mapped;
	Tenant *tenant;

	watch();
	mapped = mapped_tenant(role);
	if (mapped != NULL && is_set(tenant_setting) && strcmp(mapped, tenant_setting) != 0)
		raise_other_tenant(role, mapped);
	if (mapped == NULL && !is_set(tenant_setting) && !is_set(default_setting))
		raise_no_tenant(role);
	tenant = tenant_named(mapped                   ? mapped
						  : is_set(tenant_setting) ? tenant_setting
												   : default_setting);
	if (!read_tenant(tenant))
		ereport(ERROR, (errcode(ERRCODE_FACTORY_UNDEFINED_TENANT),
						errmsg("tenant \"%s\" does not exist", tenant->name),
						errhint("Run factory.create_tenant(%s).",
								quote_literal_cstr(tenant->name))));
	current = tenant;
	current_bound = mapped != NULL || is_set(tenant_setting);
	asked_role = role;
	/* A change that came while we read is a change that was not read. */
	found_after = changes_before;
}

Tenant *
tenant_session(void)
{
	/* Nobody has logged in: the launcher. */
	if (!OidIsValid(MyDatabaseId))
		return tenant_named(TENANT_DEFAULT);
	if (found_after == changes && asked_role == GetOuterUserId())
		return current;
	/* Between transactions nothing can be read, and nothing of a tenant happens. */
	if (!IsTransactionState())
		return current ? current : tenant_named(TENANT_DEFAULT);
	find_out(GetOuterUserId());
	return current;
}

const char *
tenant_current(void)
{
	return tenant_session()->name;
}

bool
tenant_is_bound(void)
{
	(void) tenant_session();
	return current_bound;
}

bool
tenant_may_see(const char *name)
{
	return !tenant_is_bound() || strcmp(name, tenant_current()) == 0;
}

void
tenant_act_for(const char *name)
{
	(void) set_config_option("factory.tenant", name, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* --- for SQL ------------------------------------------------------------------------------- */

FACTORY_FUNCTION(factory_current_tenant);

Datum
factory_current_tenant(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(tenant_current()));
}

FACTORY_FUNCTION(factory_tenant_is_bound);

Datum
factory_tenant_is_bound(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(tenant_is_bound());
}
