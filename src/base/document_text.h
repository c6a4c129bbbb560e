/*
 * document_text.h
 *		The pieces of plain JSON text, for those who read it in one go.
 *
 * Plain is what most JSON is.  The rest is left to the server's parser: other encodings,
 * \u, exponents, long numbers, scalars, depth, size, and every fault, for it words them.
 */
#ifndef FACTORY_DOCUMENT_TEXT_H
#define FACTORY_DOCUMENT_TEXT_H

#define PLAIN_BYTES (1024 * 1024)
#define PLAIN_LEVELS 64
#define PLAIN_DIGITS 17 /* an int64 has them all */

/* Each reads on from *at; the text ends with a NUL, which is no part of any JSON. */

static inline void
plain_skip_blanks(char **at)
{
	while (**at == ' ' || **at == '\n' || **at == '\t' || **at == '\r')
		(*at)++;
}

/* Past blanks and that sign, where it stands. */
static inline bool
plain_take(char **at, char sign)
{
	plain_skip_blanks(at);
	if (**at != sign)
		return false;
	(*at)++;
	return true;
}

/* What stands for itself after a backslash, or for another; 0: nothing plain. */
static inline char
plain_escaped(char sign)
{
	switch (sign)
	{
		case '"':
		case '\\':
		case '/':
			return sign;
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		default:
			return 0;
	}
}

/* What a string's characters do not all do: stand for themselves. */
static const bool plain_special[256] = {[0 ... 31] = true, ['"'] = true, ['\\'] = true};

/* From its quote on, in place, with a NUL behind it; NULL where it is not plain. */
static inline char *
plain_string(char **at, int *length)
{
	char *begin = *at + 1;
	char *from = begin;
	char *to;

	while (!plain_special[(unsigned char) *from])
		from++;
	for (to = from; *from != '"';)
	{
		if (*from != '\\')
			return NULL;
		*to = plain_escaped(from[1]);
		if (*to++ == 0)
			return NULL;
		for (from += 2; !plain_special[(unsigned char) *from];)
			*to++ = *from++;
	}
	*at = from + 1;
	*length = (int) (to - begin);
	*to = '\0';
	return begin;
}

static inline bool
plain_is_digit(char sign)
{
	return sign >= '0' && sign <= '9';
}

/* A number is what it gives / 10^decimals; false where it is not plain. */
static inline bool
plain_number(char **at, int64 *number, int *decimals)
{
	char *from = *at;
	bool is_negative = *from == '-';
	int64 whole = 0;
	int digits = 0;

	*decimals = 0;
	from += is_negative;
	if (!plain_is_digit(*from) || (from[0] == '0' && plain_is_digit(from[1])))
		return false;
	for (; plain_is_digit(*from) && digits <= PLAIN_DIGITS; digits++)
		whole = whole * 10 + (*from++ - '0');
	if (*from == '.')
	{
		for (from++; plain_is_digit(*from) && digits <= PLAIN_DIGITS;
			 digits++, (*decimals)++)
			whole = whole * 10 + (*from++ - '0');
		if (*decimals == 0)
			return false;
	}
	if (digits > PLAIN_DIGITS || *from == 'e' || *from == 'E' || *from == '.')
		return false;
	*number = is_negative ? -whole : whole;
	*at = from;
	return true;
}

static inline bool
plain_word(char **at, const char *word)
{
	size_t length = strlen(word);

	if (strncmp(*at, word, length) != 0)
		return false;
	*at += length;
	return true;
}

#endif /* FACTORY_DOCUMENT_TEXT_H */
