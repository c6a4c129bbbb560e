/*
 * dependency.c
 *		What of users' a decision's expressions are made of: functions, operators, types,
 *		collations; and what happens when one of them is dropped or renamed.
 *
 * PostgreSQL's own record, pg_depend, is between objects of the catalogue.  A decision
 * function is one: it depends on what it uses as a view does.  A version is a row, so
 * its dependencies are rows too, in factory.decision_dependency, by the names that
 * objects have in every database: they are dumped and restored.
 *
 * A DROP of what a version in force uses is refused; with CASCADE it is not, but warned
 * of, and every session compiles anew.  That is seen by the server's hook, not by an
 * event trigger: one that is written in C would refuse every DROP in the database of a
 * server that was started without the library.  Who puts a version in force locks what
 * it uses, so that of a DROP and a deployment at one time the second sees the first.
 */
#include "postgres.h"

#include "access/transam.h"
#include "base/base.h"
#include "base/house.h"
#include "catalog/dependency.h"
#include "catalog/objectaccess.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rules/dependency.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

static object_access_hook_type previous_object_access = NULL;
static ProcessUtility_hook_type previous_utility = NULL;
static bool cascading = false; /* the statement that drops says CASCADE */
static bool renaming = false;  /* the statement gives something another name or schema */

/* Of users' types that some decision of this backend uses; there are few. */
static List *row_relations = NIL; /* what has their columns */
static List *type_hashes = NIL;   /* in the cache of types */

/* --- noting ---------------------------------------------------------------------------- */

/* Once for all decisions, for as long as the backend lives. */
static void
watch_type(Oid type)
{
	MemoryContext caller = MemoryContextSwitchTo(CacheMemoryContext);
	Oid relation = get_typ_typrelid(type);

	type_hashes =
		list_append_unique_oid(type_hashes,
							   GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(type)));
	if (OidIsValid(relation))
		row_relations = list_append_unique_oid(row_relations, relation);
	MemoryContextSwitchTo(caller);
}

bool
dependency_of_relation(Oid relation)
{
	return list_member_oid(row_relations, relation);
}

bool
dependency_of_type(uint32 hash)
{
	return type_hashes != NIL && (hash == 0 || list_member_oid(type_hashes, hash));
}

static void
note(Decision *decision, Oid class, Oid object)
{
	MemoryContext caller;
	ObjectAddress *used;
	ListCell *cell;

	if (object < FirstNormalObjectId)
		return;
	foreach (cell, decision->uses)
	{
		used = lfirst(cell);
		if (used->classId == class && used->objectId == object)
			return;
	}
	caller = MemoryContextSwitchTo(decision->context);
	used = palloc(sizeof(ObjectAddress));
	ObjectAddressSet(*used, class, object);
	decision->uses = lappend(decision->uses, used);
	MemoryContextSwitchTo(caller);
	if (class == TypeRelationId)
		watch_type(object);
}

void
dependency_note_type(Decision *decision, Oid type)
{
	if (type < FirstNormalObjectId)
		return;
	note(decision, TypeRelationId, type);
	note(decision, TypeRelationId, get_element_type(type));
}

static bool
note_function(Oid function, void *context)
{
	note(context, ProcedureRelationId, function);
	return false;
}

static bool
note_node(Node *node, void *context)
{
	Decision *decision = context;

	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, note_function, decision);
	switch (nodeTag(node))
	{
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			note(decision, OperatorRelationId, ((OpExpr *) node)->opno);
			dependency_note_type(decision, exprType(node));
			break;
		case T_ScalarArrayOpExpr:
			note(decision, OperatorRelationId, ((ScalarArrayOpExpr *) node)->opno);
			break;
		case T_CollateExpr:
			note(decision, CollationRelationId, ((CollateExpr *) node)->collOid);
			break;
		case T_Const:
		case T_FuncExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_CoerceToDomain:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_FieldSelect:
			dependency_note_type(decision, exprType(node));
			break;
		default:
			break;
	}
	return expression_tree_walker(node, note_node, context);
}

void
dependency_note_expression(Decision *decision, Node *node)
{
	(void) note_node(node, decision);
}

/* --- recording --------------------------------------------------------------------------- */

void
dependency_record(Oid function, const Decision *decision)
{
	ObjectAddress depender;
	ListCell *cell;

	ObjectAddressSet(depender, ProcedureRelationId, function);
	foreach (cell, decision->uses)
	{
		const ObjectAddress *used = lfirst(cell);

		if (used->classId != ProcedureRelationId || used->objectId != function)
			recordDependencyOn(&depender, used, DEPENDENCY_NORMAL);
	}
}

