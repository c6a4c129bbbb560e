/*
 * rule_image.c
 *		A version's tests and index as bytes that lie beside it.
 *
 * Compiling a thousand conditions takes a backend a hundred milliseconds; what they
 * come to for the index is the same each time.  So it is written down when a version
 * is saved, in factory.rule_index, and a backend that meets the version reads that;
 * single rules are read out of the definition when they match, or must be evaluated.
 *
 * An image is only made where it can be trusted later: of conditions that call no
 * function of users', over built-in types.  It says what it was made of (software,
 * machine, definition and, where constants are times, the settings they were read
 * with) and has a checksum; if anything is otherwise, the version is compiled as if
 * there were none.  Images are not dumped: they are of one installation.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "port/pg_crc32c.h"
#include "rules/rule_image.h"
#include "rules/rule_index.h"
#include "rules/rule_test.h"
#include "utils/formatting.h"
#include "utils/guc.h"

#define IMAGE_MAGIC 0x70667269 /* also tells the order of bytes */
#define IMAGE_FORMAT 1
#define HASH_LENGTH 64 /* of a definition's hash, in hex */

typedef struct ImageHeader
{
	uint32 magic;
	uint32 format;
	uint32 server; /* major version */
	uint32 size;   /* of what follows */
	pg_crc32c checksum;
	uint32 settings; /* that times were read with; 0: there are none; odd: with zones */
	int32 rule_count;
	int32 input_count;
	bool uses_time;
	bool is_mutable;
	bool parallel_unsafe;
	bool spare[5];
	char definition_hash[HASH_LENGTH];
} ImageHeader;

/* --- reading and writing ------------------------------------------------------------ */

const void *
image_take(ImageReader *reader, Size size)
{
	const char *taken = reader->at;
	Size room = reader->end - reader->at;

	if (reader->failed || size > room || MAXALIGN(size) > room)
	{
		reader->failed = true;
		return NULL;
	}
	reader->at += MAXALIGN(size);
	return taken;
}

int
image_take_int(ImageReader *reader, int least, int most)
{
	const int64 *value = image_take(reader, sizeof(int64));

	if (value != NULL && *value >= least && *value <= most)
		return (int) *value;
	reader->failed = true;
	return least;
}

void
image_put(StringInfo image, const void *data, Size size)
{
	static const char zeros[MAXIMUM_ALIGNOF];

	if (size > 0)
		appendBinaryStringInfo(image, data, size);
	appendBinaryStringInfo(image, zeros, MAXALIGN(size) - size);
}

void
image_put_int(StringInfo image, int value)
{
	int64 wide = value;

	image_put(image, &wide, sizeof(wide));
}

/* --- what an image may be made of ----------------------------------------------------- */

static bool
is_time(Oid type)
{
	return type == DATEOID || type == TIMEOID || type == TIMESTAMPOID ||
		   type == TIMESTAMPTZOID || type == INTERVALOID;
}

/* Texts in the order of a collation: it can change with the system's libraries. */
static bool
is_settled(const TestColumn *column)
{
	bool is_text = column->type == TEXTOID || column->type == VARCHAROID ||
				   column->type == BPCHAROID;

	return column->type < FirstGenbkiObjectId &&
		   column->collation < FirstNormalObjectId &&
		   !(column->form == KEY_ORDINAL && is_text);
}

static bool
has_times(const TestSet *set)
{
	for (int i = 0; i < set->column_count; i++)
		if (is_time(set->columns[i].type))
			return true;
	return false;
}

/* 'today' and its like are constants of the day on which they are read. */
static bool
speaks_of_today(const Decision *decision)
{
	static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};

	for (int i = 0; i < decision->rule_count; i++)
	{
		const char *text = asc_tolower(decision->rules[i].when.text,
									   strlen(decision->rules[i].when.text));

		for (int j = 0; j < lengthof(words); j++)
			if (strstr(text, words[j]) != NULL)
				return true;
	}
	return false;
}

static bool
may_have_image(const Decision *decision)
{
	const TestSet *set = rule_index_tests(decision);

	if (decision->rule_count < RULE_IMAGE_LEAST_RULES || decision->needs_search_path ||
		decision->prompt_user != NULL)
		return false;
	for (int i = 0; i < set->column_count; i++)
		if (!is_settled(&set->columns[i]))
			return false;
	return !has_times(set) || !speaks_of_today(decision);
}

