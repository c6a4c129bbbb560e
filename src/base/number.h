/*
 * number.h
 *		numeric as machine numbers, exactly and without a detour by text.
 */
#ifndef FACTORY_NUMBER_H
#define FACTORY_NUMBER_H

#include "fmgr.h"
#include "utils/numeric.h"

/*
 * The double nearest to a numeric, as a cast to float8 gives it; what is beyond the
 * range of float8 is infinite.  The value may have a short header; it must not be
 * compressed or out of line.
 */
extern double number_to_double(Datum numeric);

/* False where it is no whole number, or beyond the range of bigint. */
extern bool number_to_int64(Datum numeric, int64 *result);

/* A finite double as numeric, as a cast of float8 gives it. */
extern Numeric number_from_double(double value);

/*
 * The same as a decimal, whole / 10^decimals; false where it has more than 15 figures,
 * or an exponent.
 */
extern bool number_to_decimal(double value, int64 *whole, int *decimals);

/*
 * whole / 10^decimals, 63 at most, as the server would store the numeric; its size.  Of
 * the room's type is only that it is aligned.
 */
#define NUMBER_STORED_ROOM 24
extern int number_store(int64 whole, int decimals, int32 *room);

/*
 * As printf's "%.*g" writes it, digits being 15 at most; the length.  It is exact where
 * that is this very number.
 */
#define NUMBER_TEXT_ROOM 32
extern int number_to_text(double value, int digits, char *room, bool *exact);

#endif /* FACTORY_NUMBER_H */
