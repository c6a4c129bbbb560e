/*
 * audit_watch.c
 *		Commands of the server's own that the audit log tells of, and its guard.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/audit.h"
#include "base/compat.h"
#include "base/document.h"
#include "base/house.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/syscache.h"

/* What a value that only superusers may read is told as. */
#define UNTOLD "(not told)"

static object_access_hook_type previous_object_access = NULL;
static ProcessUtility_hook_type previous_utility = NULL;

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

/* --- what commands change ------------------------------------------------------------- */

/*
 * What the catalogues hold that is ours: servers of models and who has keys for them,
 * settings of roles and databases, members of our roles, who may set our settings.
 * Of a key there is a digest, which tells that it was changed and is not written down.
 */
#define WATCHED_OBJECTS \
	"SELECT 'model_server' AS object_type, s.srvname::text AS object, '' AS digest, " \
	"jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(s.srvowner), " \
	"'users', s.srvacl::text, 'options', (SELECT jsonb_object_agg(o.option_name, " \
	"o.option_value) FROM pg_options_to_table(s.srvoptions) AS o))) AS state " \
	"FROM pg_foreign_server AS s JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw " \
	"WHERE w.fdwname = 'factory_llm' " \
	"UNION ALL SELECT 'model_key', s.srvname || ' for ' || CASE m.umuser WHEN 0 " \
	"THEN 'public' ELSE pg_get_userbyid(m.umuser) END, " \
	"encode(sha256(convert_to(m.umoptions::text, 'UTF8')), 'hex'), " \
	"(SELECT coalesce(jsonb_object_agg(o.option_name, CASE WHEN o.option_name IN " \
	"('api_key_file', 'api_key_env') THEN o.option_value ELSE '" UNTOLD "' END), '{}') " \
	"FROM pg_options_to_table(m.umoptions) AS o) " \
	"FROM pg_user_mapping AS m JOIN pg_foreign_server AS s ON s.oid = m.umserver " \
	"JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw WHERE w.fdwname = " \
	"'factory_llm' " \
	"UNION ALL SELECT 'setting', concat_ws(' in ', CASE WHEN r.setrole <> 0 THEN " \
	"'role ' || pg_get_userbyid(r.setrole) END, CASE WHEN r.setdatabase <> 0 THEN " \
	"'database ' || d.datname WHEN r.setrole = 0 THEN 'all roles' END), '', " \
	"jsonb_object_agg(split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)) " \
	"FROM pg_db_role_setting AS r CROSS JOIN unnest(r.setconfig) AS c " \
	"LEFT JOIN pg_database AS d ON d.oid = r.setdatabase " \
	"WHERE c LIKE 'factory.%' GROUP BY r.setrole, r.setdatabase, d.datname " \
	"UNION ALL SELECT 'role', r.rolname::text, '', jsonb_build_object('members', " \
	"jsonb_agg(DISTINCT pg_get_userbyid(m.member))) " \
	"FROM pg_auth_members AS m JOIN pg_roles AS r ON r.oid = m.roleid " \
	"WHERE r.rolname LIKE 'factory\\_%' GROUP BY r.rolname " \
	"UNION ALL SELECT 'parameter', p.parname, '', jsonb_build_object('users', " \
	"p.paracl::text) FROM pg_parameter_acl AS p WHERE p.parname LIKE 'factory.%'"

static const char *const watched_query =
	"SELECT coalesce(jsonb_agg(w), '[]') FROM (" WATCHED_OBJECTS ") AS w";

/* A key alone that was changed: its row says so. */
static const char *const difference_query =
	"SELECT CASE WHEN b.object IS NULL THEN 'create' WHEN a.object IS NULL THEN 'drop' "
	"ELSE 'alter' END, object_type, object, b.state, CASE WHEN a.state = b.state "
	"THEN a.state || '{\"changed\": true}' ELSE a.state END "
	"FROM jsonb_to_recordset($1) AS b(object_type text, object text, digest text, state "
	"jsonb) FULL JOIN (" WATCHED_OBJECTS ") AS a USING (object_type, object) "
	"WHERE a.state IS DISTINCT FROM b.state OR a.digest <> b.digest "
	"ORDER BY object_type, object";

/* Commands after which that may be otherwise. */
static bool
may_change_what_is_watched(Node *statement)
{
	ObjectType kind = OBJECT_FOREIGN_SERVER;

	switch (nodeTag(statement))
	{
		case T_AlterDatabaseSetStmt:
		case T_AlterForeignServerStmt:
		case T_AlterRoleSetStmt:
		case T_AlterUserMappingStmt:
		case T_CreateForeignServerStmt:
		case T_CreateRoleStmt:
		case T_CreateUserMappingStmt:
		case T_DropOwnedStmt:
		case T_DropRoleStmt:
		case T_DropUserMappingStmt:
		case T_GrantRoleStmt:
		case T_ReassignOwnedStmt:
			return true;
		case T_AlterOwnerStmt:
			kind = castNode(AlterOwnerStmt, statement)->objectType;
			break;
		case T_DropStmt:
			kind = castNode(DropStmt, statement)->removeType;
			break;
		case T_GrantStmt:
			kind = castNode(GrantStmt, statement)->objtype;
			break;
		case T_RenameStmt:
			kind = castNode(RenameStmt, statement)->renameType;
			return kind == OBJECT_FOREIGN_SERVER;
		default:
			return false;
	}
	return kind == OBJECT_FOREIGN_SERVER || kind == OBJECT_PARAMETER_ACL;
}

