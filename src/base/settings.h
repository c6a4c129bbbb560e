/*
 * settings.h
 *		Settings as rows of a table: one row is one "factory.*" setting.
 */
#ifndef FACTORY_SETTINGS_H
#define FACTORY_SETTINGS_H

#include "utils/guc.h"

typedef enum SettingKind
{
	SETTING_BOOL,
	SETTING_INT,
	SETTING_REAL,
	SETTING_STRING,
	SETTING_ENUM
} SettingKind;

typedef struct Setting
{
	const char *name;        /* "factory.<room>_<noun>" */
	const char *description; /* "Sets the ..." or "Enables ...", with a period */
	SettingKind kind;
	void *variable;        /* bool *, int *, double * or char ** by kind */
	double boot;           /* default of bool, int, real and enum */
	const char *boot_text; /* default of string */
	double min;
	double max;
	GucContext context;
	int flags;                               /* GUC_UNIT_MS and the like */
	const struct config_enum_entry *choices; /* of an enum */
	GucStringCheckHook check_text;           /* of a string, or NULL */
	GucStringAssignHook assign_text;         /* of a string, or NULL */
	const char *detail;                      /* long description, or NULL */
} Setting;

extern void settings_define(const Setting *rows, int count);

#endif /* FACTORY_SETTINGS_H */
