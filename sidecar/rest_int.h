/*
 * rest_int.h
 *		What rest.c and rest_change.c share.
 */
#ifndef FACTORYD_REST_INT_H
#define FACTORYD_REST_INT_H

#include "catalog.h"
#include "rest.h"

/* rest.c: answers what is wrong with the query, as rest->problem has it. */
extern void rest_reply_problem(Exchange *exchange);
extern RestStatement rest_statement(Exchange *exchange);

/* Answers an unknown time zone; false where it is something else. */
extern bool rest_answer_zone(Exchange *exchange, const CallOutcome *outcome);

/* rest_change.c: whether the method writes, and what it does to the relation. */
extern bool rest_is_change(const char *method);
extern void rest_serve_change(Exchange *exchange, const CatalogRelation *relation,
							  const char *method);

#endif /* FACTORYD_REST_INT_H */
