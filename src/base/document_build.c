/*
 * document_build.c
 *		Building jsonb documents, straight in the form in which they are stored.
 *
 * The server's own way keeps a tree of values, a list cell and an allocation each, and
 * writes them in a second pass.  Here what was put so far lies in one run of bytes, and
 * a list of items says what is where.  Where an object or a list ends, its items are
 * written one after another as they are stored, and stand for one item of what is
 * around it.
 *
 * As it is stored, a container is a header, an entry a child, and the children.  An
 * entry has the child's length, the gap before it included, or, every JB_OFFSET_STRIDE
 * children, where it ends.  Numbers and containers begin at a multiple of four bytes.
 * An object has all its keys, the shorter before the longer, and then their values.
 * Where it is known before how many they are, and which: document_frame.c.
 */
#include "postgres.h"

#include <math.h>

#include "base/document_int.h"
#include "base/number.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#define FIRST_BYTES 2048
#define FIRST_ITEMS 32
#define FEW_KEYS 16 /* are sorted by insertion */

void
doc_build(DocBuilder *b)
{
	memset(b, 0, offsetof(DocBuilder, frames));
	b->open = -1;
}

/* --- bytes and items --------------------------------------------------------------- */

void
doc_raise_too_large(void)
{
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("total size of jsonb elements exceeds the maximum of %u bytes",
						   JENTRY_OFFLENMASK)));
}

void
doc_grow(DocBuilder *b, Size room)
{
	if (room > MaxAllocSize / 2)
		doc_raise_too_large();
	b->room = (int) Min(Max((Size) b->room * 2, Max(room, FIRST_BYTES)), MaxAllocSize);
	b->bytes = b->bytes ? repalloc(b->bytes, b->room) : palloc(b->room);
}

/* Room for so many bytes more, at a multiple of four; returns where they begin. */
static int
reserve(DocBuilder *b, Size length)
{
	b->used = INTALIGN(b->used);
	return doc_reserve(b, length);
}

static int
keep(DocBuilder *b, const void *data, Size length)
{
	int at = reserve(b, length);

	/* An empty text may come before there are any bytes. */
	if (length > 0)
		memcpy(b->bytes + at, data, length);
	return at;
}

DocItem *
doc_add_item(DocBuilder *b, const char *key, JEntry type)
{
	DocItem *item;

	if (b->item_count == b->item_room)
	{
		b->item_room = Max(b->item_room * 2, FIRST_ITEMS);
		b->items = b->items ? repalloc(b->items, sizeof(DocItem) * b->item_room)
							: palloc(sizeof(DocItem) * b->item_room);
	}
	item = &b->items[b->item_count];
	item->order = b->item_count++;
	item->type = type;
	item->at = item->length = 0;
	item->key = key;
	item->key_length = key ? (int) strlen(key) : 0;
	return item;
}

static void
add_data(DocBuilder *b, const char *key, JEntry type, const void *data, Size length)
{
	DocItem *item;

	if (length > JENTRY_OFFLENMASK)
		doc_raise_too_large();
	if (doc_in_frame(b))
	{
		doc_frame_add(b, key, type, data, length);
		return;
	}
	item = doc_add_item(b, key, type);
	item->length = (int) length;
	item->at = keep(b, data, length);
}

/* --- containers ------------------------------------------------------------------------ */

/* The order in which an object has its keys. */
static int
compare_items(const DocItem *one, const DocItem *other)
{
	if (one->key_length != other->key_length)
		return one->key_length - other->key_length;
	return memcmp(one->key, other->key, one->key_length);
}

/* Of two with one key the later, which was put later, comes first. */
static int
item_order(const void *one, const void *other)
{
	int order = compare_items(one, other);

	return order != 0 ? order
					  : ((const DocItem *) other)->order - ((const DocItem *) one)->order;
}

static void
insertion_sort(DocItem *items, int count)
{
	for (int i = 1; i < count; i++)
	{
		DocItem item = items[i];
		int j = i;

		for (; j > 0 && compare_items(&item, &items[j - 1]) <= 0; j--)
			items[j] = items[j - 1];
		items[j] = item;
	}
}

