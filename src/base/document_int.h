/*
 * document_int.h
 *		What the two ways of building documents share.
 */
#ifndef FACTORY_DOCUMENT_INT_H
#define FACTORY_DOCUMENT_INT_H

#include "base/document.h"

/* What was put into an object or a list that has not ended, or such a one itself. */
typedef struct DocItem
{
	const char *key; /* NULL in a list */
	int key_length;
	int order; /* in which they were put */
	JEntry type;
	int at;
	int length;
} DocItem;

extern void doc_raise_too_large(void) __attribute__((noreturn));

/* Makes room for so many bytes in all. */
extern void doc_grow(DocBuilder *b, Size room);

/* Room for so many bytes more; returns where they begin. */
static inline int
doc_reserve(DocBuilder *b, Size length)
{
	int begin = b->used;

	if (unlikely((Size) begin + length > (Size) b->room))
		doc_grow(b, (Size) begin + length);
	b->used = (int) (begin + length);
	return begin;
}

extern DocItem *doc_add_item(DocBuilder *b, const char *key, JEntry type);

/* Is a frame the innermost object or list? */
static inline bool
doc_in_frame(const DocBuilder *b)
{
	return b->frame_count > 0 && b->frames[b->frame_count - 1].open == b->open;
}

/* The frame's next child. */
extern void doc_frame_add(DocBuilder *b, const char *key, JEntry type, const void *data,
						  Size length);

/* The same of a container that was built behind the frame's end, which was at begin. */
extern void doc_frame_take(DocBuilder *b, const char *key, int begin, int at, int length);

#endif /* FACTORY_DOCUMENT_INT_H */
