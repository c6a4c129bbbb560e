/*
 * tenant_int.h
 *		What tenant.c and quota.c share.
 */
#ifndef FACTORY_TENANT_INT_H
#define FACTORY_TENANT_INT_H

#include "base/quota.h"
#include "base/tenant.h"

/* Columns of factory.tenant, as in tables.sql; the quotas follow each other. */
#define TENANT_COLUMN_NAME 1
#define TENANT_COLUMN_QUOTA 2

#define QUOTA_NONE (-1)

typedef struct QuotaSlot QuotaSlot;

typedef struct Tenant
{
	char name[TENANT_NAME_MAX + 1];
	int64 limits[QUOTA_COUNT]; /* QUOTA_NONE: as much as it likes */
	QuotaSlot *slot;           /* in shared memory; NULL until first used */
	bool warned[QUOTA_COUNT];  /* this session was told of the 80 % */
} Tenant;

/* The tenant of this session, as tenant_current() says. */
extern Tenant *tenant_session(void);

extern void tenant_define_settings(void);

#endif /* FACTORY_TENANT_INT_H */
