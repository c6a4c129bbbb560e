/*
 * arena.c
 *		Memory that is freed all at once.
 */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

#define BLOCK_SIZE 4096
#define ALIGNMENT 16

typedef struct ArenaBlock
{
	struct ArenaBlock *next;
	size_t used;
	size_t size;
	_Alignas(ALIGNMENT) char bytes[];
} ArenaBlock;

void *
arena_new(Arena *arena, size_t size)
{
	ArenaBlock *block = arena->blocks;
	void *place;

	size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (block == NULL || block->size - block->used < size)
	{
		size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;

		block = memory_new(sizeof(ArenaBlock) + room);
		block->size = room;
		block->next = arena->blocks;
		arena->blocks = block;
	}
	place = block->bytes + block->used;
	block->used += size;
	return place;
}

char *
arena_copy(Arena *arena, const char *text, size_t length)
{
	char *copy = arena_new(arena, length + 1);

	memcpy(copy, text, length);
	return copy;
}

void
arena_free(Arena *arena)
{
	while (arena->blocks)
	{
		ArenaBlock *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
}
