/*
 * base.h
 *		The ground floor's own door to the ground plan, and small common things.
 */
#ifndef FACTORY_BASE_H
#define FACTORY_BASE_H

extern void base_define_settings(void);

/* The tenant this session works for; one tenant, "default", until there are more. */
extern const char *tenant_current(void);

#endif /* FACTORY_BASE_H */
