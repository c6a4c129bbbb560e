/*
 * store_int.h
 *		What reading and writing decisions in tables share.
 */
#ifndef FACTORY_RULES_STORE_INT_H
#define FACTORY_RULES_STORE_INT_H

#include "access/skey.h"
#include "rules/rules_int.h"
#include "rules/store.h"

typedef struct StoredVersion
{
	char *hash;
	Oid owner;
	Jsonb *definition;
	bytea *image; /* of its rule index, or NULL */
} StoredVersion;

/* Before anything is read or written: finds the tables, listens to what changes. */
extern void store_prepare(void);

extern void store_raise_undefined(const char *name) __attribute__((noreturn));

/* The keys of a version, in whatever table has them first. */
extern void store_version_keys(ScanKey keys, const char *name, int version);

/* with_definition false reads the identity only. */
extern bool store_read_version(const char *name, int version, bool with_definition,
							   StoredVersion *stored);

/* Raises where the role is gone whose rights the version's conditions have. */
extern void store_check_owner(const char *name, int version, Oid owner);

#endif /* FACTORY_RULES_STORE_INT_H */
