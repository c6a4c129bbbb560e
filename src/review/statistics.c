/*
 * statistics.c
 *		How probable a difference is by chance.
 */
#include "postgres.h"

#include <math.h>

#include "base/compat.h"
#include "fmgr.h"

#define GAMMA_STEPS_MAX 10000
#define GAMMA_PRECISION 1e-15
#define GAMMA_TINY 1e-300

/* The lower regularized gamma function as a series; good for x < a + 1. */
static double
gamma_lower_series(double a, double x)
{
	double term = 1 / a;
	double sum = term;

	for (int n = 1; n < GAMMA_STEPS_MAX && fabs(term) > fabs(sum) * GAMMA_PRECISION; n++)
	{
		term *= x / (a + n);
		sum += term;
	}
	return sum * exp(a * log(x) - x - lgamma(a));
}

/* The upper one as a continued fraction, by Lentz's method; good for x >= a + 1. */
static double
gamma_upper_fraction(double a, double x)
{
	double b = x + 1 - a;
	double c = 1 / GAMMA_TINY;
	double d = 1 / b;
	double fraction = d;
	double change = 0;

	for (int n = 1; n < GAMMA_STEPS_MAX && fabs(change - 1) > GAMMA_PRECISION; n++)
	{
		double an = -n * (n - a);

		b += 2;
		d = an * d + b;
		d = 1 / (fabs(d) < GAMMA_TINY ? GAMMA_TINY : d);
		c = b + an / c;
		c = fabs(c) < GAMMA_TINY ? GAMMA_TINY : c;
		change = c * d;
		fraction *= change;
	}
	return fraction * exp(a * log(x) - x - lgamma(a));
}

/*
 * The probability that a chi-square variable of so many degrees of freedom is at
 * least the statistic: Q(degrees/2, statistic/2), Abramowitz and Stegun 26.4.19.
 */
static double
chi_square_tail(double statistic, double degrees)
{
	double a = degrees / 2;
	double x = statistic / 2;

	if (x <= 0)
		return 1;
	return x < a + 1 ? 1 - gamma_lower_series(a, x) : gamma_upper_fraction(a, x);
}

FACTORY_FUNCTION(factory_chi_square_probability);

Datum
factory_chi_square_probability(PG_FUNCTION_ARGS)
{
	double statistic = PG_GETARG_FLOAT8(0);
	int degrees = PG_GETARG_INT32(1);

	if (isnan(statistic) || statistic < 0 || degrees < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no chi-square statistic %g with %d degrees of freedom",
						statistic, degrees),
				 errhint("The statistic is not negative, and there is at least one "
						 "degree of freedom.")));
	if (isinf(statistic))
		PG_RETURN_FLOAT8(0);
	PG_RETURN_FLOAT8(chi_square_tail(statistic, degrees));
}
