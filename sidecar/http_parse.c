/*
 * http_parse.c
 *		A request's head, from bytes to names and values.
 *
 * Strict where two parsers could disagree on where a request ends (RFC 9112, 11.2):
 * one length and only one way to say it, no folded lines, no white space before
 * a colon, every line ended by CR LF.
 */
#include "http_parse.h"

#include <string.h>
#include <strings.h>

/* The characters of a token (RFC 9110, 5.6.2). */
static const bool token_characters[256] = {
	['a' ... 'z'] = true,  ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['!'] = true,
	['#' ... '\''] = true, ['*'] = true,         ['+'] = true,         ['-'] = true,
	['.'] = true,          ['^' ... '`'] = true, ['|'] = true,         ['~'] = true};

/* Behind the token that the text begins with. */
static char *
skip_token(char *text)
{
	while (token_characters[(unsigned char) *text])
		text++;
	return text;
}

/* Whether none of eight bytes ends a line or is a control character. */
static bool
is_plain(const char *bytes)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t eight;
	uint64_t deletes;

	memcpy(&eight, bytes, sizeof(eight));
	deletes = eight ^ (ones * 127);
	return ((((eight - ones * ' ') & ~eight) | ((deletes - ones) & ~deletes)) &
			(ones * 0x80)) == 0;
}

/*
 * Cuts the next line off the text and tells its end; NULL where it is not ended by
 * CR LF, or holds a control character.
 */
static char *
cut_line(char **text, char *end, char **line_end)
{
	char *line = *text;
	char *stop = line;

	while (end - stop >= 8 && is_plain(stop))
		stop += 8;
	while (stop < end && ((unsigned char) *stop >= ' ' ? *stop != 127 : *stop == '\t'))
		stop++;
	if (stop + 1 >= end || stop[0] != '\r' || stop[1] != '\n')
		return NULL;
	*stop = '\0';
	*line_end = stop;
	*text = stop + 2;
	return line;
}

/* "METHOD target HTTP/1.x" */
static int
parse_request_line(char *line, HttpHead *head, const char **why)
{
	char *target = skip_token(line);
	char *version;

	*why = "The request line is not \"METHOD target HTTP/1.1\".";
	if (target == line || *target != ' ')
		return 400;
	*target++ = '\0';
	version = strchr(target, ' ');
	if (version == NULL || strchr(version + 1, ' '))
		return 400;
	*version++ = '\0';
	if (strncmp(version, "HTTP/", 5) != 0)
		return 400;
	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
	{
		*why = "Only HTTP/1.1 and HTTP/1.0 are spoken here.";
		return 505;
	}
	head->minor = version[7] - '0';
	head->method = line;

	/* A proxy's client sends the whole address; the host in it is no business of ours. */
	if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0)
	{
		target = strchr(strchr(target, ':') + 3, '/');
		if (target == NULL)
			return 400;
	}
	if (*target != '/' && strcmp(target, "*") != 0)
		return 400;
	head->path = target;
	head->query = strchr(target, '?');
	if (head->query)
		*head->query++ = '\0';
	return 0;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
