/*
 * base.h
 *		The ground floor's own door to the ground plan, and small common things.
 */
#ifndef FACTORY_BASE_H
#define FACTORY_BASE_H

#include "base/tenant.h"

extern void base_define_settings(void);

#endif /* FACTORY_BASE_H */
