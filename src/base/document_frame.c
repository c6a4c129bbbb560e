/*
 * document_frame.c
 *		Objects with known keys, and lists of known length, built where they stay.
 *
 * Their header, entries and keys can be written when they begin; what is put into them
 * goes behind, where it stays, and is not copied again.  Explanations, which have the
 * same keys each time, are built so.
 */
#include "postgres.h"

#include "base/document_int.h"
#include "utils/memutils.h"

#define WASTE_MOST 4 /* room of a result: so many times what it needs */

/* --- shapes -------------------------------------------------------------------------- */

static JEntry
entry_of(int index, JEntry type, Size length, Size end)
{
	if (end > JENTRY_OFFLENMASK)
		doc_raise_too_large();
	return index % JB_OFFSET_STRIDE == 0 ? type | JENTRY_HAS_OFF | (JEntry) end
										 : type | (JEntry) length;
}

int
doc_compare_keys(const char *one, const char *other)
{
	size_t length = strlen(one), other_length = strlen(other);

	if (length != other_length)
		return length < other_length ? -1 : 1;
	return memcmp(one, other, length);
}

void
doc_shape(DocShape *shape, MemoryContext context, const char *const *keys, int count)
{
	Size end = 0;

	for (int i = 0; i < count; i++)
	{
		Assert(i == 0 || doc_compare_keys(keys[i - 1], keys[i]) < 0);
		end += strlen(keys[i]);
	}
	shape->keys = MemoryContextAlloc(context, Max(end, 1));
	shape->entries = MemoryContextAlloc(context, sizeof(JEntry) * Max(count, 1));
	end = 0;
	for (int i = 0; i < count; i++)
	{
		Size length = strlen(keys[i]);

		memcpy(shape->keys + end, keys[i], length);
		end += length;
		shape->entries[i] = entry_of(i, JENTRY_ISSTRING, length, end);
	}
	shape->keys_length = (int) end;
	shape->count = count;
}

void
doc_shape_once(DocShape *shape, const char *const *keys, int count)
{
	if (unlikely(shape->entries == NULL))
		doc_shape(shape, TopMemoryContext, keys, count);
}

/* --- children ------------------------------------------------------------------------ */

static pg_attribute_always_inline JsonbContainer *
container_of(const DocBuilder *b, const DocFrame *frame)
{
	return (JsonbContainer *) (b->bytes + frame->container);
}

/* A key is there already: it must be the one that its place was made for. */
static void
check_key(const DocBuilder *b, const DocFrame *frame, const char *key)
{
#ifdef USE_ASSERT_CHECKING
	const JsonbContainer *container = container_of(b, frame);
	int members = JsonContainerSize(container);

	if (JsonContainerIsObject(container))
	{
		int i = frame->index - members;

		Assert(i >= 0 && i < members && key != NULL);
		Assert(strncmp(b->bytes + frame->data + getJsonbOffset(container, i), key,
					   getJsonbLength(container, i)) == 0);
		Assert(strlen(key) == getJsonbLength(container, i));
	}
	else
		Assert(frame->index < members);
#endif
}

/* What lies between begin and the end of all is the frame's next child. */
static pg_attribute_always_inline void
end_child(DocBuilder *b, DocFrame *frame, const char *key, JEntry type, int begin)
{
	check_key(b, frame, key);
	container_of(b, frame)->children[frame->index] =
		entry_of(frame->index, type, b->used - begin, b->used - frame->data);
	frame->index++;
}

static pg_attribute_always_inline void
align(DocBuilder *b)
{
	int gap = INTALIGN(b->used) - b->used;

	if (gap > 0)
		memset(b->bytes + doc_reserve(b, gap), 0, gap);
}

void
doc_frame_add(DocBuilder *b, const char *key, JEntry type, const void *data, Size length)
{
	DocFrame *frame = &b->frames[b->frame_count - 1];
	int begin = b->used, at;

	if (type == JENTRY_ISNUMERIC || type == JENTRY_ISCONTAINER)
		align(b);
	at = doc_reserve(b, length);
	if (length > 0)
		memcpy(b->bytes + at, data, length);
	end_child(b, frame, key, type, begin);
}

void
doc_frame_take(DocBuilder *b, const char *key, int begin, int at, int length)
{
	b->used = begin;
	align(b);
	Assert(b->used <= at);
	memmove(b->bytes + b->used, b->bytes + at, length);
	b->used += length;
	end_child(b, &b->frames[b->frame_count - 1], key, JENTRY_ISCONTAINER, begin);
}

/* --- frames -------------------------------------------------------------------------- */

