/*
 * number.c
 *		numeric as machine numbers and back, exactly and without a detour by text.
 *
 * The server's own cast prints the number and reads it back.  Most numbers are short:
 * their digits fit into the 53 bits of a double, and so does the power of ten that
 * they are multiplied or divided by; one rounding of exact operands is the right one.
 * All others go the server's way.  The layout read here is numeric's on disk, which
 * cannot change while pg_upgrade keeps data files.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "base/compat.h"
#include "base/number.h"
#include "common/int.h"
#include "common/shortest_dec.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define DIGIT_BASE 10000 /* a stored digit counts four decimal ones */
#define DIGIT_DECIMALS 4

/* The first 16 bits of a numeric. */
#define FORM_MASK 0xC000
#define FORM_SHORT 0x8000
#define FORM_SPECIAL 0xC000
#define FORM_LONG_NEGATIVE 0x4000
#define SHORT_NEGATIVE 0x2000
#define SHORT_SCALE_SHIFT 7
#define SHORT_WEIGHT_SIGN 0x0040
#define SHORT_WEIGHT_MASK 0x003F

#define DOUBLE_EXACT_INTEGER (INT64CONST(1) << 53)

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
									   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
									   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

typedef struct Parts
{
	bool negative;
	int weight; /* of the first digit: DIGIT_BASE ^ weight */
	int count;
	const char *digits; /* int16 each, maybe unaligned */
} Parts;

static uint16
half_word(const char *at)
{
	uint16 value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* False for NaN and infinities. */
static bool
parts_of(Datum numeric, Parts *parts)
{
	const char *data = VARDATA_ANY(DatumGetPointer(numeric));
	int size = VARSIZE_ANY_EXHDR(DatumGetPointer(numeric));
	uint16 header = half_word(data);
	int header_size;

	if ((header & FORM_MASK) == FORM_SPECIAL)
		return false;
	if ((header & FORM_MASK) == FORM_SHORT)
	{
		header_size = sizeof(uint16);
		parts->negative = (header & SHORT_NEGATIVE) != 0;
		parts->weight = (header & SHORT_WEIGHT_MASK) |
						((header & SHORT_WEIGHT_SIGN) ? ~SHORT_WEIGHT_MASK : 0);
	}
	else
	{
		header_size = 2 * sizeof(uint16);
		parts->negative = (header & FORM_MASK) == FORM_LONG_NEGATIVE;
		parts->weight = (int16) half_word(data + sizeof(uint16));
	}
	parts->digits = data + header_size;
	parts->count = (size - header_size) / (int) sizeof(int16);
	return true;
}

/* All digits as one whole number; false where they are too many. */
static bool
whole_of(const Parts *parts, int64 *whole)
{
	*whole = 0;
	for (int i = 0; i < parts->count; i++)
	{
		int64 digit = half_word(parts->digits + i * sizeof(int16));

		if (parts->negative)
			digit = -digit;
		if (pg_mul_s64_overflow(*whole, DIGIT_BASE, whole) ||
			pg_add_s64_overflow(*whole, digit, whole))
			return false;
	}
	return true;
}

double
number_to_double(Datum numeric)
{
	Parts parts;
	int64 whole;
	int exponent;

	if (parts_of(numeric, &parts) && whole_of(&parts, &whole) &&
		whole <= DOUBLE_EXACT_INTEGER && whole >= -DOUBLE_EXACT_INTEGER)
	{
		exponent = (parts.weight - parts.count + 1) * DIGIT_DECIMALS;
		if (whole == 0)
			return 0;
		if (exponent >= 0 && exponent < (int) lengthof(powers_of_ten))
			return (double) whole * powers_of_ten[exponent];
		if (exponent < 0 && -exponent < (int) lengthof(powers_of_ten))
			return (double) whole / powers_of_ten[-exponent];
	}
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, numeric));
}

bool
number_to_int64(Datum numeric, int64 *result)
{
	Parts parts;

	if (!parts_of(numeric, &parts))
		return false;
	/* Zeros after the last digit are not stored, nor are they before the point. */
	while (parts.count > 0 &&
		   half_word(parts.digits + (parts.count - 1) * sizeof(int16)) == 0)
		parts.count--;
	*result = 0;
	if (parts.count == 0)
		return true;
	if (parts.count > parts.weight + 1 || !whole_of(&parts, result))
		return false;
	for (int i = parts.count; i <= parts.weight; i++)
		if (pg_mul_s64_overflow(*result, DIGIT_BASE, result))
			return false;
	return true;
}

/* --- the other way ------------------------------------------------------------------ */

/*
 * Most numbers have few decimals, and are found without printing: a quotient of exact
 * operands is rounded once, so the decimal whose quotient is the value reads as it;
 * of decimals with 15 figures no other does.
 */
#define FEW_DECIMALS 6
#define FEW_DECIMALS_BELOW 1e9 /* 15 figures with those */

