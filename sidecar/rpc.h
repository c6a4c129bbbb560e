/*
 * rpc.h
 *		POST and GET /rpc/NAME: calling a function by name, as PostgREST does.
 */
#ifndef FACTORYD_RPC_H
#define FACTORYD_RPC_H

#include "exchange.h"

/* Answers the exchange, or runs its call.  The catalogue is there. */
extern void rpc_call(Exchange *exchange);

#endif /* FACTORYD_RPC_H */
