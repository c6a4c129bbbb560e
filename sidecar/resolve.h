/*
 * resolve.h
 *		The addresses behind the host names of a connection string.
 */
#ifndef FACTORYD_RESOLVE_H
#define FACTORYD_RESOLVE_H

#include <stdbool.h>

/* What libpq takes instead: three lists of equal length, comma-separated. */
typedef struct Addresses
{
	char *host; /* NULL where resolving failed */
	char *hostaddr;
	char *port;
	char *reason; /* of the failure */
} Addresses;

/* Whether libpq would have to look up a name, and so might block. */
extern bool resolve_is_needed(const char *database);

/* Looks the names up.  Blocks.  Fails where not one name has an address. */
extern void resolve_addresses(const char *database, Addresses *found);
extern void resolve_forget(Addresses *found);

#endif /* FACTORYD_RESOLVE_H */