static void
save_one(const char *name, int version, const ObjectAddress *used)
{
	Oid types[] = {TEXTOID, TEXTOID, INT4OID, OIDOID, OIDOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()), CStringGetTextDatum(name),
					  Int32GetDatum(version), ObjectIdGetDatum(used->classId),
					  ObjectIdGetDatum(used->objectId)};

	if (SPI_execute_with_args(
			"INSERT INTO factory.decision_dependency "
			"(tenant_id, decision, version, object_type, object_identity) "
			"SELECT $1, $2, $3, o.type, o.identity "
			"FROM pg_catalog.pg_identify_object($4, $5, 0) AS o",
			5, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write dependencies");
}

void
dependency_save(const char *name, int version, const Decision *decision)
{
	HouseRights saved;
	ListCell *cell;

	if (decision->uses == NIL)
		return;
	house_enter(&saved);
	SPI_connect();
	foreach (cell, decision->uses)
		save_one(name, version, lfirst(cell));
	SPI_finish();
	house_leave(&saved);
}

/* --- holding ------------------------------------------------------------------------------- */

/* As the server does for dependencies of its own: first a lock, then another look. */
void
dependency_hold(const Decision *decision)
{
	ListCell *cell;

	foreach (cell, decision->uses)
	{
		const ObjectAddress *used = lfirst(cell);

		LockDatabaseObject(used->classId, used->objectId, 0, AccessShareLock);
		if (!SearchSysCacheExists1(get_object_catcache_oid(used->classId),
								   ObjectIdGetDatum(used->objectId)))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("what decision \"%s\" uses was dropped meanwhile",
							decision->name),
					 errdetail("Another transaction dropped it while this one waited."),
					 errhint("Try again: the error then names what is missing.")));
	}
}

/* --- what is dropped ------------------------------------------------------------------------ */

/* One version in force that uses it, of whatever tenant. */
typedef struct User
{
	char *decision; /* NULL: there is none */
	int version;
	char *object; /* "function lab.is_odd(integer)" */
} User;

#define FIND_USER \
	"SELECT u.decision, u.version, u.object_type || ' ' || u.object_identity " \
	"FROM factory.decision_dependency AS u " \
	"JOIN factory.deployment AS p ON p.tenant_id = u.tenant_id " \
	"AND p.decision = u.decision AND p.version = u.version " \
	"AND p.status IN ('active', 'canary') WHERE "
#define OF_OBJECT \
	"(u.object_type, u.object_identity) = " \
	"(SELECT o.type, o.identity FROM pg_catalog.pg_identify_object($1, $2, 0) AS o)"
#define OF_SCHEMA \
	"pg_catalog.starts_with(u.object_identity, (SELECT " \
	"pg_catalog.quote_ident(n.nspname) || '.' FROM pg_catalog.pg_namespace AS n " \
	"WHERE n.oid = $2))"
#define THE_FIRST " ORDER BY 1, 2, 3 LIMIT 1"

/* Of an object, or of anything in a schema, by the names of before the statement. */
static User
find_user(Oid class, Oid object)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid types[] = {OIDOID, OIDOID};
	Datum values[] = {ObjectIdGetDatum(class), ObjectIdGetDatum(object)};
	User user = {NULL};
	HouseRights saved;
	bool isnull;

	house_enter_for_all(&saved);
	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	SPI_execute_with_args(class == NamespaceRelationId ? FIND_USER OF_SCHEMA THE_FIRST
													   : FIND_USER OF_OBJECT THE_FIRST,
						  2, types, values, NULL, true, 0);
	if (SPI_processed > 0)
	{
		HeapTuple row = SPI_tuptable->vals[0];
		TupleDesc columns = SPI_tuptable->tupdesc;

		user.decision = MemoryContextStrdup(caller, SPI_getvalue(row, columns, 1));
		user.version = DatumGetInt32(SPI_getbinval(row, columns, 2, &isnull));
		user.object = MemoryContextStrdup(caller, SPI_getvalue(row, columns, 3));
	}
	PopActiveSnapshot();
	SPI_finish();
	house_leave(&saved);
	return user;
}

static void
refuse_drop(const User *user)
{
	ereport(cascading ? WARNING : ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 cascading ? errmsg("decision \"%s\" can no longer be judged", user->decision)
					   : errmsg("cannot drop %s because decision \"%s\" depends on it",
								user->object, user->decision),
			 errdetail("Version %d is in force and uses %s.", user->version,
					   user->object),
			 cascading ? errhint("Deploy a version that does not use it.")
					   : errhint("Deploy a version that does not use it, or use DROP ... "
								 "CASCADE: the decision can then not be judged.")));
}