/* Only times with a zone depend on the session's. */
static uint32
settings_hash(bool zoned)
{
	static const char *const names[] = {"DateStyle", "IntervalStyle", "TimeZone"};
	uint32 hash = 0;

	for (int i = 0; i < lengthof(names) - !zoned; i++)
	{
		const char *value = GetConfigOption(names[i], false, false);

		hash = hash_combine(hash, DatumGetUInt32(hash_any((const unsigned char *) value,
														  strlen(value))));
	}
	return (hash & ~UINT32_C(1)) | (zoned ? 1 : 0) | 2;
}

static uint32
settings_read_with(const TestSet *set)
{
	bool zoned = false;

	for (int i = 0; i < set->column_count; i++)
		zoned |= set->columns[i].type == TIMESTAMPTZOID;
	return has_times(set) ? settings_hash(zoned) : 0;
}

static pg_crc32c
checksum_of(const char *bytes, Size size)
{
	pg_crc32c checksum;

	INIT_CRC32C(checksum);
	COMP_CRC32C(checksum, bytes, size);
	FIN_CRC32C(checksum);
	return checksum;
}

/* --- the whole -------------------------------------------------------------------------- */

bytea *
rule_image_make(const Decision *decision, const char *definition_hash)
{
	const TestSet *set = rule_index_tests(decision);
	ImageHeader header = {.magic = IMAGE_MAGIC,
						  .format = IMAGE_FORMAT,
						  .server = COMPAT_SERVER_MAJOR,
						  .rule_count = decision->rule_count,
						  .input_count = decision->input_count,
						  .uses_time = decision->uses_time,
						  .is_mutable = decision->is_mutable,
						  .parallel_unsafe = decision->parallel_unsafe};
	StringInfoData image;
	Size begin = MAXALIGN(VARHDRSZ);
	char *bytes;

	if (!may_have_image(decision) || strlen(definition_hash) != HASH_LENGTH)
		return NULL;
	memcpy(header.definition_hash, definition_hash, HASH_LENGTH);
	header.settings = settings_read_with(set);
	initStringInfo(&image);
	/* The items shall be aligned in memory, where the length of the bytea is before. */
	image_put_int(&image, 0);
	image_put(&image, &header, sizeof(header));
	test_set_write(set, decision->rule_count, &image);
	rule_index_write(decision, &image);
	bytes = image.data + begin + MAXALIGN(sizeof(header));
	header.size = image.len - (bytes - image.data);
	header.checksum = checksum_of(bytes, header.size);
	memcpy(image.data + begin, &header, sizeof(header));
	SET_VARSIZE(image.data, image.len);
	return (bytea *) image.data;
}

bool
rule_image_fits(const bytea *image, const char *definition_hash, int rule_count)
{
	Size begin = MAXALIGN(VARHDRSZ) + MAXALIGN(sizeof(ImageHeader));
	const ImageHeader *header =
		(const ImageHeader *) ((const char *) image + MAXALIGN(VARHDRSZ));

	return VARSIZE(image) >= begin && header->magic == IMAGE_MAGIC &&
		   header->format == IMAGE_FORMAT && header->server == COMPAT_SERVER_MAJOR &&
		   header->size == VARSIZE(image) - begin && header->rule_count == rule_count &&
		   strncmp(header->definition_hash, definition_hash, HASH_LENGTH) == 0 &&
		   (header->settings == 0 ||
			header->settings == settings_hash((header->settings & 1) != 0)) &&
		   header->checksum == checksum_of((const char *) image + begin, header->size);
}

bool
rule_image_load(Decision *decision, const bytea *image)
{
	const ImageHeader *header =
		(const ImageHeader *) ((const char *) image + MAXALIGN(VARHDRSZ));
	ImageReader reader = {(const char *) header + MAXALIGN(sizeof(ImageHeader)),
						  (const char *) image + VARSIZE(image), false};

	if (header->rule_count != decision->rule_count ||
		header->input_count != decision->input_count)
		return false;
	decision->uses_time |= header->uses_time;
	decision->is_mutable |= header->is_mutable;
	decision->parallel_unsafe |= header->parallel_unsafe;
	return rule_index_restore(decision, &reader);
}
