/*
 * budget_limits.c
 *		Budgets as factory.llm_budget has them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/base.h"
#include "base/lookup.h"
#include "base/number.h"
#include "base/watch.h"
#include "llm/budget_int.h"
#include "llm/llm_int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* --- the limits --------------------------------------------------------------------------- */

/* Columns of factory.llm_budget. */
enum
{
	BUDGET_TENANT = 1,
	BUDGET_KIND,
	BUDGET_NAME,
	BUDGET_PERIOD,
	BUDGET_TOKENS,
	BUDGET_COST
};

static void
budget_text(char *part, Size size, const Lookup *lookup, HeapTuple row, int column)
{
	bool is_null;

	text_to_cstring_buffer(DatumGetTextPP(lookup_column(lookup, row, column, &is_null)),
						   part, size);
}

static void
budget_from_row(Budget *budget, const char *tenant, const Lookup *lookup, HeapTuple row)
{
	BudgetKey *key = &budget->key;
	bool is_null;
	Datum value;

	memset(budget, 0, sizeof(Budget));
	key->database = MyDatabaseId;
	strlcpy(key->tenant, tenant, sizeof(key->tenant));
	budget_text(key->kind, sizeof(key->kind), lookup, row, BUDGET_KIND);
	budget_text(key->name, sizeof(key->name), lookup, row, BUDGET_NAME);
	budget_text(key->period, sizeof(key->period), lookup, row, BUDGET_PERIOD);
	value = lookup_column(lookup, row, BUDGET_TOKENS, &is_null);
	budget->tokens = is_null ? -1 : DatumGetInt64(value);
	value = lookup_column(lookup, row, BUDGET_COST, &is_null);
	budget->nano_usd = is_null ? -1 : number_to_double(value) * NANO;
}

static int
read_limits(const char *tenant, const char *role, const char *model, Budget *budgets)
{
	const char *const wanted[][2] = {
		{"model", model},
		{"role", role},
		{"tenant", NULL},
	};
	Lookup lookup;
	int count = 0;

	lookup_begin(&lookup, "llm_budget");
	for (int i = 0; i < lengthof(wanted); i++)
	{
		ScanKeyData keys[3];
		HeapTuple row;

		lookup_text_key(&keys[0], BUDGET_TENANT, tenant);
		lookup_text_key(&keys[1], BUDGET_KIND, wanted[i][0]);
		if (wanted[i][1] != NULL)
			lookup_text_key(&keys[2], BUDGET_NAME, wanted[i][1]);
		row = lookup_row(&lookup, "llm_budget_pkey", keys, wanted[i][1] ? 3 : 2);
		for (; HeapTupleIsValid(row) && count < BUDGET_MAX_HOLDS;
			 row = lookup_next(&lookup))
			budget_from_row(&budgets[count++], tenant, &lookup, row);
	}
	lookup_end(&lookup);
	return count;
}

/* --- what is kept of the table ------------------------------------------------------------- */

#define BUDGET_MAX_KEPT 64

typedef struct KeptLimits
{
	char *tenant;
	char *role;
	char *model;
	int count;
	Budget budgets[BUDGET_MAX_HOLDS];
} KeptLimits;

static TableWatch watch = {"llm_budget"};
static MemoryContext kept_context = NULL;
static List *kept = NIL; /* of KeptLimits * */

static void
forget_limits(void)
{
	if (kept_context == NULL)
		kept_context = AllocSetContextCreate(CacheMemoryContext, "pg_factory budgets",
											 ALLOCSET_SMALL_SIZES);
	kept = NIL;
	MemoryContextReset(kept_context);
	watch_begin(&watch);
}

static const KeptLimits *
kept_limits(const char *tenant, const char *role, const char *model)
{
	ListCell *cell;

	foreach (cell, kept)
	{
		const KeptLimits *one = lfirst(cell);

		if (strcmp(one->role, role) == 0 && strcmp(one->model, model) == 0 &&
			strcmp(one->tenant, tenant) == 0)
			return one;
	}
	return NULL;
}

static void
keep_limits(const char *tenant, const char *role, const char *model,
			const Budget *budgets, int count)
{
	MemoryContext before;
	KeptLimits *one;

	/* A parallel worker reads by its leader's snapshot, which may be old. */
	if (list_length(kept) >= BUDGET_MAX_KEPT || IsInParallelMode())
		return;
	before = MemoryContextSwitchTo(kept_context);
	one = palloc(sizeof(KeptLimits));
	one->tenant = pstrdup(tenant);
	one->role = pstrdup(role);
	one->model = pstrdup(model);
	one->count = count;
	memcpy(one->budgets, budgets, count * sizeof(Budget));
	kept = lappend(kept, one);
	MemoryContextSwitchTo(before);
}

/* The budgets that a call of that model by this role is under. */
int
budget_find_limits(const char *model, Budget *budgets)
{
	const char *tenant = tenant_current();
	const char *role = GetUserNameFromId(GetUserId(), false);
	const KeptLimits *known;
	int count;

	if (!watch_holds(&watch))
		forget_limits();
	known = kept_limits(tenant, role, model);
	if (known != NULL)
	{
		memcpy(budgets, known->budgets, known->count * sizeof(Budget));
		return known->count;
	}
	count = read_limits(tenant, role, model, budgets);
	keep_limits(tenant, role, model, budgets, count);
	return count;
}