/* Room for the header and entries, at a multiple of four bytes. */
static DocFrame *
begin_frame(DocBuilder *b, const char *key, uint32 header, int entries)
{
	DocFrame *frame;
	bool is_root = b->frame_count == 0 && b->open < 0;

	if (b->frame_count == DOC_FRAMES_MOST)
		elog(ERROR, "more than %d frames of a document are open", DOC_FRAMES_MOST);
	frame = &b->frames[b->frame_count];
	frame->key = key;
	frame->begin = b->used;
	if (is_root)
		(void) doc_reserve(b, VARHDRSZ);
	else
		align(b);
	frame->container = doc_reserve(b, sizeof(uint32) + sizeof(JEntry) * (Size) entries);
	frame->data = b->used;
	frame->index = 0;
	frame->open = b->open;
	container_of(b, frame)->header = header;
	b->frame_count++;
	return frame;
}

/* It is the result itself, unless it would keep much more memory than it needs. */
static void
end_root(DocBuilder *b)
{
	b->result = (Jsonb *) b->bytes;
	SET_VARSIZE(b->result, b->used);
	if (b->room / WASTE_MOST <= b->used)
		return;
	b->result = palloc(b->used);
	memcpy(b->result, b->bytes, b->used);
}

static void
end_frame(DocBuilder *b)
{
	DocFrame *frame = &b->frames[b->frame_count - 1];
	DocItem *item;

	Assert(frame->open == b->open);
	b->frame_count--;
	if (doc_in_frame(b))
		end_child(b, frame - 1, frame->key, JENTRY_ISCONTAINER, frame->begin);
	else if (b->open >= 0)
	{
		item = doc_add_item(b, frame->key, JENTRY_ISCONTAINER);
		item->at = frame->container;
		item->length = b->used - frame->container;
	}
	else
		end_root(b);
}

void
doc_begin_shaped(DocBuilder *b, const char *key, const DocShape *shape)
{
	int count = shape->count;
	DocFrame *frame = begin_frame(b, key, count | JB_FOBJECT, 2 * count);
	int at = doc_reserve(b, shape->keys_length);

	memcpy(container_of(b, frame)->children, shape->entries, sizeof(JEntry) * count);
	memcpy(b->bytes + at, shape->keys, shape->keys_length);
	frame->index = count;
}

void
doc_end_shaped(DocBuilder *b)
{
	Assert(b->frames[b->frame_count - 1].index ==
		   2 * JsonContainerSize(container_of(b, &b->frames[b->frame_count - 1])));
	end_frame(b);
}

void
doc_begin_list(DocBuilder *b, const char *key, int count)
{
	(void) begin_frame(b, key, count | JB_FARRAY, count);
}

void
doc_end_list(DocBuilder *b)
{
	Assert(b->frames[b->frame_count - 1].index ==
		   JsonContainerSize(container_of(b, &b->frames[b->frame_count - 1])));
	end_frame(b);
}

/* --- texts in pieces, and objects of texts --------------------------------------------- */

void
doc_begin_text(DocBuilder *b)
{
	Assert(doc_in_frame(b));
	b->text_begin = b->used;
}

void
doc_append_text(DocBuilder *b, DocText piece)
{
	int at = doc_reserve(b, piece.length);

	memcpy(b->bytes + at, piece.data, piece.length);
}

void
doc_end_text(DocBuilder *b, const char *key)
{
	end_child(b, &b->frames[b->frame_count - 1], key, JENTRY_ISSTRING, b->text_begin);
}

void
doc_put_texts(DocBuilder *b, const char *key, const DocShape *shape, const DocText *texts)
{
	int count = shape->count, begin = b->used, end = shape->keys_length, at;
	Size size = sizeof(uint32) + 2 * sizeof(JEntry) * (Size) count + end;
	JsonbContainer *target;
	char *data;

	Assert(doc_in_frame(b));
	for (int i = 0; i < count; i++)
		size += texts[i].length;
	align(b);
	at = doc_reserve(b, size);
	target = (JsonbContainer *) (b->bytes + at);
	target->header = count | JB_FOBJECT;
	memcpy(target->children, shape->entries, sizeof(JEntry) * count);
	data = (char *) &target->children[2 * count];
	memcpy(data, shape->keys, end);
	for (int i = 0; i < count; i++)
	{
		memcpy(data + end, texts[i].data, texts[i].length);
		end += texts[i].length;
		target->children[count + i] =
			entry_of(count + i, JENTRY_ISSTRING, texts[i].length, end);
	}
	end_child(b, &b->frames[b->frame_count - 1], key, JENTRY_ISCONTAINER, begin);
}
