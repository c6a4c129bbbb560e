/*
 * compat.h
 *		What differs between PostgreSQL 15 and the coming one, and nothing else.
 *
 * This is the only file that may look at PG_VERSION_NUM.
 */
#ifndef FACTORY_COMPAT_H
#define FACTORY_COMPAT_H

#include "utils/datetime.h"
#include "utils/jsonb.h"

#if PG_VERSION_NUM < 150000
#error "pg_factory needs PostgreSQL 15 or later"
#endif

/*
 * We build with hidden visibility.  Before 16 the server's own macro does not
 * mark what must stay visible.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

/* A function that SQL may call: declared, registered and exported. */
#define FACTORY_FUNCTION(name) \
	PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

/* 16 tells more about what was wrong with a date. */
static inline int
compat_decode_datetime(char **field, int *field_type, int field_count, int *kind,
					   struct pg_tm *tm, fsec_t *fraction, int *offset)
{
#if PG_VERSION_NUM >= 160000
	DateTimeErrorExtra extra;

	return DecodeDateTime(field, field_type, field_count, kind, tm, fraction, offset,
						  &extra);
#else
	return DecodeDateTime(field, field_type, field_count, kind, tm, fraction, offset);
#endif
}

/* The last argument is missing_ok (15) or where soft errors go (16); 0 suits both. */
#define compat_parse_type_string(name, type, typmod) \
	parseTypeString((name), (type), (typmod), 0)

/* Building jsonb: 19 keeps the result in the state. */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState CompatJsonbState;
#define compat_push_jsonb(state, token, value) pushJsonbValue((state), (token), (value))
#else
typedef struct CompatJsonbState
{
	JsonbParseState *parse;
	JsonbValue *result;
} CompatJsonbState;
#define compat_push_jsonb(state, token, value) \
	((state)->result = pushJsonbValue(&(state)->parse, (token), (value)))
#endif

#endif /* FACTORY_COMPAT_H */
