/*
 * settings.c
 *		Hands the rooms' rows of settings to the server.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/settings.h"

static void
setting_define(const Setting *row)
{
	switch (row->kind)
	{
		case SETTING_BOOL:
			DefineCustomBoolVariable(row->name, row->description, row->detail,
									 (bool *) row->variable, row->boot != 0, row->context,
									 row->flags, NULL, NULL, NULL);
			break;
		case SETTING_INT:
			DefineCustomIntVariable(row->name, row->description, row->detail,
									(int *) row->variable, (int) row->boot,
									(int) row->min, (int) row->max, row->context,
									row->flags, NULL, NULL, NULL);
			break;
		case SETTING_REAL:
			DefineCustomRealVariable(row->name, row->description, row->detail,
									 (double *) row->variable, row->boot, row->min,
									 row->max, row->context, row->flags, NULL, NULL,
									 NULL);
			break;
		case SETTING_STRING:
			DefineCustomStringVariable(row->name, row->description, row->detail,
									   (char **) row->variable, row->boot_text,
									   row->context, row->flags, row->check_text,
									   row->assign_text, NULL);
			break;
		case SETTING_ENUM:
			DefineCustomEnumVariable(row->name, row->description, row->detail,
									 (int *) row->variable, (int) row->boot, row->choices,
									 row->context, row->flags, NULL, NULL, NULL);
			break;
	}
}

void
settings_define(const Setting *rows, int count)
{
	for (int i = 0; i < count; i++)
		setting_define(&rows[i]);
}
