/*
 * decision_function.c
 *		Functions with typed arguments that answer by one pinned version.
 *
 * They are functions of the language factory_decision: the body is a document with
 * the definition itself, so that they need no table, depend on no deployment, and
 * are dumped, restored and dropped as any function.  Their conditions run with the
 * rights of the function's owner.
 *
 * A compiled body is kept for the session, by the function's OID and the row of
 * pg_proc that it was read from, and anew where a function that its rules call was
 * redefined.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/attempt.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/nearest.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "rules/dependency.h"
#include "rules/rules_int.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#define LANGUAGE_NAME "factory_decision"

/* --- what a function can answer with ---------------------------------------------------- */

typedef Datum (*AnswerMaker)(Evaluation *run, TupleDesc shape, bool *isnull);

static Datum
unwrap(NullableDatum value, bool *isnull)
{
	*isnull = value.isnull;
	return value.value;
}

static Datum
unknown_text(bool *isnull)
{
	*isnull = false;
	return CStringGetTextDatum("unknown");
}

/* Undecided is a word, not NULL: a CHECK takes NULL for a pass. */
static Datum
make_status(Evaluation *run, TupleDesc shape, bool *isnull)
{
	return run->verdict ? unwrap(run->answer->status, isnull) : unknown_text(isnull);
}

static Datum
make_result(Evaluation *run, TupleDesc shape, bool *isnull)
{
	return unwrap(run->answer->result, isnull);
}

static Datum
make_severity(Evaluation *run, TupleDesc shape, bool *isnull)
{
	return run->verdict ? unwrap(run->answer->severity, isnull) : unknown_text(isnull);
}

static Datum
make_confidence(Evaluation *run, TupleDesc shape, bool *isnull)
{
	*isnull = run->verdict == NULL;
	return Float8GetDatum(run->verdict ? run->verdict->confidence : 0);
}

static Datum
make_rules(Evaluation *run, TupleDesc shape, bool *isnull)
{
	*isnull = false;
	return evaluation_matched_rules(run);
}

static Datum
make_outcome(Evaluation *run, TupleDesc shape, bool *isnull)
{
	Jsonb *outcome;

	if (run->alone)
		return unwrap(run->answer->outcome, isnull);
	outcome = evaluation_outcome(run);
	*isnull = outcome == NULL;
	return JsonbPGetDatum(outcome);
}

/* The columns of type factory.verdict. */
#define VERDICT_COLUMNS 6

static Datum
form_verdict(Evaluation *run, TupleDesc shape)
{
	static const AnswerMaker makers[VERDICT_COLUMNS] = {make_status,   make_result,
														make_severity, make_confidence,
														make_rules,    make_outcome};
	Datum values[VERDICT_COLUMNS];
	bool nulls[VERDICT_COLUMNS];

	for (int i = 0; i < VERDICT_COLUMNS; i++)
		values[i] = makers[i](run, NULL, &nulls[i]);
	return HeapTupleGetDatum(heap_form_tuple(shape, values, nulls));
}

/* What one rule always answers is formed once. */
static Datum
make_verdict(Evaluation *run, TupleDesc shape, bool *isnull)
{
	MemoryContext caller;

	*isnull = false;
	if (!run->alone)
		return form_verdict(run, shape);
	if (run->answer->brief == (Datum) 0)
	{
		caller = MemoryContextSwitchTo(run->decision->context);
		run->answer->brief = form_verdict(run, shape);
		MemoryContextSwitchTo(caller);
	}
	return run->answer->brief;
}

typedef struct AnswerKind
{
	const char *name;
	Oid type; /* InvalidOid: factory.verdict */
	AnswerMaker make;
} AnswerKind;

static const AnswerKind answer_kinds[] = {
	{"status", TEXTOID, make_status},      {"result", TEXTOID, make_result},
	{"severity", TEXTOID, make_severity},  {"confidence", FLOAT8OID, make_confidence},
	{"rules", TEXTARRAYOID, make_rules},   {"outcome", JSONBOID, make_outcome},
	{"verdict", InvalidOid, make_verdict},
};

