/*
 * rest.h
 *		PostgREST's conventions for tables and views.
 */
#ifndef FACTORYD_REST_H
#define FACTORYD_REST_H

struct Rest;

extern void rest_free(struct Rest *rest); /* NULL is none */

#endif /* FACTORYD_REST_H */
