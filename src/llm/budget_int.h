/*
 * budget_int.h
 *		Between the files about budgets.
 */
#ifndef FACTORY_BUDGET_INT_H
#define FACTORY_BUDGET_INT_H

#include "base/tenant.h"

#define NANO 1e9

/* Whose budget, and for how long: what a place in shared memory belongs to. */
typedef struct BudgetKey
{
	Oid database; /* InvalidOid: free */
	char tenant[TENANT_NAME_MAX + 1];
	char kind[8]; /* tenant, role, model */
	char name[NAMEDATALEN];
	char period[8]; /* day, month */
} BudgetKey;

/* A row of factory.llm_budget. */
typedef struct Budget
{
	BudgetKey key;
	int64 tokens;    /* -1: no limit */
	double nano_usd; /* -1: no limit */
} Budget;

/* The budgets that a call of that model by this role is under: at most BUDGET_MAX_HOLDS. */
extern int budget_find_limits(const char *model, Budget *budgets);

#endif /* FACTORY_BUDGET_INT_H */
