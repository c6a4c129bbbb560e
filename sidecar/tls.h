/*
 * tls.h
 *		TLS on a client's socket, never blocking.
 */
#ifndef FACTORYD_TLS_H
#define FACTORYD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct TlsContext TlsContext;
typedef struct Tls Tls;

typedef enum TlsProgress
{
	TLS_DONE,
	TLS_WANTS_READ,
	TLS_WANTS_WRITE,
	TLS_FAILED
} TlsProgress;

/* A server's certificate chain and key; NULL where they do not fit, and the log says why. */
extern TlsContext *tls_open(const char *certificate_file, const char *key_file);
extern void tls_close(TlsContext *context);

extern Tls *tls_accept(TlsContext *context, int fd);
extern TlsProgress tls_handshake(Tls *tls);

/* As recv and send: 0 is the end, -1 with EAGAIN is later. */
extern ssize_t tls_read(Tls *tls, void *target, size_t size);

/* What was taken, 0 where nothing can be now, -1 where the client is gone. */
extern ssize_t tls_write(Tls *tls, const void *data, size_t length);

/* Whether decoded bytes wait that the socket does not tell of. */
extern bool tls_has_input(const Tls *tls);
extern void tls_shutdown(Tls *tls);
extern void tls_free(Tls *tls); /* NULL is none */

#endif /* FACTORYD_TLS_H */
