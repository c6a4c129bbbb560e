/*
 * refresh.h
 *		Materialized views that keep themselves fresh: what is due, and a run.
 *
 * The functions below run inside a transaction of the caller's.
 */
#ifndef FACTORY_REFRESH_H
#define FACTORY_REFRESH_H

#include "datatype/timestamp.h"

extern void refresh_define_settings(void);

#endif /* FACTORY_REFRESH_H */
