/*
 * tenant.h
 *		Whose rows a session works with.
 *
 * The tenant follows from the role that the session acts as (SET ROLE counts, a
 * SECURITY DEFINER function does not): what factory.tenant_role says of it or of a
 * role it is a member of.  A role that is mapped nowhere works for the tenant that
 * the setting factory.tenant names, which only those may set who were granted it,
 * else for factory.default_tenant.
 */
#ifndef FACTORY_TENANT_H
#define FACTORY_TENANT_H

#define TENANT_NAME_MAX 63
#define TENANT_DEFAULT "default"

/*
 * The name of this session's tenant.  Names are kept as long as the backend lives,
 * one copy each: pointers may be stored, and compared instead of the names.
 * Raises where roles disagree, or where there is no tenant for this role.
 */
extern const char *tenant_current(void);

/*
 * True where the session cannot choose: its role is mapped to a tenant, or a
 * setting chose one.  Whoever is not bound and may administrate, does so for all.
 */
extern bool tenant_is_bound(void);

/* True while the name's tenant is this session's or the session is not bound. */
extern bool tenant_may_see(const char *name);

/*
 * Works for another tenant until the end of the settings' level that is open now
 * (NewGUCNestLevel, or the transaction).  For background workers.
 */
extern void tenant_act_for(const char *name);

#endif /* FACTORY_TENANT_H */
