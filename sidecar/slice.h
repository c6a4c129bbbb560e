/*
 * slice.h
 *		How long the kernel lets a loop run before others' turn.
 */
#ifndef FACTORYD_SLICE_H
#define FACTORYD_SLICE_H

/* For the calling thread.  Where the kernel has no such thing, nothing changes. */
extern void slice_ask_short(void);

#endif /* FACTORYD_SLICE_H */
