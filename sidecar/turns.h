/*
 * turns.h
 *		A loop's turns, one after another, until it is told to end.
 */
#ifndef FACTORYD_TURNS_H
#define FACTORYD_TURNS_H

#include "factoryd.h"

extern void turns_run(const Factoryd *factoryd);

#endif /* FACTORYD_TURNS_H */
