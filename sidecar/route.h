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

/* factoryd's own series, in Prometheus' text format. */
extern void route_add_metrics(Buffer *body, const Factoryd *factoryd);

#endif /* FACTORYD_ROUTE_H */
