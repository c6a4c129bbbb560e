/*
 * rpc_int.h
 *		What rpc.c and rpc_find.c share.
 */
#ifndef FACTORYD_RPC_INT_H
#define FACTORYD_RPC_INT_H

#include "catalog.h"
#include "rpc.h"

typedef enum Fit
{
	FIT_NOT,
	FIT_NAMED, /* each key is an argument, and none that is needed is missing */
	FIT_WHOLE  /* its one nameless argument takes the whole body */
} Fit;

/* rpc.c: the type that takes the body as it is, or NULL where it is to be JSON. */
extern const char *rpc_whole_body_type(const Exchange *exchange);

/* Whether arguments are words of a query string or a form: their types read them. */
extern bool rpc_has_words(const Exchange *exchange);
extern bool rpc_takes_json(const CatalogArgument *argument);

/* Whether the request has an argument of that name, and how many it has. */
extern bool rpc_is_given(const Exchange *exchange, const char *name);
extern size_t rpc_given_count(const Exchange *exchange);

/*
 * rpc_find.c: the function that is meant, or NULL; *also is another of the same schema
 * that fits as well.  Names go before a nameless argument.
 */
extern const CatalogFunction *rpc_find(const Exchange *exchange, const char *schema,
									   const char *name, Fit *fit,
									   const CatalogFunction **also);

/* Answers that there is none, or that there are two. */
extern void rpc_reply_not_found(Exchange *exchange, const char *name);
extern void rpc_reply_ambiguous(Exchange *exchange, const CatalogFunction *one,
								const CatalogFunction *other);

#endif /* FACTORYD_RPC_INT_H */