/* Sorted by key; of those with one key the one that was put last stays. */
static int
sort_items(DocItem *items, int count)
{
	int kept = 0;

	if (count <= FEW_KEYS)
		insertion_sort(items, count);
	else
		qsort(items, count, sizeof(DocItem), item_order);
	for (int i = 0; i < count; i++)
		if (kept == 0 || compare_items(&items[kept - 1], &items[i]) != 0)
			items[kept++] = items[i];
	return kept;
}

/* Where the next child is written, and what its entry is to say. */
typedef struct Writer
{
	JEntry *entry;
	char *data;
	Size end; /* in data */
	int index;
} Writer;

static void
write_entry(Writer *to, JEntry type, Size begin)
{
	JEntry length = (JEntry) (to->end - begin);

	if (to->end > JENTRY_OFFLENMASK)
		doc_raise_too_large();
	if (to->index % JB_OFFSET_STRIDE == 0)
		to->entry[to->index] = type | JENTRY_HAS_OFF | (JEntry) to->end;
	else
		to->entry[to->index] = type | length;
	to->index++;
}

static void
write_child(Writer *to, JEntry type, const char *data, int length, bool aligned)
{
	Size begin = to->end;

	if (aligned)
		for (; to->end < INTALIGN(to->end); to->end++)
			to->data[to->end] = '\0';
	/* Where there are but truths and nulls, there are no bytes to copy from. */
	if (length > 0)
		memcpy(to->data + to->end, data, length);
	to->end += length;
	write_entry(to, type, begin);
}

static bool
is_aligned(JEntry type)
{
	return type == JENTRY_ISNUMERIC || type == JENTRY_ISCONTAINER;
}

/* No more than that, and less where gaps are shorter. */
static Size
most_size(const DocItem *items, int count, bool is_object)
{
	Size size = sizeof(uint32) + sizeof(JEntry) * (Size) count * (is_object ? 2 : 1);

	for (int i = 0; i < count; i++)
		size += items[i].key_length + items[i].length + sizeof(uint32);
	return size;
}

static Size
write_container(const DocBuilder *b, const DocItem *items, int count, bool is_object,
				JsonbContainer *target)
{
	Writer to = {target->children, NULL, 0, 0};

	target->header = count | (is_object ? JB_FOBJECT : JB_FARRAY);
	to.data = (char *) &target->children[count * (is_object ? 2 : 1)];
	for (int i = 0; is_object && i < count; i++)
		write_child(&to, JENTRY_ISSTRING, items[i].key, items[i].key_length, false);
	for (int i = 0; i < count; i++)
		write_child(&to, items[i].type, b->bytes + items[i].at, items[i].length,
					is_aligned(items[i].type));
	return to.data + to.end - (char *) target;
}

/* One within another: its item is what is open, until it ends. */
static void
begin_container(DocBuilder *b, const char *key)
{
	DocItem *item = doc_add_item(b, key, JENTRY_ISCONTAINER);

	/* Until it ends: what is around it, and where its bytes begin. */
	item->at = b->open;
	item->length = b->used;
	b->open = b->item_count - 1;
}

static void
end_root(DocBuilder *b, const DocItem *items, int count, bool is_object)
{
	Jsonb *result = palloc(VARHDRSZ + most_size(items, count, is_object));
	Size size = write_container(b, items, count, is_object, &result->root);

	SET_VARSIZE(result, VARHDRSZ + size);
	b->result = result;
}

