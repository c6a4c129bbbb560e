/*
 * house.c
 *		Acting as the owner of our tables.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/house.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define HOUSE_SCHEMA "factory"

static Oid
house_owner(void)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum(HOUSE_SCHEMA));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA),
						errmsg("schema \"%s\" does not exist", HOUSE_SCHEMA),
						errhint("Run CREATE EXTENSION pg_factory in this database.")));
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
enter_as(HouseRights *saved, Oid user)
{
	GetUserIdAndSecContext(&saved->user, &saved->security_context);
	saved->settings_level = NewGUCNestLevel();
	SetUserIdAndSecContext(user, saved->security_context | SECURITY_LOCAL_USERID_CHANGE);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
house_enter(HouseRights *saved)
{
	enter_as(saved, house_owner());
}

void
house_enter_for_all(HouseRights *saved)
{
	enter_as(saved, BOOTSTRAP_SUPERUSERID);
}

void
house_leave(const HouseRights *saved)
{
	AtEOXact_GUC(true, saved->settings_level);
	SetUserIdAndSecContext(saved->user, saved->security_context);
}

Oid
house_relation_if_exists(const char *name)
{
	Oid schema = get_namespace_oid(HOUSE_SCHEMA, true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

Oid
house_relation(const char *name)
{
	Oid relation = house_relation_if_exists(name);

	if (!OidIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s.%s\" does not exist", HOUSE_SCHEMA, name),
						errhint("Run CREATE EXTENSION pg_factory in this database.")));
	return relation;
}

bool
house_owns_schema(Oid schema, Oid role)
{
	return schema == get_namespace_oid(HOUSE_SCHEMA, true) && role == house_owner() &&
		   !superuser_arg(role);
}
