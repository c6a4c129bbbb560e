/*
 * acting_role.c
 *		Who speaks, also within a function that runs as the house.
 */
#include "postgres.h"

#include "base/compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

FACTORY_FUNCTION(factory_acting_role);

Datum
factory_acting_role(PG_FUNCTION_ARGS)
{
	Name role = palloc0(NAMEDATALEN);

	/* There the session's role lends its time to another's code, not its name. */
	if (InSecurityRestrictedOperation())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("cannot act for the session's role within a "
							   "security-restricted operation")));
	namestrcpy(role, GetUserNameFromId(GetOuterUserId(), false));
	PG_RETURN_NAME(role);
}