parse_header(char *line, char *end, HttpHeader *header)
{
	char *colon = skip_token(line);
	char *value = colon + 1;

	if (colon == line || *colon != ':')
		return false;
	*colon = '\0';
	for (char *c = line; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c += 'a' - 'A';
	while (is_blank(*value))
		value++;
	while (end > value && is_blank(end[-1]))
		end--;
	*end = '\0';
	header->name = line;
	header->value = value;
	header->name_length = colon - line;
	return true;
}

static bool
parse_length(const char *text, uint64_t *length)
{
	*length = 0;
	if (*text == '\0' || strlen(text) > 18)
		return false;
	for (; *text; text++)
	{
		if (*text < '0' || *text > '9')
			return false;
		*length = *length * 10 + (*text - '0');
	}
	return true;
}

/* Whether a comma-separated list has the word, in any case. */
static bool
list_has(const char *list, const char *word)
{
	size_t length = strlen(word);

	while (list && *list)
	{
		list += strspn(list, " \t,");
		if (strncasecmp(list, word, length) == 0 && strchr(" \t,", list[length]))
			return true;
		list = strchr(list, ',');
	}
	return false;
}

typedef struct Framing
{
	int hosts;
	int lengths;
	int encodings;
} Framing;

static bool
is_named(const HttpHeader *header, const char *name, size_t length)
{
	return header->name_length == length && memcmp(header->name, name, length) == 0;
}

#define IS_NAMED(header, name) is_named(header, name, sizeof(name) - 1)

/* Notes a header that says how the request is framed; 0 or a status. */
static int
note_framing(HttpHead *head, const HttpHeader *header, Framing *seen, const char **why)
{
	if (IS_NAMED(header, "content-length"))
	{
		*why = "Content-Length is not one whole number.";
		if (seen->lengths++ || !parse_length(header->value, &head->body_length))
			return 400;
		head->body = head->body_length ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
	}
	else if (IS_NAMED(header, "transfer-encoding"))
	{
		*why = "The only Transfer-Encoding understood is \"chunked\".";
		if (seen->encodings++ || strcasecmp(header->value, "chunked") != 0)
			return 501;
		head->body = HTTP_BODY_CHUNKED;
	}
	else if (IS_NAMED(header, "host"))
		seen->hosts++;
	else if (IS_NAMED(header, "connection"))
	{
		if (list_has(header->value, "close"))
			head->keep_alive = false;
		else if (head->minor == 0 && list_has(header->value, "keep-alive"))
			head->keep_alive = true;
	}
	else if (IS_NAMED(header, "expect"))
	{
		*why = "The only expectation understood is \"100-continue\".";
		if (strcasecmp(header->value, "100-continue") != 0)
			return 417;
		head->expects_continue = head->minor > 0;
	}
	return 0;
}

static int
check_framing(const HttpHead *head, const Framing *seen, const char **why)
{
	if (seen->lengths && seen->encodings)
	{
		*why = "A request has Content-Length or Transfer-Encoding, not both.";
		return 400;
	}
	if (seen->encodings && head->minor == 0)
	{
		*why = "HTTP/1.0 has no Transfer-Encoding.";
		return 400;
	}
	if (seen->hosts > 1 || (seen->hosts == 0 && head->minor > 0))
	{
		*why = "A request of HTTP/1.1 has exactly one Host header.";
		return 400;
	}
	return 0;
}

int
http_parse_head(char *text, size_t length, HttpHead *head, const char **why)
{
	char *end = text + length;
	char *line_end;
	char *line = cut_line(&text, end, &line_end);
	Framing seen = {0};
	int status;

	head->header_count = 0;
	head->names = 0;
	head->body = HTTP_BODY_NONE;
	head->body_length = 0;
	head->expects_continue = false;
	*why = "A line of the head is not ended by CR LF, or holds a control character.";
	if (line == NULL)
		return 400;
	status = parse_request_line(line, head, why);
	if (status)
		return status;
	head->keep_alive = head->minor > 0;
	for (;;)
	{
		HttpHeader *header = &head->headers[head->header_count];

		line = cut_line(&text, end, &line_end);
		if (line == NULL)
		{
			*why =
				"A line of the head is not ended by CR LF, or holds a control character.";
			return 400;
		}
		if (*line == '\0')
			return check_framing(head, &seen, why);
		if (head->header_count == HTTP_HEADERS_MOST)
		{
			*why = "The request has more than 100 headers.";
			return 431;
		}
		if (!parse_header(line, line_end, header))
		{
			*why = "A header is not \"Name: value\".";
			return 400;
		}
		status = note_framing(head, header, &seen, why);
		if (status)
			return status;
		head->names |= http_name_bit(header->name, header->name_length);
		head->header_count++;
	}
}

const char *
http_find_value(const HttpHead *head, const char *name, size_t length)
{
	for (int i = 0; i < head->header_count; i++)
		if (is_named(&head->headers[i], name, length))
			return head->headers[i].value;
	return NULL;
}

static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
http_parse_chunk_size(const char *line, uint64_t *size)
{
	int digits = 0;

	*size = 0;
	for (; digit_value(*line) >= 0; line++)
	{
		*size = *size * 16 + digit_value(*line);
		if (++digits > 15)
			return false;
	}
	line += strspn(line, " \t");
	return digits > 0 && (*line == '\0' || *line == ';');
}

long
http_decode_escapes(char *text, bool plus_is_space)
{
	char *to = text;

	for (const char *from = text; *from; from++)
	{
		if (*from == '%')
		{
			int high = digit_value(from[1]);
			int low = high < 0 ? -1 : digit_value(from[2]);

			if (low < 0 || (high == 0 && low == 0))
				return -1;
			*to++ = (char) (high * 16 + low);
			from += 2;
		}
		else if (*from == '+' && plus_is_space)
			*to++ = ' ';
		else
			*to++ = *from;
	}
	*to = '\0';
	return to - text;
}