static const AnswerKind *
answer_kind(const char *name)
{
	const char *names[lengthof(answer_kinds)];
	const char *near;

	for (int i = 0; i < lengthof(answer_kinds); i++)
	{
		names[i] = answer_kinds[i].name;
		if (name != NULL && strcmp(name, names[i]) == 0)
			return &answer_kinds[i];
	}
	near = nearest_name(name ? name : "", names, lengthof(names));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a decision function has no answer \"%s\"", name ? name : ""),
			 near ? errhint("Did you mean \"%s\"?", near)
				  : errhint("Answers are status, result, severity, confidence, rules, "
							"outcome and verdict.")));
}

static Oid
verdict_type(void)
{
	Oid schema = get_namespace_oid("factory", false);
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("verdict"),
							   ObjectIdGetDatum(schema));

	if (!OidIsValid(type))
		elog(ERROR, "type factory.verdict is missing");
	return type;
}

static Oid
answer_type(const AnswerKind *kind)
{
	return OidIsValid(kind->type) ? kind->type : verdict_type();
}

/* --- from a function to a compiled decision ------------------------------------------------ */

typedef struct CompiledFunction
{
	Oid function; /* key */
	TransactionId xmin;
	ItemPointerData tid;
	uint64 functions_seen;
	Decision *decision; /* NULL: not compiled yet */
	struct RowShape *arguments;
	const AnswerKind *kind;
	TupleDesc verdict; /* where that is the answer */
} CompiledFunction;

static HTAB *compiled_functions = NULL;

static Jsonb *
function_body(HeapTuple row)
{
	bool isnull;
	Datum source = SysCacheGetAttr(PROCOID, row, Anum_pg_proc_prosrc, &isnull);
	char *words = TextDatumGetCString(source);
	char *why;
	Jsonb *body = doc_parse(words, strlen(words), &why);

	if (body == NULL)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_DEFINITION),
						errmsg("body of a decision function is no JSON document"),
						errdetail("%s", why),
						errhint("Use factory.create_decision_function().")));
	if (doc_get_doc(body, "definition") == NULL || doc_get_string(body, "answer") == NULL)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_DEFINITION),
						errmsg("body of a decision function needs \"definition\" and "
							   "\"answer\""),
						errhint("Use factory.create_decision_function().")));
	return body;
}

/* The arguments as columns; every one needs a name. */
static TupleDesc
function_arguments(HeapTuple row)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(row);
	TupleDesc arguments = CreateTemplateTupleDesc(proc->pronargs);
	Oid *types;
	char **names;
	char *modes;
	int count = get_func_arg_info(row, &types, &names, &modes);

	if (count != proc->pronargs || modes != NULL || proc->proretset)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a decision function has plain arguments and one answer")));
	for (int i = 0; i < count; i++)
	{
		TupleDescInitEntry(arguments, i + 1, names ? names[i] : "", types[i], -1, 0);
		TupleDescInitEntryCollation(arguments, i + 1, get_typcollation(types[i]));
	}
	compat_finish_tuple_desc(arguments);
	return arguments;
}

static void
check_answer_type(HeapTuple row, const AnswerKind *kind)
{
	Oid type = ((Form_pg_proc) GETSTRUCT(row))->prorettype;

	if (type != answer_type(kind))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("a decision function that answers \"%s\" returns %s",
							   kind->name, format_type_be(answer_type(kind))),
						errdetail("It is declared to return %s.", format_type_be(type))));
}

/* An index or a stored column would keep what is no longer true. */
static void
check_volatility(HeapTuple row, const Decision *decision)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(row);

	if (proc->provolatile == PROVOLATILE_IMMUTABLE &&
		(decision->uses_time || decision->is_mutable))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("decision \"%s\" depends on time or settings", decision->name),
				 errhint("Declare the function STABLE.")));
	if (proc->proparallel == PROPARALLEL_SAFE && decision->parallel_unsafe)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("decision \"%s\" calls a function that is not parallel safe",
						decision->name),
				 errhint("Declare the function PARALLEL UNSAFE.")));
}

static Decision *
compile_body(HeapTuple row, Jsonb *body, Problems *problems)
{
	char *name = doc_get_string(body, "decision");

	return decision_compile(name ? name
								 : NameStr(((Form_pg_proc) GETSTRUCT(row))->proname),
							(int) doc_get_number(body, "version", 0),
							((Form_pg_proc) GETSTRUCT(row))->proowner,
							doc_get_doc(body, "definition"), problems);
}

