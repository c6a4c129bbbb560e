/*
 * exchange_int.h
 *		What exchange.c and exchange_caller.c share.
 */
#ifndef FACTORYD_EXCHANGE_INT_H
#define FACTORYD_EXCHANGE_INT_H

#include "exchange.h"

/* exchange.c: answers what went wrong. */
extern void exchange_answer_failure(Exchange *exchange, const CallOutcome *outcome);

/* exchange_caller.c: whether X-Tenant-ID was refused, rather than the statement. */
extern bool exchange_was_refused_tenant(const Exchange *exchange,
										const CallOutcome *outcome);
extern void exchange_refuse_tenant(Exchange *exchange);

#endif /* FACTORYD_EXCHANGE_INT_H */