/*
 * What a condition may use of what is dropped.  A composite type goes after its
 * relation, and only the relation can still tell what it was; the row type of a table
 * goes before it.  Arrays go with what they are of.
 */
static bool
may_be_used(Oid *class, Oid *object)
{
	Oid relation;

	if (*class == RelationRelationId &&
		get_rel_relkind(*object) == RELKIND_COMPOSITE_TYPE)
	{
		*class = TypeRelationId;
		*object = get_rel_type_id(*object);
		return true;
	}
	if (*class == TypeRelationId)
	{
		char kind;

		relation = get_typ_typrelid(*object);
		kind = OidIsValid(relation) ? get_rel_relkind(relation) : RELKIND_RELATION;
		return !OidIsValid(get_element_type(*object)) && kind != '\0' &&
			   kind != RELKIND_COMPOSITE_TYPE;
	}
	return *class == ProcedureRelationId || *class == OperatorRelationId ||
		   *class == CollationRelationId;
}

/* Of users', in a database where decisions are. */
static bool
is_watched(Oid object)
{
	/* The extension itself may be on its way out. */
	return object >= FirstNormalObjectId && !IsBinaryUpgrade &&
		   OidIsValid(house_relation_if_exists("decision_dependency")) &&
		   OidIsValid(house_relation_if_exists("deployment"));
}

static void
see_drop(Oid class, Oid object, int flags)
{
	User user;

	if ((flags & PERFORM_DELETION_INTERNAL) != 0 || !is_watched(object) ||
		!may_be_used(&class, &object))
		return;
	user = find_user(class, object);
	if (user.decision == NULL)
		return;
	refuse_drop(&user);
	CacheInvalidateRelcacheByRelid(house_relation("decision_dependency"));
}

/*
 * A definition finds what it uses by name, so that another name is as good as a DROP.
 * The new one is in the catalogue already, and not yet to be seen.
 */
static void
see_rename(Oid class, Oid object)
{
	User user;

	if (class != ProcedureRelationId && class != OperatorRelationId &&
		class != CollationRelationId && class != TypeRelationId &&
		class != NamespaceRelationId)
		return;
	if (!is_watched(object))
		return;
	user = find_user(class, object);
	if (user.decision != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot rename or move %s because decision \"%s\" uses it by name",
					user.object, user.decision),
			 errdetail("Version %d is in force and uses %s.", user.version, user.object),
			 errhint("Make it anew under the other name, deploy a version that uses "
					 "that, and drop the old one.")));
}

static void
see_object_access(ObjectAccessType access, Oid class, Oid object, int part,
				  void *argument)
{
	if (previous_object_access)
		previous_object_access(access, class, object, part, argument);
	if (access == OAT_DROP && part == 0)
		see_drop(class, object, ((ObjectAccessDrop *) argument)->dropflags);
	else if (access == OAT_POST_ALTER && part == 0 && renaming)
		see_rename(class, object);
}

static bool
says_cascade(Node *statement)
{
	if (IsA(statement, DropStmt))
		return castNode(DropStmt, statement)->behavior == DROP_CASCADE;
	return IsA(statement, DropOwnedStmt) &&
		   castNode(DropOwnedStmt, statement)->behavior == DROP_CASCADE;
}

static void
run_utility(PlannedStmt *planned, const char *text, bool read_only,
			ProcessUtilityContext context, ParamListInfo parameters,
			QueryEnvironment *environment, DestReceiver *receiver,
			QueryCompletion *completion)
{
	bool cascading_around = cascading, renaming_around = renaming;

	cascading = says_cascade(planned->utilityStmt);
	renaming = IsA(planned->utilityStmt, RenameStmt) ||
			   IsA(planned->utilityStmt, AlterObjectSchemaStmt);
	PG_TRY();
	{
		(previous_utility ? previous_utility
						  : standard_ProcessUtility)(planned, text, read_only, context,
													 parameters, environment, receiver,
													 completion);
	}
	PG_CATCH();
	{
		cascading = cascading_around;
		renaming = renaming_around;
		PG_RE_THROW();
	}
	PG_END_TRY();
	cascading = cascading_around;
	renaming = renaming_around;
}

void
dependency_watch(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = run_utility;
	previous_object_access = object_access_hook;
	object_access_hook = see_object_access;
}
