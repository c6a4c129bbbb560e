/*
 * house.h
 *		Acting as the owner of our tables, on behalf of a caller who has no
 *		rights on them.
 *
 *		HouseRights saved;
 *
 *		house_enter(&saved);
 *		... SPI on our own tables, every name qualified ...
 *		house_leave(&saved);
 *
 * The caller's search_path does not reach inside.  An error needs no leave: the
 * end of the (sub)transaction restores user and settings.  Between the two, never
 * run anything a caller may have written.
 */
#ifndef FACTORY_HOUSE_H
#define FACTORY_HOUSE_H

typedef struct HouseRights
{
	Oid user;
	int security_context;
	int settings_level;
} HouseRights;

extern void house_enter(HouseRights *saved);
/*
 * The same as the server's own user, whom row security does not bind: the rows of all
 * tenants, and what only superusers see.  Only for fixed statements.
 */
extern void house_enter_for_all(HouseRights *saved);

extern void house_leave(const HouseRights *saved);

/* A relation of ours by its bare name; raises where the extension is not there. */
extern Oid house_relation(const char *name);

/* The same, InvalidOid where it is not there. */
extern Oid house_relation_if_exists(const char *name);

/* Whether that is the house's schema, and the role the house's owner and nobody more. */
extern bool house_owns_schema(Oid schema, Oid role);

#endif /* FACTORY_HOUSE_H */
