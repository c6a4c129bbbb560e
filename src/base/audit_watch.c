/*
 * audit_watch.c
 *		Commands of the server's own that the audit log tells of, and its guard.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/audit.h"
#include "base/compat.h"
#include "base/house.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/syscache.h"

static object_access_hook_type previous_object_access = NULL;

/* --- the guard ------------------------------------------------------------------------ */

/*
 * The owner of a schema may drop what others own in it.  Not here: the house owns the
 * schema, and the audit log's months are not the house's.
 */
static void
guard_drop(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Form_pg_class form;
	bool refused;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_class) GETSTRUCT(tuple);
	refused = house_owns_schema(form->relnamespace, GetUserId()) &&
			  (form->relkind == RELKIND_RELATION ||
			   form->relkind == RELKIND_PARTITIONED_TABLE) &&
			  !compat_owns_relation(relation, GetUserId());
	if (refused)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of table %s", NameStr(form->relname))));
	ReleaseSysCache(tuple);
}

static void
see_object_access(ObjectAccessType access, Oid class, Oid object, int part,
				  void *argument)
{
	if (previous_object_access)
		previous_object_access(access, class, object, part, argument);
	if (access == OAT_DROP && class == RelationRelationId && part == 0)
		guard_drop(object);
}

void
audit_install_hooks(void)
{
	previous_object_access = object_access_hook;
	object_access_hook = see_object_access;
}
