/*
 * http_int.h
 *		Between the files of the http room.
 */
#ifndef FACTORY_HTTP_INT_H
#define FACTORY_HTTP_INT_H

#include <curl/curl.h>
#include <sys/socket.h>

#include "datatype/timestamp.h"

#if LIBCURL_VERSION_NUM < 0x075500
#error "pg_factory needs libcurl 7.85 or later"
#endif

/* --- engine.c: one multi handle a process -------------------------------------- */

/* Called once for every transfer that curl has ended. */
typedef void (*EngineEndCallback)(CURL *easy, CURLcode result);

/* Raises only when out of memory or file descriptors. */
extern void engine_begin(EngineEndCallback on_end);

/* TLS sessions, for a later connection to begin with; NULL where curl has none. */
extern CURLSH *engine_share(void);

extern bool engine_add(CURL *easy);

/* Also ends the connection, where the transfer was under way. */
extern void engine_drop(CURL *easy);

/* Does all that can be done without waiting; false when nothing could. */
extern bool engine_turn(void);

/* Waits until something can be done or the moment comes; raises on interrupts. */
extern void engine_wait(TimestampTz until);

/* --- egress.c: where a request may go ------------------------------------------- */

/* NULL where the address may be spoken to, else what it is: "a loopback address". */
extern const char *egress_denial(const struct sockaddr *address);

#define EGRESS_NOT_AN_ADDRESS "not an internet address"

/* The same for an address as text, as curl reports a connection's peer. */
extern const char *egress_denial_text(const char *address);

#endif /* FACTORY_HTTP_INT_H */
