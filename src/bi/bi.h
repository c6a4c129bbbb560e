/*
 * bi.h
 *		Questions in Korean and English, answered by checked SQL.
 */
#ifndef FACTORY_BI_H
#define FACTORY_BI_H

extern void bi_define_settings(void);

#endif /* FACTORY_BI_H */
