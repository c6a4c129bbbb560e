/*
 * bi_sql.c
 *		The room's door to SQL.
 */
#include "postgres.h"

#include "base/base.h"
#include "base/errors.h"
#include "base/house.h"
#include "bi/bi_int.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

static const char *const insert_catalog =
	"INSERT INTO factory.catalog (tenant_id, domain, version, document, loaded_by)"
	" SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4"
	" FROM factory.catalog WHERE tenant_id = $1 AND domain = $2 RETURNING version";

static int
catalog_store(char *domain, Jsonb *document)
{
	Oid types[] = {TEXTOID, TEXTOID, JSONBOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()), CStringGetTextDatum(domain),
					  JsonbPGetDatum(document),
					  CStringGetTextDatum(GetUserNameFromId(GetUserId(), false))};
	HouseRights saved;
	bool isnull;
	int version;

	house_enter(&saved);
	SPI_connect();
	/* Two loads of one domain at once would take the same number. */
	if (SPI_execute("LOCK TABLE factory.catalog IN SHARE ROW EXCLUSIVE MODE", false, 0) !=
			SPI_OK_UTILITY ||
		SPI_execute_with_args(insert_catalog, 4, types, values, NULL, false, 0) !=
			SPI_OK_INSERT_RETURNING)
		elog(ERROR, "could not store the catalogue");
	version = DatumGetInt32(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	house_leave(&saved);
	return version;
}

FACTORY_FUNCTION(factory_load_catalog);

Datum
factory_load_catalog(PG_FUNCTION_ARGS)
{
	Jsonb *document = PG_GETARG_JSONB_P(0);

	catalog_check_document(document);
	catalog_check_sql(catalog_build(list_make1(document), tenant_current(), NIL,
									InvalidOid),
					  document);
	PG_RETURN_INT32(catalog_store(doc_get_string(document, "domain"), document));
}

FACTORY_FUNCTION(factory_check_catalog);

Datum
factory_check_catalog(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *returned = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach (cell, catalog_findings(PG_GETARG_JSONB_P(0)))
	{
		CatalogFinding *finding = lfirst(cell);
		Datum values[3] = {CStringGetTextDatum(finding->level), (Datum) 0,
						   CStringGetTextDatum(finding->message)};
		bool nulls[3] = {false, finding->path == NULL, false};

		if (finding->path)
			values[1] = CStringGetTextDatum(finding->path);
		tuplestore_putvalues(returned->setResult, returned->setDesc, values, nulls);
	}
	return (Datum) 0;
}

FACTORY_FUNCTION(factory_describe_catalog);

Datum
factory_describe_catalog(PG_FUNCTION_ARGS)
{
	Catalog *catalog = catalog_get();
	char *language = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (language && strcmp(language, "ko") != 0 && strcmp(language, "en") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("language \"%s\" is not known", language),
						errhint("Say \"ko\" or \"en\", or nothing for both.")));
	if (catalog)
		catalog_read_values(catalog, false);
	PG_RETURN_JSONB_P(catalog_describe(catalog, language));
}

FACTORY_FUNCTION(factory_etl_done);

Datum
factory_etl_done(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Catalog *catalog = catalog_get();

	if (catalog == NULL || catalog_dataset(catalog, name) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FACTORY_INVALID_CATALOG),
				 errmsg("there is no dataset \"%s\"", name),
				 errhint("factory.describe_catalog() lists them under \"datasets\".")));
	freshness_report(name);
	PG_RETURN_VOID();
}

FACTORY_FUNCTION(factory_verify_question);

Datum
factory_verify_question(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("question must not be null")));
	verified_store(text_to_cstring(PG_GETARG_TEXT_PP(0)),
				   PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)),
				   PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	PG_RETURN_VOID();
}

FACTORY_FUNCTION(factory_plan);

Datum
factory_plan(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(ask_plan_only(text_to_cstring(PG_GETARG_TEXT_PP(0)),
									PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1)));
}