static void
end_container(DocBuilder *b, bool is_object)
{
	DocItem *item = &b->items[b->open];
	DocItem *members = item + 1;
	int count = b->item_count - b->open - 1;
	int around = item->at, begin = item->length;

	if (is_object)
		count = sort_items(members, count);
	if (around < 0 && b->frame_count == 0)
		end_root(b, members, count, is_object);
	else
	{
		Size most = most_size(members, count, is_object);
		int at = reserve(b, most);

		item->at = at;
		item->length = (int) write_container(b, members, count, is_object,
											 (JsonbContainer *) (b->bytes + at));
		b->used = at + item->length;
	}
	b->item_count = b->open + 1;
	b->open = around;
	if (doc_in_frame(b))
	{
		b->item_count--;
		doc_frame_take(b, item->key, begin, item->at, item->length);
	}
}

void
doc_begin_object(DocBuilder *b, const char *key)
{
	begin_container(b, key);
}

void
doc_end_object(DocBuilder *b)
{
	end_container(b, true);
}

void
doc_begin_array(DocBuilder *b, const char *key)
{
	begin_container(b, key);
}

void
doc_end_array(DocBuilder *b)
{
	end_container(b, false);
}

Jsonb *
doc_finish(DocBuilder *b)
{
	Assert(b->open < 0 && b->frame_count == 0 && b->result != NULL);
	if (b->items != NULL)
		pfree(b->items);
	b->items = NULL;
	if (b->bytes != NULL && b->bytes != (char *) b->result)
		pfree(b->bytes);
	return b->result;
}

/* --- values --------------------------------------------------------------------------- */

void
doc_put_null(DocBuilder *b, const char *key)
{
	add_data(b, key, JENTRY_ISNULL, NULL, 0);
}

void
doc_put_bool(DocBuilder *b, const char *key, bool truth)
{
	add_data(b, key, truth ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE, NULL, 0);
}

void
doc_put_text(DocBuilder *b, const char *key, const char *data, int length)
{
	add_data(b, key, JENTRY_ISSTRING, data, length);
}

void
doc_put_string(DocBuilder *b, const char *key, const char *text)
{
	if (text == NULL)
		doc_put_null(b, key);
	else
		add_data(b, key, JENTRY_ISSTRING, text, strlen(text));
}

static void
put_numeric(DocBuilder *b, const char *key, Numeric number)
{
	add_data(b, key, JENTRY_ISNUMERIC, number, VARSIZE_ANY(number));
}

void
doc_put_decimal(DocBuilder *b, const char *key, int64 number, int digits)
{
	int32 stored[NUMBER_STORED_ROOM / sizeof(int32)];

	add_data(b, key, JENTRY_ISNUMERIC, stored, number_store(number, digits, stored));
}

void
doc_put_int(DocBuilder *b, const char *key, int64 number)
{
	doc_put_decimal(b, key, number, 0);
}

void
doc_put_number(DocBuilder *b, const char *key, double number)
{
	int64 whole;
	int decimals;

	if (isnan(number) || isinf(number))
		doc_put_null(b, key);
	else if (number_to_decimal(number, &whole, &decimals))
		doc_put_decimal(b, key, whole, decimals);
	else
		put_numeric(b, key, number_from_double(number));
}

static void
put_container(DocBuilder *b, const char *key, const JsonbContainer *data, Size length)
{
	add_data(b, key, JENTRY_ISCONTAINER, data, length);
}

void
doc_put_doc(DocBuilder *b, const char *key, Jsonb *doc)
{
	JsonbValue value;

	if (doc == NULL)
		doc_put_null(b, key);
	else if (JB_ROOT_IS_SCALAR(doc))
	{
		JsonbExtractScalar(&doc->root, &value);
		doc_put_value(b, key, &value);
	}
	else
		put_container(b, key, &doc->root, VARSIZE(doc) - VARHDRSZ);
}

void
doc_put_value(DocBuilder *b, const char *key, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			doc_put_null(b, key);
			break;
		case jbvBool:
			doc_put_bool(b, key, value->val.boolean);
			break;
		case jbvString:
			doc_put_text(b, key, value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			put_numeric(b, key, value->val.numeric);
			break;
		case jbvBinary:
			put_container(b, key, value->val.binary.data, value->val.binary.len);
			break;
		default:
			doc_put_doc(b, key, doc_from_value(value));
			break;
	}
}
