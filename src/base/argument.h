/*
 * argument.h
 *		Arguments of SQL functions that are not STRICT.
 */
#ifndef FACTORY_ARGUMENT_H
#define FACTORY_ARGUMENT_H

#include "fmgr.h"
#include "utils/jsonb.h"

/* They raise where the argument, named as callers know it, is NULL. */
extern char *argument_text(FunctionCallInfo fcinfo, int number, const char *name);
extern Jsonb *argument_doc(FunctionCallInfo fcinfo, int number, const char *name);

/* NULL is NULL. */
extern char *argument_text_or_null(FunctionCallInfo fcinfo, int number);

#endif /* FACTORY_ARGUMENT_H */
