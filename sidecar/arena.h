/*
 * arena.h
 *		Memory that is freed all at once.
 */
#ifndef FACTORYD_ARENA_H
#define FACTORYD_ARENA_H

#include <stddef.h>

typedef struct Arena
{
	struct ArenaBlock *blocks;
} Arena;

extern void *arena_new(Arena *arena, size_t size); /* zeroed */
extern char *arena_copy(Arena *arena, const char *text, size_t length);
extern void arena_free(Arena *arena);

#endif /* FACTORYD_ARENA_H */