static bool
few_decimals(double value, int64 *whole, int *decimals)
{
	const double scale = 1e6; /* powers_of_ten[FEW_DECIMALS] */

	/* Not of NaN. */
	if (!(fabs(value) < FEW_DECIMALS_BELOW))
		return false;
	*whole = (int64) (value * scale + (value < 0 ? -0.5 : 0.5));
	if ((double) *whole / scale != value || *whole == 0)
		return false;
	for (*decimals = FEW_DECIMALS; *decimals > 0 && *whole % 10 == 0; (*decimals)--)
		*whole /= 10;
	return true;
}

/* From what the server writes; false for what it writes with an exponent or a word. */
static bool
printed_decimal(double value, int64 *whole, int *decimals)
{
	char text[DOUBLE_SHORTEST_DECIMAL_LEN];
	bool behind_point = false;
	int figures = 0;

	text[double_to_shortest_decimal_bufn(value, text)] = '\0';
	*whole = *decimals = 0;
	for (const char *at = text + (text[0] == '-'); *at != '\0'; at++)
	{
		if (*at == '.')
		{
			behind_point = true;
			continue;
		}
		if (*at < '0' || *at > '9')
			return false;
		*whole = *whole * 10 + (*at - '0');
		*decimals += behind_point;
		if (*whole != 0 && ++figures > DBL_DIG)
			return false;
	}
	if (text[0] == '-')
		*whole = -*whole;
	return true;
}

/*
 * The shortest decimal that is this double and no other, as the server writes float8.
 * Where it has no more than so many figures, it is also the nearest decimal of so many.
 */
bool
number_to_decimal(double value, int64 *whole, int *decimals)
{
	return few_decimals(value, whole, decimals) ||
		   printed_decimal(value, whole, decimals);
}

/* Digits as they are stored, the last one first; how many. */
static int
digits_of(uint64 rest, int decimals, int16 *digits)
{
	static const int powers[] = {1, 10, 100, 1000};
	int partial = decimals % DIGIT_DECIMALS;
	int count = 0;

	if (partial > 0)
	{
		digits[count++] =
			(int16) (rest % powers[partial] * powers[DIGIT_DECIMALS - partial]);
		rest /= powers[partial];
	}
	for (; rest != 0; rest /= DIGIT_BASE)
		digits[count++] = (int16) (rest % DIGIT_BASE);
	while (count > 0 && digits[count - 1] == 0)
		count--;
	return count;
}

int
number_store(int64 whole, int decimals, int32 *room)
{
	int16 digits[NUMBER_STORED_ROOM / sizeof(int16)];
	int count =
		digits_of(whole < 0 ? 0 - (uint64) whole : (uint64) whole, decimals, digits);
	int behind_point = (decimals + DIGIT_DECIMALS - 1) / DIGIT_DECIMALS;
	int weight = count > 0 ? count - 1 - behind_point : 0;
	int16 *stored = (int16 *) VARDATA(room);
	int last = 0, size;

	while (last < count && digits[last] == 0)
		last++;
	*stored++ =
		(int16) (FORM_SHORT | (whole < 0 ? SHORT_NEGATIVE : 0) |
				 decimals << SHORT_SCALE_SHIFT | (weight < 0 ? SHORT_WEIGHT_SIGN : 0) |
				 (weight & SHORT_WEIGHT_MASK));
	for (int i = count - 1; i >= last; i--)
		*stored++ = digits[i];
	size = (int) ((char *) stored - (char *) room);
	SET_VARSIZE(room, size);
	return size;
}

Numeric
number_from_double(double value)
{
	int64 whole;
	int decimals;

	if (number_to_decimal(value, &whole, &decimals))
		return int64_div_fast_to_numeric(whole, decimals);
	return DatumGetNumeric(DirectFunctionCall1(float8_numeric, Float8GetDatum(value)));
}

/* With a figure before the point at least; the length. */
static int
decimal_text(int64 whole, int decimals, bool is_negative, char *room)
{
	char figures[MAXINT8LEN + 1];
	int count = pg_ulltoa_n(whole < 0 ? 0 - (uint64) whole : (uint64) whole, figures);
	int before = Max(count - decimals, 0), zeros = Max(decimals - count, 0);
	char *at = room;

	if (is_negative)
		*at++ = '-';
	if (before == 0)
		*at++ = '0';
	memcpy(at, figures, before);
	at += before;
	if (decimals > 0)
	{
		*at++ = '.';
		memset(at, '0', zeros);
		memcpy(at + zeros, figures + before, count - before);
		at += zeros + count - before;
	}
	*at = '\0';
	return (int) (at - room);
}

int
number_to_text(double value, int digits, char *room, bool *exact)
{
	int64 whole;
	int decimals;

	*exact = (fabs(value) >= 1e-4 || value == 0) &&
			 number_to_decimal(value, &whole, &decimals) &&
			 fabs((double) whole) < powers_of_ten[digits];
	if (*exact)
		return decimal_text(whole, decimals, signbit(value), room);
	return snprintf(room, NUMBER_TEXT_ROOM, "%.*g", digits, value);
}
