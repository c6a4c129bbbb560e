/*
 * store_write.c
 *		Writing decisions: versions, what they depend on, and the first deployment.
 *
 * A definition is compiled before it is written, so that all that is wrong with it is
 * said; what it comes to for the index and what it uses is written beside it.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/base.h"
#include "base/errors.h"
#include "base/house.h"
#include "base/lookup.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "rules/dependency.h"
#include "rules/rule_image.h"
#include "rules/store_int.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

bool require_second_person = false;

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > DECISION_NAME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("a decision's name has 1 to %d bytes", DECISION_NAME_MAX)));
}

/*
 * Everything wrong with a definition is raised; what is only odd is warned of.  It
 * comes back compiled.
 */
static Decision *
validate(const char *name, Jsonb *definition)
{
	Problems problems = {.collect = true};
	Decision *decision;
	ListCell *cell;

	decision = decision_compile(name, 0, GetUserId(), definition, &problems);
	problems_raise(&problems);
	foreach (cell, problems.list)
	{
		const Problem *problem = lfirst(cell);

		ereport(WARNING,
				(errmsg("%s", problem->message), errdetail("At %s.", problem->path),
				 problem->hint ? errhint("%s", problem->hint) : 0));
	}
	return decision;
}

/* Runs one writing statement as the house's owner; returns the rows touched. */
static uint64
house_write(const char *sql, int count, Oid *types, Datum *values, const char *nulls)
{
	HouseRights saved;
	uint64 rows;
	int result;

	house_enter(&saved);
	SPI_connect();
	result = SPI_execute_with_args(sql, count, types, values, nulls, false, 0);
	if (result < 0)
		elog(ERROR, "could not write decisions: %s", SPI_result_code_string(result));
	rows = SPI_processed;
	SPI_finish();
	house_leave(&saved);
	return rows;
}

/* So that nobody has to compile all of it at the first judgment. */
static void
insert_image(const char *name, int version, const Decision *compiled, const char *hash)
{
	bytea *image = rule_image_make(compiled, hash);
	Oid types[] = {TEXTOID, TEXTOID, INT4OID, BYTEAOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()), CStringGetTextDatum(name),
					  Int32GetDatum(version), PointerGetDatum(image)};

	if (image != NULL)
		house_write(
			"INSERT INTO factory.rule_index (tenant_id, decision, version, image) "
			"VALUES ($1, $2, $3, $4)",
			4, types, values, NULL);
}

/* Versions are numbered one after another: the decision's row is locked meanwhile. */
static int
insert_version(const char *name, Jsonb *definition, const char *changelog,
			   const Decision *compiled)
{
	MemoryContext caller = CurrentMemoryContext;
	char *hash;
	Oid owner = GetUserId();
	Oid types[] = {TEXTOID, TEXTOID, JSONBOID, OIDOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()), CStringGetTextDatum(name),
					  JsonbPGetDatum(definition), ObjectIdGetDatum(owner),
					  changelog ? CStringGetTextDatum(changelog) : (Datum) 0};
	char nulls[] = {' ', ' ', ' ', ' ', changelog ? ' ' : 'n'};
	HouseRights saved;
	bool isnull;
	int version;

	house_enter(&saved);
	SPI_connect();
	SPI_execute_with_args("SELECT FROM factory.decision "
						  "WHERE tenant_id = $1 AND name = $2 FOR UPDATE",
						  2, types, values, NULL, false, 0);
	if (SPI_processed == 0)
	{
		SPI_finish();
		house_leave(&saved);
		store_raise_undefined(name);
	}
	SPI_execute_with_args(
		"INSERT INTO factory.decision_version "
		"(tenant_id, decision, version, definition, definition_hash, owner, changelog) "
		"SELECT $1, $2, coalesce(max(version), 0) + 1, $3, "
		"encode(sha256(convert_to($3::text, 'UTF8')), 'hex'), $4::regrole, $5 "
		"FROM factory.decision_version WHERE tenant_id = $1 AND decision = $2 "
		"RETURNING version, definition_hash",
		5, types, values, nulls, false, 0);
	version = DatumGetInt32(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	hash = MemoryContextStrdup(caller, SPI_getvalue(SPI_tuptable->vals[0],
													SPI_tuptable->tupdesc, 2));
	SPI_finish();
	house_leave(&saved);
	insert_image(name, version, compiled, hash);
	dependency_save(name, version, compiled);
	return version;
}

