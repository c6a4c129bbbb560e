/*
 * tls.c
 *		TLS on a client's socket, never blocking.
 *
 * TLS 1.2 and later, the ciphers OpenSSL thinks good; no renegotiation, so a read
 * hardly ever has to wait for a write.
 */
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "log.h"
#include "text.h"

/* SSL_CTX and SSL are ours under another name. */

static void
log_reason(const char *what, const char *file)
{
	char reason[256];

	ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
	log_error("could not use %s \"%s\": %s", what, file, reason);
	ERR_clear_error();
}

TlsContext *
tls_open(const char *certificate_file, const char *key_file)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	if (context == NULL)
		return NULL;
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
									 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
								  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
								  SSL_MODE_RELEASE_BUFFERS);
	if (SSL_CTX_use_certificate_chain_file(context, certificate_file) != 1)
		log_reason("FACTORYD_TLS_CERT_FILE", certificate_file);
	else if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1 ||
			 SSL_CTX_check_private_key(context) != 1)
		log_reason("FACTORYD_TLS_KEY_FILE", key_file);
	else
		return (TlsContext *) context;
	log_hint("Both are PEM files; the key is the certificate's own, without a password.");
	SSL_CTX_free(context);
	return NULL;
}

void
tls_close(TlsContext *context)
{
	SSL_CTX_free((SSL_CTX *) context);
}

Tls *
tls_accept(TlsContext *context, int fd)
{
	SSL *ssl = SSL_new((SSL_CTX *) context);

	if (ssl == NULL)
	{
		log_error("out of memory for TLS");
		abort();
	}
	SSL_set_fd(ssl, fd);
	SSL_set_accept_state(ssl);
	return (Tls *) ssl;
}

TlsProgress
tls_handshake(Tls *tls)
{
	SSL *ssl = (SSL *) tls;
	int result;

	ERR_clear_error();
	result = SSL_do_handshake(ssl);
	if (result == 1)
		return TLS_DONE;
	switch (SSL_get_error(ssl, result))
	{
		case SSL_ERROR_WANT_READ:
			return TLS_WANTS_READ;
		case SSL_ERROR_WANT_WRITE:
			return TLS_WANTS_WRITE;
		default:
			return TLS_FAILED;
	}
}

ssize_t
tls_read(Tls *tls, void *target, size_t size)
{
	SSL *ssl = (SSL *) tls;
	int length;

	ERR_clear_error();
	length = SSL_read(ssl, target, (int) size);
	if (length > 0)
		return length;
	switch (SSL_get_error(ssl, length))
	{
		case SSL_ERROR_WANT_READ:
		case SSL_ERROR_WANT_WRITE:
			errno = EAGAIN;
			return -1;
		default:
			return 0;
	}
}

ssize_t
tls_write(Tls *tls, const void *data, size_t length)
{
	SSL *ssl = (SSL *) tls;
	int written;

	if (length == 0)
		return 0;
	if (length > 1 << 20)
		length = 1 << 20;
	ERR_clear_error();
	written = SSL_write(ssl, data, (int) length);
	if (written > 0)
		return written;
	switch (SSL_get_error(ssl, written))
	{
		case SSL_ERROR_WANT_READ:
		case SSL_ERROR_WANT_WRITE:
			return 0;
		default:
			return -1;
	}
}

bool
tls_has_input(const Tls *tls)
{
	return SSL_has_pending((const SSL *) tls) == 1;
}

void
tls_shutdown(Tls *tls)
{
	ERR_clear_error();
	SSL_shutdown((SSL *) tls);
}

void
tls_free(Tls *tls)
{
	SSL_free((SSL *) tls);
}
