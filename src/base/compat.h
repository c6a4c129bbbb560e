/*
 * compat.h
 *		What differs between PostgreSQL 15 and the coming one, and nothing else.
 *
 * This is the only file that may look at PG_VERSION_NUM.
 */
#ifndef FACTORY_COMPAT_H
#define FACTORY_COMPAT_H

#include "catalog/pg_foreign_server.h"
#include "catalog/pg_proc.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h" /* in postgres.h before */
#else
#include "utils/guc_tables.h"
#endif

#if PG_VERSION_NUM < 150000
#error "pg_factory needs PostgreSQL 15 or later"
#endif

/* For what one major version writes and only the same may read. */
#define COMPAT_SERVER_MAJOR (PG_VERSION_NUM / 10000)

/*
 * We build with hidden visibility.  Before 16 the server's own macro does not
 * mark what must stay visible.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

/* A function that SQL may call: declared, registered and exported. */
#define FACTORY_FUNCTION(name) \
	PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

/* 16 tells more about what was wrong with a date. */
static inline int
compat_decode_datetime(char **field, int *field_type, int field_count, int *kind,
					   struct pg_tm *tm, fsec_t *fraction, int *offset)
{
#if PG_VERSION_NUM >= 160000
	DateTimeErrorExtra extra;

	return DecodeDateTime(field, field_type, field_count, kind, tm, fraction, offset,
						  &extra);
#else
	return DecodeDateTime(field, field_type, field_count, kind, tm, fraction, offset);
#endif
}

/* The last argument is missing_ok (15) or where soft errors go (16); 0 suits both. */
#define compat_parse_type_string(name, type, typmod) \
	parseTypeString((name), (type), (typmod), 0)

/* 19 wants to be told when a tuple descriptor is complete. */
#if PG_VERSION_NUM >= 190000
#define compat_finish_tuple_desc(desc) TupleDescFinalize(desc)
#else
#define compat_finish_tuple_desc(desc) ((void) (desc))
#endif

/* What a setting's check hook hands to its assign hook; 16 frees it its own way. */
#if PG_VERSION_NUM >= 160000
#define compat_guc_malloc(size) guc_malloc(LOG, (size))
#else
#define compat_guc_malloc(size) malloc(size)
#endif

/*
 * A text setting that is looked at all the time.  15 finds settings by a binary search
 * through their names, and goes through all of them at the end of a transaction that has
 * set one: there *index is where it was the last time, and a setting of nobody's that
 * the session has already set gets its next value without being noted for undoing.
 */
#if PG_VERSION_NUM >= 160000
#define compat_text_setting(name, index) \
	((void) (index), GetConfigOption((name), true, false))
#define compat_reset_text(name, index) ((void) (index), GetConfigOptionResetString(name))
#define compat_replace_setting(name, index, text) \
	((void) (name), (void) (index), (void) (text), false)
#else
static inline struct config_string *
compat_find_text_setting(const char *name, int *index)
{
	struct config_generic **all = get_guc_variables();
	int count = GetNumConfigOptions();

	if (*index >= count || strcmp(all[*index]->name, name) != 0)
		for (*index = 0; *index < count; (*index)++)
			if (strcmp(all[*index]->name, name) == 0)
				break;
	if (*index >= count || all[*index]->vartype != PGC_STRING)
		return NULL;
	return (struct config_string *) all[*index];
}

static inline const char *
compat_text_setting(const char *name, int *index)
{
	struct config_string *setting = compat_find_text_setting(name, index);

	return setting ? *setting->variable : NULL;
}

static inline const char *
compat_reset_text(const char *name, int *index)
{
	struct config_string *setting = compat_find_text_setting(name, index);

	return setting ? setting->reset_val : NULL;
}

static inline bool
compat_replace_setting(const char *name, int *index, const char *text)
{
	struct config_string *setting = compat_find_text_setting(name, index);
	char *copy;

	if (setting == NULL || !(setting->gen.flags & GUC_CUSTOM_PLACEHOLDER) ||
		setting->gen.source != PGC_S_SESSION || setting->gen.stack != NULL ||
		*setting->variable == setting->reset_val || (copy = strdup(text)) == NULL)
		return false;
	free(*setting->variable);
	*setting->variable = copy;
	return true;
}
#endif

/* 19 lets EXPLAIN look on. */
#if PG_VERSION_NUM >= 190000
#define compat_pg_plan_query(query, text, options) \
	pg_plan_query((query), (text), (options), NULL, NULL)
#else
#define compat_pg_plan_query(query, text, options) \
	pg_plan_query((query), (text), (options), NULL)
#endif

/* The grouping step has a range table entry of its own since 18. */
#if PG_VERSION_NUM >= 180000
#define COMPAT_IS_GROUP_RTE(rte) ((rte)->rtekind == RTE_GROUP)
#define COMPAT_GROUP_EXPRESSIONS(rte) ((rte)->groupexprs)
#else
#define COMPAT_IS_GROUP_RTE(rte) false
#define COMPAT_GROUP_EXPRESSIONS(rte) NIL
#endif