/* The first version: nothing is in force before it. */
static void
deploy_first(const char *name, int version)
{
	Oid types[] = {TEXTOID, TEXTOID, INT4OID, OIDOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()), CStringGetTextDatum(name),
					  Int32GetDatum(version), ObjectIdGetDatum(GetUserId())};

	house_write("INSERT INTO factory.deployment "
				"(tenant_id, decision, version, status, changelog, deployed_by) "
				"VALUES ($1, $2, $3, 'active', 'first version', $4::regrole)",
				4, types, values, NULL);
}

int
decision_create(const char *name, Jsonb *definition, const char *description)
{
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID, OIDOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()), CStringGetTextDatum(name),
					  description ? CStringGetTextDatum(description) : (Datum) 0,
					  ObjectIdGetDatum(GetUserId())};
	char nulls[] = {' ', ' ', description ? ' ' : 'n', ' '};
	Decision *compiled;
	int version;

	check_name(name);
	compiled = validate(name, definition);
	if (house_write("INSERT INTO factory.decision (tenant_id, name, description, "
					"created_by) VALUES ($1, $2, $3, $4::regrole) ON CONFLICT DO NOTHING",
					4, types, values, nulls) == 0)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("decision \"%s\" already exists", name),
						errhint("Add a version with factory.save_version(%s, definition, "
								"changelog).",
								quote_literal_cstr(name))));
	version = insert_version(name, definition, "first version", compiled);
	if (!require_second_person)
		dependency_hold(compiled);
	decision_free(compiled);
	if (require_second_person)
		ereport(NOTICE, (errmsg("version %d of decision \"%s\" waits for another person "
								"to deploy it",
								version, name),
						 errdetail("factory.require_second_person is on.")));
	else
		deploy_first(name, version);
	return version;
}

int
decision_save(const char *name, Jsonb *definition, const char *changelog)
{
	Decision *compiled;
	int version;

	if (changelog[strspn(changelog, " \t\r\n")] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a version says what it changes"),
						errhint("Give it as changelog => '...'.")));
	compiled = validate(name, definition);
	version = insert_version(name, definition, changelog, compiled);
	decision_free(compiled);
	return version;
}

void
decision_lock(const char *name)
{
	Oid types[] = {TEXTOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()), CStringGetTextDatum(name)};

	store_prepare();
	if (house_write("SELECT FROM factory.decision "
					"WHERE tenant_id = $1 AND name = $2 FOR UPDATE",
					2, types, values, NULL) == 0)
		store_raise_undefined(name);
}

static bool
has_dependencies(const char *name, int version)
{
	ScanKeyData keys[3];
	Lookup lookup;
	bool exists;

	store_version_keys(keys, name, version);
	lookup_begin(&lookup, "decision_dependency");
	exists = HeapTupleIsValid(lookup_row(&lookup, "decision_dependency_pkey", keys, 3));
	lookup_end(&lookup);
	return exists;
}

typedef struct Holding
{
	const char *name;
	int version;
	StoredVersion stored;
	Decision *decision;
} Holding;

static void
hold_body(void *argument)
{
	Holding *work = argument;
	Problems problems = {.collect = false};

	work->decision = decision_compile(work->name, work->version, work->stored.owner,
									  work->stored.definition, &problems);
}

/*
 * A table whose rows it uses is waited for while it is compiled, and may be gone then:
 * the server knows its number only.  Compiled once more, it is missed by its name.
 */
void
decision_hold(const char *name, int version)
{
	Holding work = {.name = name, .version = version};

	store_prepare();
	if (!has_dependencies(name, version) ||
		!store_read_version(name, version, true, &work.stored))
		return;
	store_check_owner(name, version, work.stored.owner);
	if (attempt(hold_body, &work) != NULL)
		hold_body(&work);
	dependency_hold(work.decision);
	decision_free(work.decision);
}
