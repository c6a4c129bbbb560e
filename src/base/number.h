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
 * As printf's "%.*g" writes it, digits being 15 at most; true where that is this very
 * number.
 */
#define NUMBER_TEXT_ROOM 32
extern bool number_to_text(double value, int digits, char *room);

#endif /* FACTORY_NUMBER_H */