/*
 * Not in a database without us, not where nothing can be written, and neither what our
 * own scripts do nor what a dump brings back, which was told where it was made.
 */
static bool
is_told_here(void)
{
	return IsTransactionState() && !RecoveryInProgress() && !XactReadOnly &&
		   !creating_extension && (row_security || !superuser()) &&
		   OidIsValid(house_relation_if_exists("audit_log"));
}

/* In the caller's memory context. */
static Jsonb *
watched_objects(void)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext inner;
	HouseRights saved;
	Jsonb *objects;
	bool isnull;

	house_enter_for_all(&saved);
	SPI_connect();
	if (SPI_execute(watched_query, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read what the audit log tells of");
	inner = MemoryContextSwitchTo(caller);
	objects = DatumGetJsonbPCopy(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	MemoryContextSwitchTo(inner);
	SPI_finish();
	house_leave(&saved);
	return objects;
}

static Jsonb *
document_column(const SPITupleTable *rows, uint64 row, int column)
{
	bool isnull;
	Datum value = SPI_getbinval(rows->vals[row], rows->tupdesc, column, &isnull);

	return isnull ? NULL : DatumGetJsonbP(value);
}

static void
write_differences(Jsonb *before)
{
	Oid types[] = {JSONBOID};
	Datum values[] = {JsonbPGetDatum(before)};
	SPITupleTable *rows;
	HouseRights saved;

	house_enter_for_all(&saved);
	SPI_connect();
	if (SPI_execute_with_args(difference_query, lengthof(types), types, values, NULL,
							  false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read what the audit log tells of");
	house_leave(&saved);
	rows = SPI_tuptable;
	for (uint64 i = 0; i < rows->numvals; i++)
		audit_write(SPI_getvalue(rows->vals[i], rows->tupdesc, 1),
					SPI_getvalue(rows->vals[i], rows->tupdesc, 2),
					SPI_getvalue(rows->vals[i], rows->tupdesc, 3),
					document_column(rows, i, 4), document_column(rows, i, 5));
	SPI_finish();
}

/* --- ALTER SYSTEM ------------------------------------------------------------------------ */

static bool
is_untold(const char *name)
{
	return (GetConfigOptionFlags(name, true) & GUC_SUPERUSER_ONLY) != 0;
}

static Jsonb *
setting_before(const char *name)
{
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, name, is_untold(name) ? UNTOLD : GetConfigOptionResetString(name));
	doc_end_object(&b);
	return doc_finish(&b);
}

/* NULL where the file says nothing of it any more. */
static Jsonb *
setting_after(VariableSetStmt *set)
{
	DocBuilder b;

	if (set->kind != VAR_SET_VALUE)
		return NULL;
	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, set->name,
				   is_untold(set->name) ? UNTOLD : ExtractSetVariableArgs(set));
	doc_end_object(&b);
	return doc_finish(&b);
}

/* The file has no transaction: told before, and untold where the command fails. */
static void
write_alter_system(VariableSetStmt *set)
{
	if (set->kind == VAR_RESET_ALL)
		audit_write("drop", "setting", "server", NULL, NULL);
	else if (pg_strncasecmp(set->name, "factory.", strlen("factory.")) == 0 &&
			 GetConfigOption(set->name, true, false) != NULL)
		audit_write(set->kind == VAR_SET_VALUE ? "alter" : "drop", "setting", "server",
					setting_before(set->name), setting_after(set));
}

static void
run_utility(PlannedStmt *planned, const char *text, bool read_only,
			ProcessUtilityContext context, ParamListInfo parameters,
			QueryEnvironment *environment, DestReceiver *receiver,
			QueryCompletion *completion)
{
	Node *statement = planned->utilityStmt;
	Jsonb *before = NULL;

	if (IsA(statement, AlterSystemStmt) && is_told_here())
		write_alter_system(castNode(AlterSystemStmt, statement)->setstmt);
	else if (may_change_what_is_watched(statement) && is_told_here())
		before = watched_objects();
	(previous_utility ? previous_utility
					  : standard_ProcessUtility)(planned, text, read_only, context,
												 parameters, environment, receiver,
												 completion);
	if (before == NULL)
		return;
	CommandCounterIncrement();
	write_differences(before);
}

void
audit_install_hooks(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = run_utility;
	previous_object_access = object_access_hook;
	object_access_hook = see_object_access;
}
