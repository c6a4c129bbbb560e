/*
 * definition.h
 *		Between the files that read a definition, the document.
 *
 * Every part is read by one function that reports what it does not like and goes on, so
 * that an author sees all mistakes at once.  What stays lives in the decision's memory.
 */
#ifndef FACTORY_DEFINITION_H
#define FACTORY_DEFINITION_H

#include "rules/rules_int.h"

typedef struct Reader
{
	Decision *decision;
	Problems *problems;
	const char *rule; /* id of the rule being read, or NULL */
	bool lazily;      /* rules are read when they are asked for */
} Reader;

/* The name of the hidden column with the judgment's time: no input can have it. */
#define TIME_COLUMN " time"

#define PATH(...) psprintf(__VA_ARGS__)

extern void reader_report(Reader *reader, char *path, char *message, char *hint);

/* --- definition_keys.c: a value by its key; the usual one where it is not as it should be --- */

extern void reader_check_keys(Reader *reader, Jsonb *object, const char *path,
							  const char *const *known, int count);
extern JsonbValue *reader_kind(Reader *reader, Jsonb *object, const char *path,
							   const char *key, const char *kind);
extern Jsonb *reader_object(Reader *reader, Jsonb *object, const char *path,
							const char *key);
extern char *reader_string(Reader *reader, Jsonb *object, const char *path,
						   const char *key);
extern bool reader_boolean(Reader *reader, Jsonb *object, const char *path,
						   const char *key);
extern void reader_check_strings(Reader *reader, Jsonb *list, const char *path);
extern double reader_share(Reader *reader, Jsonb *object, const char *path,
						   const char *key, double otherwise);
extern int reader_choice(Reader *reader, Jsonb *object, const char *path, const char *key,
						 const char *const *names, int count);

/* --- definition_inputs.c --- */

#define ON_NULL_CHOICES 3

extern const char *const on_null_names[ON_NULL_CHOICES];

extern void read_inputs(Reader *reader, Jsonb *definition);

/* --- definition_lets.c --- */

extern void read_lets(Reader *reader, Jsonb *definition);

/* --- definition_rules.c --- */

extern void read_rules(Reader *reader, Jsonb *definition);
extern void read_then(Reader *reader, Jsonb *document, const char *path,
					  Verdict *verdict);

/* --- definition_policy.c --- */

extern void read_default(Reader *reader, Jsonb *definition);
extern void read_collect(Reader *reader, Jsonb *definition);
extern void read_statuses(Reader *reader, Jsonb *definition);
extern void read_prompt(Reader *reader, Jsonb *definition);
extern void read_policy(Reader *reader, Jsonb *definition);
extern void read_canary_key(Reader *reader, Jsonb *definition);
extern void read_cache_ttl(Reader *reader, Jsonb *definition);

#endif /* FACTORY_DEFINITION_H */
