/*
 * link.h
 *		A connection that bytes go to and come from, for protocols of one's own.
 *
 * Name, connection and TLS are libcurl's work, within the time given and with signals
 * held back; reading and writing wait interruptibly.  A link lives until it is closed:
 * an error in between leaves it open, but of unknown state, so its user closes it then.
 */
#ifndef FACTORY_LINK_H
#define FACTORY_LINK_H

#include "datatype/timestamp.h"

typedef struct HttpLink HttpLink;

typedef struct HttpLinkTarget
{
	const char *host;
	int port;
	bool is_tls;
	const char *ca_file; /* NULL: the system's authorities */
} HttpLinkTarget;

/* NULL where it cannot be had, with the reason: one phrase in the caller's memory. */
extern HttpLink *link_open(const HttpLinkTarget *target, int timeout_ms, char **reason);

/* All of it, by the deadline; false where that is not to be. */
extern bool link_send(HttpLink *link, const char *bytes, size_t length,
					  TimestampTz deadline);

/* At least one byte; 0 where the peer has closed, fails, or says nothing in time. */
extern size_t link_receive(HttpLink *link, char *bytes, size_t size,
						   TimestampTz deadline);

extern void link_close(HttpLink *link);

#endif /* FACTORY_LINK_H */
