/*
 * watch.c
 *		Whether a table of ours was changed since it was read.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/house.h"
#include "base/watch.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/inval.h"
#include "utils/rel.h"

static TableWatch *watches = NULL;
static bool callback_registered = false;

/* May come at any moment: flags only. */
static void
relation_changed(Datum argument, Oid relation)
{
	for (TableWatch *watch = watches; watch != NULL; watch = watch->next)
		if (!OidIsValid(relation) || relation == watch->relation)
			watch->holds = false;
}

bool
watch_holds(TableWatch *watch)
{
	/* Nothing is opened here that would take the news in; that it was dropped is some. */
	AcceptInvalidationMessages();
	return watch->holds;
}

void
watch_begin(TableWatch *watch)
{
	if (!callback_registered)
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	callback_registered = true;
	if (!OidIsValid(watch->relation))
	{
		watch->next = watches;
		watches = watch;
	}
	watch->relation = house_relation(watch->table);
	watch->holds = true;
}

FACTORY_FUNCTION(factory_rows_changed);

/* A trigger: what backends keep of this table is out of date. */
Datum
factory_rows_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "factory.rows_changed() is a trigger function");
	CacheInvalidateRelcacheByRelid(RelationGetRelid(trigger->tg_relation));
	return PointerGetDatum(NULL);
}