static void
compile_function(CompiledFunction *entry, HeapTuple row)
{
	Problems problems = {.collect = false};
	Jsonb *body = function_body(row);
	const AnswerKind *kind = answer_kind(doc_get_string(body, "answer"));
	uint64 functions_seen = functions_changed_so_far();
	Decision *decision;
	struct RowShape *arguments;
	MemoryContext caller;

	check_answer_type(row, kind);
	decision = compile_body(row, body, &problems);
	arguments = arguments_shape(decision, function_arguments(row));
	entry->verdict = NULL;
	if (!OidIsValid(kind->type))
	{
		caller = MemoryContextSwitchTo(decision->context);
		entry->verdict = BlessTupleDesc(lookup_rowtype_tupdesc_copy(verdict_type(), -1));
		MemoryContextSwitchTo(caller);
	}
	MemoryContextSetParent(decision->context, CacheMemoryContext);
	if (entry->decision != NULL)
		decision_retire(entry->decision);
	entry->decision = decision;
	entry->arguments = arguments;
	entry->kind = kind;
	entry->functions_seen = functions_seen;
	entry->xmin = HeapTupleHeaderGetRawXmin(row->t_data);
	entry->tid = row->t_self;
}

static bool
is_current(const CompiledFunction *entry, HeapTuple row)
{
	return entry->decision != NULL &&
		   entry->xmin == HeapTupleHeaderGetRawXmin(row->t_data) &&
		   ItemPointerEquals(unconstify(ItemPointerData *, &entry->tid), &row->t_self) &&
		   (entry->functions_seen == functions_changed_so_far() ||
			entry->decision->uses == NIL);
}

static CompiledFunction *
compiled_function(Oid function)
{
	HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(CompiledFunction)};
	HeapTuple row;
	CompiledFunction *entry;
	bool found;

	if (compiled_functions == NULL)
	{
		control.hcxt = CacheMemoryContext;
		compiled_functions = hash_create("pg_factory decision functions", 16, &control,
										 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for function %u", function);
	entry = hash_search(compiled_functions, &function, HASH_ENTER, &found);
	if (!found)
		entry->decision = NULL;
	if (!is_current(entry, row))
		compile_function(entry, row);
	ReleaseSysCache(row);
	return entry;
}

/* --- calling ---------------------------------------------------------------------------------- */

/* What a place that calls keeps; it holds until something was freed or redefined. */
typedef struct FunctionSite
{
	CompiledFunction function; /* a copy: entries move on */
	uint64 freed;
	uint64 functions_seen;
} FunctionSite;

static FunctionSite *
site_refresh(FmgrInfo *call)
{
	FunctionSite *site = call->fn_extra;

	if (site == NULL)
		site = MemoryContextAllocZero(call->fn_mcxt, sizeof(FunctionSite));
	call->fn_extra = NULL;
	functions_watch();
	site->function = *compiled_function(call->fn_oid);
	site->freed = decisions_freed_so_far();
	site->functions_seen = functions_changed_so_far();
	call->fn_extra = site;
	return site;
}

FACTORY_FUNCTION(factory_decision_call);

Datum
factory_decision_call(PG_FUNCTION_ARGS)
{
	FunctionSite *site = fcinfo->flinfo->fn_extra;
	Decision *decision;
	Evaluation run;

	if (site == NULL || site->freed != decisions_freed_so_far() ||
		site->functions_seen != functions_changed_so_far())
		site = site_refresh(fcinfo->flinfo);
	decision = site->function.decision;
	inputs_from_arguments(decision, site->function.arguments, fcinfo);
	if (!evaluation_by_index(&run, decision))
	{
		evaluation_start(&run, decision, decision->uses_time ? clock_statement() : 0);
		evaluation_run(&run);
	}
	return site->function.kind->make(&run, site->function.verdict, &fcinfo->isnull);
}

/* A function being created, as the validator sees it. */
typedef struct Validation
{
	Oid function;
	HeapTuple row;
} Validation;

static void
validate_body(void *argument)
{
	const Validation *work = argument;
	Problems problems = {.collect = true};
	Jsonb *body = function_body(work->row);
	Decision *decision;

	check_answer_type(work->row, answer_kind(doc_get_string(body, "answer")));
	decision = compile_body(work->row, body, &problems);
	problems_raise(&problems);
	(void) arguments_shape(decision, function_arguments(work->row));
	check_volatility(work->row, decision);
	dependency_record(work->function, decision);
	decision_free(decision);
}

FACTORY_FUNCTION(factory_decision_validator);

/*
 * Everything wrong with a function's body, when it is created.  A restore asks for no
 * check, and what the body uses may not be there yet: then only its dependencies are
 * recorded, if they can be.
 */
Datum
factory_decision_validator(PG_FUNCTION_ARGS)
{
	Validation work = {.function = PG_GETARG_OID(0)};

	if (!CheckFunctionValidatorAccess(fcinfo->flinfo->fn_oid, work.function))
		PG_RETURN_VOID();
	work.row = SearchSysCache1(PROCOID, ObjectIdGetDatum(work.function));
	if (!HeapTupleIsValid(work.row))
		elog(ERROR, "cache lookup failed for function %u", work.function);
	if (check_function_bodies)
		validate_body(&work);
	else
		(void) attempt(validate_body, &work);
	ReleaseSysCache(work.row);
	PG_RETURN_VOID();
}

/* --- creating ------------------------------------------------------------------------------------ */

/* The name wanted, or the decision's with its version, in the schema for new objects. */
static char *
function_name(const char *wanted, const char *decision, int version)
{
	List *names = wanted ? textToQualifiedNameList(cstring_to_text(wanted))
						 : list_make1(makeString(psprintf("%s_v%d", decision, version)));
	char *name;
	Oid schema = QualifiedNameGetCreationNamespace(names, &name);

	return pstrdup(quote_qualified_identifier(get_namespace_name(schema), name));
}

static char *
function_body_text(const char *decision, int version, const char *answer,
				   Jsonb *definition)
{
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "decision", decision);
	doc_put_int(&b, "version", version);
	doc_put_string(&b, "answer", answer);
	doc_put_doc(&b, "definition", definition);
	doc_end_object(&b);
	return doc_to_text(doc_finish(&b));
}

