/*
 * number.h
 *		numeric as machine numbers, exactly and without a detour by text.
 */
#ifndef FACTORY_NUMBER_H
#define FACTORY_NUMBER_H

#include "fmgr.h"

/*
 * The double nearest to a numeric, as a cast to float8 gives it; what is beyond the
 * range of float8 is infinite.  The value may have a short header; it must not be
 * compressed or out of line.
 */
extern double number_to_double(Datum numeric);

/* False where it is no whole number, or beyond the range of bigint. */
extern bool number_to_int64(Datum numeric, int64 *result);

#endif /* FACTORY_NUMBER_H */
