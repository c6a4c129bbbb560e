/*
 * cors.h
 *		Whether a page of another origin may read what we answer.
 */
#ifndef FACTORYD_CORS_H
#define FACTORYD_CORS_H

#include "config.h"
#include "http.h"

/* Adds what tells a browser that it may, where FACTORYD_CORS_ORIGINS has the origin. */
extern void cors_add_headers(Buffer *headers, const Config *config, const HttpHead *head);

/* The same for the question that it asks before; methods is what the path takes. */
extern void cors_add_permission(Buffer *headers, const Config *config,
								const HttpHead *head, const char *methods);

#endif /* FACTORYD_CORS_H */
