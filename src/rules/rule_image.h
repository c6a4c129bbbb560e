/*
 * rule_image.h
 *		A version's tests and index as bytes that lie beside it, so that a backend which
 *		first meets it neither parses conditions nor sorts bounds.
 */
#ifndef FACTORY_RULE_IMAGE_H
#define FACTORY_RULE_IMAGE_H

#include "lib/stringinfo.h"
#include "rules/rules_int.h"

/* With fewer rules, compiling is as fast as reading an image. */
#define RULE_IMAGE_LEAST_RULES 16

/* Its image, or NULL of one that has none: it is compiled at its first use. */
extern bytea *rule_image_make(const Decision *decision, const char *definition_hash);

/*
 * Fills tests, index and what is known of the rules, which are read when they are
 * asked for: false where it is damaged, of other software, or of another definition.
 * The image must live as long as the decision.
 */
extern bool rule_image_fits(const bytea *image, const char *definition_hash,
							int rule_count);
extern bool rule_image_load(Decision *decision, const bytea *image);

/* --- reading and writing: every item begins at a multiple of eight ------------------- */

typedef struct ImageReader
{
	const char *at;
	const char *end;
	bool failed;
} ImageReader;

/* Bytes of the image itself; NULL, and failed, where there are not so many. */
extern const void *image_take(ImageReader *reader, Size size);
extern int image_take_int(ImageReader *reader, int least, int most);
extern void image_put(StringInfo image, const void *data, Size size);
extern void image_put_int(StringInfo image, int value);

#endif /* FACTORY_RULE_IMAGE_H */
