/*
 * route.h
 *		Which path is which SQL call.
 */
#ifndef FACTORYD_ROUTE_H
#define FACTORYD_ROUTE_H

#include "factoryd.h"
#include "http.h"

/* What the HTTP server hands its requests to. */
extern HttpHandler route_handler(Factoryd *factoryd);

/* The engine's routes, one after the other: prefix says that one more name follows. */
extern void route_each(void (*tell)(const char *method, const char *path, bool prefix,
									const char *service, void *context),
					   void *context);

/* Parses the body; answers the exchange where it is no JSON object: false. */
struct Exchange;
extern bool route_parse_body(struct Exchange *exchange);

#endif /* FACTORYD_ROUTE_H */
