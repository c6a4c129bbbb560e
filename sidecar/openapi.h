/*
 * openapi.h
 *		GET /: what is served, as an OpenAPI 2.0 document.
 */
#ifndef FACTORYD_OPENAPI_H
#define FACTORYD_OPENAPI_H

#include "exchange.h"

extern void openapi_describe(Exchange *exchange);

#endif /* FACTORYD_OPENAPI_H */