FACTORY_FUNCTION(factory_ask);

Datum
factory_ask(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(ask_question(text_to_cstring(PG_GETARG_TEXT_PP(0)),
								   PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1),
								   !PG_ARGISNULL(2) && PG_GETARG_BOOL(2),
								   !PG_ARGISNULL(3) && PG_GETARG_BOOL(3)));
}

FACTORY_FUNCTION(factory_ask_csv);

Datum
factory_ask_csv(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(
		cstring_to_text(ask_csv(text_to_cstring(PG_GETARG_TEXT_PP(0)),
								PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1))));
}

FACTORY_FUNCTION(factory_to_sql);

Datum
factory_to_sql(PG_FUNCTION_ARGS)
{
	double plan_ms;
	QuestionPlan *plan = ask_plan(text_to_cstring(PG_GETARG_TEXT_PP(0)), NULL, &plan_ms);

	if (plan->clarification)
		ereport(ERROR,
				(errcode(ERRCODE_FACTORY_QUESTION_NOT_UNDERSTOOD),
				 errmsg("question has no SQL: %s", plan->clarification),
				 errhint("factory.plan() gives the choices under \"clarification\".")));
	PG_RETURN_TEXT_P(cstring_to_text(plan->sql));
}

FACTORY_FUNCTION(factory_check_sql);

Datum
factory_check_sql(PG_FUNCTION_ARGS)
{
	TupleDesc type;
	Verdict verdict;
	Datum values[4] = {0};
	bool nulls[4];

	if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "factory.check_sql() must return a row");
	guarded_run(text_to_cstring(PG_GETARG_TEXT_PP(0)), GUARD_CATALOG, 0, NULL, &verdict);
	values[0] = BoolGetDatum(verdict.ok);
	nulls[0] = false;
	nulls[1] = verdict.ok || verdict.layer == NULL;
	nulls[2] = verdict.ok || verdict.reason == NULL;
	nulls[3] = verdict.ok || verdict.hint == NULL;
	if (!nulls[1])
		values[1] = CStringGetTextDatum(verdict.layer);
	if (!nulls[2])
		values[2] = CStringGetTextDatum(verdict.reason);
	if (!nulls[3])
		values[3] = CStringGetTextDatum(verdict.hint);
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type), values, nulls)));
}

/* The row as an object, by its columns' names. */
static Jsonb *
row_object(const GuardedResult *result, Jsonb *row)
{
	List *columns = doc_elements(row);
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	for (int i = 0; i < result->column_count; i++)
		doc_put_value(&b, result->names[i], list_nth(columns, i));
	doc_end_object(&b);
	return doc_finish(&b);
}

FACTORY_FUNCTION(factory_run_sql);

Datum
factory_run_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *returned = (ReturnSetInfo *) fcinfo->resultinfo;
	int max_rows = PG_ARGISNULL(1) ? bi_max_rows : PG_GETARG_INT32(1);
	GuardedResult result;
	Verdict verdict;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	if (max_rows < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_rows must not be negative, but is %d", max_rows)));
	guarded_run(text_to_cstring(PG_GETARG_TEXT_PP(0)), GUARD_CATALOG,
				Min(max_rows, bi_max_rows), &result, &verdict);
	if (!verdict.ok)
		verdict_raise(&verdict);
	audit_statement(text_to_cstring(PG_GETARG_TEXT_PP(0)), "run_sql",
					list_length(result.rows));
	foreach (cell, result.rows)
	{
		Datum value = JsonbPGetDatum(row_object(&result, lfirst(cell)));
		bool isnull = false;

		tuplestore_putvalues(returned->setResult, returned->setDesc, &value, &isnull);
	}
	if (result.truncated)
		ereport(NOTICE,
				(errmsg("the result was cut off after %d rows", list_length(result.rows)),
				 errhint("Limits are max_rows, factory.question_max_rows and "
						 "factory.question_max_bytes.")));
	return (Datum) 0;
}
