/*
 * gather.h
 *		What libpq writes, gathered, so that many calls go out in one write.
 */
#ifndef FACTORYD_GATHER_H
#define FACTORYD_GATHER_H

#include "buffer.h"

/* From here to gather_end() what this thread sends on a socket goes to the buffer. */
extern void gather_begin(Buffer *gathered);
extern void gather_end(void);

/* Writes what the socket takes now: 0 where that was all, 1 where not, -1 on failure. */
extern int gather_write(Buffer *gathered, int fd);

#endif /* FACTORYD_GATHER_H */
