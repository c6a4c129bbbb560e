/*
 * judgment.h
 *		Decisions, their rules, and judging by them.
 */
#ifndef FACTORY_JUDGMENT_H
#define FACTORY_JUDGMENT_H

extern void judgment_define_settings(void);

#endif /* FACTORY_JUDGMENT_H */