/* 16 has one function for all kinds of objects. */
#if PG_VERSION_NUM >= 160000
#define compat_owns_relation(relation, role) \
	object_ownercheck(RelationRelationId, (relation), (role))
#define compat_owns_database(database, role) \
	object_ownercheck(DatabaseRelationId, (database), (role))
#else
#define compat_owns_relation(relation, role) pg_class_ownercheck((relation), (role))
#define compat_owns_database(database, role) pg_database_ownercheck((database), (role))
#endif

/* 16 tells being a member of a role from being allowed to act as it. */
#if PG_VERSION_NUM >= 160000
#define compat_may_set_role(member, role) member_can_set_role((member), (role))
#else
#define compat_may_set_role(member, role) is_member_of_role((member), (role))
#endif

/* 19 ends a worker that stands in the way of DROP DATABASE and its like itself. */
#if PG_VERSION_NUM >= 190000
#define COMPAT_BGWORKER_INTERRUPTIBLE BGWORKER_INTERRUPTIBLE
#else
#define COMPAT_BGWORKER_INTERRUPTIBLE 0
#endif

/* 17 lets a worker be a role that may not log in. */
#if PG_VERSION_NUM >= 170000
#define COMPAT_BYPASS_ROLE_LOGIN BGWORKER_BYPASS_ROLELOGINCHECK
#else
#define COMPAT_BYPASS_ROLE_LOGIN 0
#endif

/* 18 took the argument away that says whether a portal runs once. */
#if PG_VERSION_NUM >= 180000
#define compat_portal_run(portal, top_level, receiver, completion) \
	PortalRun(portal, FETCH_ALL, top_level, receiver, receiver, completion)
#else
#define compat_portal_run(portal, top_level, receiver, completion) \
	PortalRun(portal, FETCH_ALL, top_level, true, receiver, receiver, completion)
#endif

/* And so did what runs a plan. */
#if PG_VERSION_NUM >= 180000
#define COMPAT_RUN_PARAMETERS QueryDesc *query, ScanDirection direction, uint64 count
#define COMPAT_RUN_ARGUMENTS query, direction, count
#else
#define COMPAT_RUN_PARAMETERS \
	QueryDesc *query, ScanDirection direction, uint64 count, bool once
#define COMPAT_RUN_ARGUMENTS query, direction, count, once
#endif

/* 17 lets parallel workers have subtransactions of their own. */
#if PG_VERSION_NUM >= 170000
#define compat_subtransaction_is_allowed() true
#else
#define compat_subtransaction_is_allowed() (!IsInParallelMode())
#endif

/*
 * What an operator means to a btree: 1 to 5 for < <= = >= >, 6 for <>, 0 where no
 * btree knows it.  18 tells the same in its own words, with the same numbers.
 */
#define COMPAT_NOT_EQUAL_STRATEGY 6

static inline int
compat_operator_strategy(Oid operator)
{
#if PG_VERSION_NUM >= 180000
	List *meanings = get_op_index_interpretation(operator);

	return meanings ? (int) ((OpIndexInterpretation *) linitial(meanings))->cmptype : 0;
#else
	List *meanings = get_op_btree_interpretation(operator);

	return meanings ? ((OpBtreeInterpretation *) linitial(meanings))->strategy : 0;
#endif
}

/* A wait event set that lives as long as the process: 17 asks for a resource owner. */
static inline WaitEventSet *
compat_create_wait_event_set(int events)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, events);
#else
	return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

/* A wait event that pg_stat_activity shows by name: 17 lets extensions name theirs. */
static inline uint32
compat_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* The same, for a caller that has a static to keep it in. */
static inline uint32
compat_named_wait(uint32 *kept, const char *name)
{
	if (*kept == 0)
		*kept = compat_wait_event(name);
	return *kept;
}

/* May this role use that foreign server?  16 has one function for all objects. */
static inline bool
compat_may_use_server(Oid server, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, server, role, ACL_USAGE) ==
		   ACLCHECK_OK;
#else
	return pg_foreign_server_aclcheck(server, role, ACL_USAGE) == ACLCHECK_OK;
#endif
}

/* May this role call that function? */
static inline bool
compat_may_execute(Oid function, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) ==
		   ACLCHECK_OK;
#else
	return pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

/* Rows that this session changed and has not reported yet; 16 renamed the counts. */
static inline int64
compat_unreported_changes(Oid relation)
{
	PgStat_TableStatus *status = find_tabstat_entry(relation);

	if (status == NULL)
		return 0;
#if PG_VERSION_NUM >= 160000
	return status->counts.tuples_inserted + status->counts.tuples_updated +
		   status->counts.tuples_deleted;
#else
	return status->t_counts.t_tuples_inserted + status->t_counts.t_tuples_updated +
		   status->t_counts.t_tuples_deleted;
#endif
}

#endif /* FACTORY_COMPAT_H */
