/*
 * document.h
 *		Reading and building JSON documents (jsonb) without ceremony.
 *
 * Values returned by the readers point into the document they came from, or are
 * palloc'd in the current memory context; nothing needs to be freed by hand.
 */
#ifndef FACTORY_DOCUMENT_H
#define FACTORY_DOCUMENT_H

#include "base/compat.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* --- reading --------------------------------------------------------------- */

/* The value under a key of an object; NULL where absent or doc is no object. */
extern JsonbValue *doc_get(Jsonb *doc, const char *key);

/* The same, as a document of its own (objects, arrays and scalars alike). */
extern Jsonb *doc_get_doc(Jsonb *doc, const char *key);

/* A string's text; NULL where absent or not a string. */
extern char *doc_get_string(Jsonb *doc, const char *key);

/* A number or boolean, or the given value where absent or of another type. */
extern double doc_get_number(Jsonb *doc, const char *key, double otherwise);
extern bool doc_get_bool(Jsonb *doc, const char *key, bool otherwise);

/* Any value as people read it: strings bare, the rest as JSON; NULL for null. */
extern char *doc_value_text(const JsonbValue *value);

/* A number as double; the value must be jbvNumeric. */
extern double doc_value_number(const JsonbValue *value);

/* "object", "array", "string", "number", "boolean" or "null". */
extern const char *doc_value_kind(const JsonbValue *value);
extern const char *doc_kind(Jsonb *doc);

/* Any value as a document. */
extern Jsonb *doc_from_value(const JsonbValue *value);

/* The members of an array (List of JsonbValue *), or NIL where it is none. */
extern List *doc_elements(Jsonb *doc);

/* The keys of an object in stored order (List of char *), or NIL. */
extern List *doc_keys(Jsonb *doc);

/* Whether more than so many objects and lists are in one another. */
extern bool doc_is_deeper_than(Jsonb *doc, int levels);

/* The whole document as JSON text. */
extern char *doc_to_text(Jsonb *doc);

/* --- parsing text ------------------------------------------------------------ */

/*
 * Text of unknown origin (an answer from outside, in UTF-8) as a document, or
 * NULL with the reason in *why.  Raises nothing but out of memory and cancel.
 */
extern Jsonb *doc_parse(const char *text, int length, char **why);

/* Valid UTF-8 that is plain JSON, as most is; NULL says nothing of it but that. */
extern Jsonb *doc_parse_plain(const char *text, int length);

/* Text that we wrote ourselves: raises where it is no JSON. */
extern Jsonb *doc_parse_trusted(const char *text);

/* --- a few values of a text ----------------------------------------------------- */

typedef enum DocPickKind
{
	DOC_PICK_NONE, /* there is no such value */
	DOC_PICK_NULL,
	DOC_PICK_BOOL,
	DOC_PICK_NUMBER,
	DOC_PICK_STRING,
	DOC_PICK_CONTAINER
} DocPickKind;

/* As a step of a path: the first element of a list; no plain key is like it. */
#define DOC_PICK_FIRST "\001"

typedef struct DocPick
{
	const char *const *path; /* keys from the outside in, then NULL */
	DocPickKind kind;
	char *text; /* of a string */
	int length;
	int64 number; /* of a number: this / 10^decimals */
	int decimals;
} DocPick;

/*
 * Fills in what is at each pick's path; true where the text is valid UTF-8 and plain
 * JSON, as most is.  False says nothing of the text but that it must be parsed.
 */
extern bool doc_pick(const char *text, int length, DocPick *picks, int count);

/* --- building ---------------------------------------------------------------- */

/* An object or a list that is built where it stays. */
typedef struct DocFrame
{
	const char *key; /* in what is around it */
	int begin;       /* where the bytes around it ended */
	int container;
	int data;  /* where its children's bytes begin */
	int index; /* of its next child */
	int open;  /* the builder's when it began */
} DocFrame;

#define DOC_FRAMES_MOST 8

typedef struct DocBuilder
{
	char *bytes; /* keys, values, and what is done of objects and lists */
	int used;
	int room;
	struct DocItem *items; /* what was put and is not yet part of something done */
	int item_count;
	int item_room;
	int open; /* the item that is the innermost object or list, or -1 */
	int frame_count;
	int text_begin;
	Jsonb *result;
	DocFrame frames[DOC_FRAMES_MOST]; /* those that are open, each in the one before */
} DocBuilder;

/*
 * doc_begin_object(&b); doc_put_string(&b, "k", "v"); ... doc_end_object(&b);
 * doc_finish(&b).  Inside an array the key is NULL.  A NULL string, document or
 * a NaN is written as JSON null.  A key is read when its object ends.
 */
extern void doc_build(DocBuilder *b);
extern void doc_begin_object(DocBuilder *b, const char *key);
extern void doc_end_object(DocBuilder *b);
extern void doc_begin_array(DocBuilder *b, const char *key);
extern void doc_end_array(DocBuilder *b);
extern void doc_put_string(DocBuilder *b, const char *key, const char *value);
extern void doc_put_text(DocBuilder *b, const char *key, const char *data, int length);
extern void doc_put_int(DocBuilder *b, const char *key, int64 value);
extern void doc_put_number(DocBuilder *b, const char *key, double value);
/* value / 10^digits, without the detour by text that floats take. */
extern void doc_put_decimal(DocBuilder *b, const char *key, int64 value, int digits);
extern void doc_put_bool(DocBuilder *b, const char *key, bool value);
extern void doc_put_null(DocBuilder *b, const char *key);
extern void doc_put_doc(DocBuilder *b, const char *key, Jsonb *value);
extern void doc_put_value(DocBuilder *b, const char *key, const JsonbValue *value);
extern Jsonb *doc_finish(DocBuilder *b);

typedef struct DocText
{
	const char *data;
	int length;
} DocText;

/*
 * Where it is known before which keys an object has, in the order in which they are
 * stored (the shorter first), or how many members a list: these must be put in that
 * order, all of them, and are not copied again.
 */
typedef struct DocShape
{
	int count;
	int keys_length;
	JEntry *entries; /* NULL: not made yet */
	char *keys;
} DocShape;

/* That order. */
extern int doc_compare_keys(const char *one, const char *other);

extern void doc_shape(DocShape *shape, MemoryContext context, const char *const *keys,
					  int count);
/* For good, unless it was. */
extern void doc_shape_once(DocShape *shape, const char *const *keys, int count);

extern void doc_begin_shaped(DocBuilder *b, const char *key, const DocShape *shape);
extern void doc_end_shaped(DocBuilder *b);
extern void doc_begin_list(DocBuilder *b, const char *key, int count);
extern void doc_end_list(DocBuilder *b);

/* A text in pieces, in one of the two. */
extern void doc_begin_text(DocBuilder *b);
extern void doc_append_text(DocBuilder *b, DocText piece);
extern void doc_end_text(DocBuilder *b, const char *key);

/* In one of the two: an object of texts. */
extern void doc_put_texts(DocBuilder *b, const char *key, const DocShape *shape,
						  const DocText *texts);

#endif /* FACTORY_DOCUMENT_H */
