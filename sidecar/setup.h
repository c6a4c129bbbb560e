/*
 * setup.h
 *		What is in force: settings, keys and certificate, read together.
 *
 * A setup never changes.  SIGHUP makes another; each loop holds the one it works by.
 */
#ifndef FACTORYD_SETUP_H
#define FACTORYD_SETUP_H

#include "config.h"
#include "jwt.h"
#include "rate.h"
#include "tls.h"

typedef struct Setup
{
	Config config;
	RateLimits *rates;
	JwtKeys *keys;
	TlsContext *tls; /* NULL where clients speak plainly */
	int holders;     /* atomic */
} Setup;

/*
 * Reads the file (NULL for none), the environment and what they name.  running is what
 * is in force, or NULL at the start: what cannot change stays as it is there.  NULL
 * where something is not good; the log then says what.  Held by the caller.
 */
extern Setup *setup_load(const char *path, const Setup *running, int loops);

extern const Setup *setup_hold(const Setup *setup);
extern void setup_release(const Setup *setup); /* NULL is none */

#endif /* FACTORYD_SETUP_H */