static char *
argument_list(const Decision *decision, bool with_names)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < decision->input_count; i++)
	{
		const Input *input = &decision->inputs[i];

		appendStringInfo(&list, "%s%s%s%s", i > 0 ? ", " : "",
						 with_names ? quote_identifier(input->name) : "",
						 with_names ? " " : "",
						 format_type_be_qualified(input->value.type));
	}
	return list.data;
}

static void
execute(const char *statement)
{
	if (SPI_execute(statement, false, 0) < 0)
		elog(ERROR, "could not create a decision function");
}

static void
check_argument_count(const Decision *decision)
{
	if (decision->input_count <= FUNC_MAX_ARGS)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_TOO_MANY_ARGUMENTS),
			 errmsg("decision \"%s\" has %d inputs, and a function at most %d arguments",
					decision->name, decision->input_count, FUNC_MAX_ARGS),
			 errhint("Use factory.decide() or factory.judge_row().")));
}

FACTORY_FUNCTION(factory_create_decision_function);

/* As the caller, who owns the function; nobody else may call it until granted. */
Datum
factory_create_decision_function(PG_FUNCTION_ARGS)
{
	char *decision_name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int version = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	char *wanted = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	const AnswerKind *kind =
		answer_kind(PG_ARGISNULL(3) ? "status" : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	Decision *decision = decision_lookup(decision_name, version);
	char *name = function_name(wanted, decision->name, decision->version);
	char *signature = psprintf("%s(%s)", name, argument_list(decision, false));
	char *body =
		function_body_text(decision->name, decision->version, kind->name,
						   decision_definition(decision_name, decision->version));

	check_argument_count(decision);
	SPI_connect();
	execute(psprintf("CREATE FUNCTION %s(%s) RETURNS %s LANGUAGE " LANGUAGE_NAME
					 " %s PARALLEL %s AS %s",
					 name, argument_list(decision, true),
					 format_type_be_qualified(answer_type(kind)),
					 decision->uses_time || decision->is_mutable ? "STABLE" : "IMMUTABLE",
					 decision->parallel_unsafe ? "UNSAFE" : "SAFE",
					 quote_literal_cstr(body)));
	execute(psprintf("REVOKE ALL ON FUNCTION %s FROM PUBLIC", signature));
	SPI_finish();
	return DirectFunctionCall1(regprocedurein, CStringGetDatum(signature));
}
