/*
 * csv.c
 *		Rows of a body in CSV.
 */
#include "csv.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "text.h"

/* What a buffer for one field may keep. */
#define FIELD_KEEP 32768

/* One field of CSV into text; what ended it, or -1 where quotes do not end. */
static int
read_csv_field(const char **at, Buffer *text, bool *quoted)
{
	const char *c = *at;

	buffer_clear(text, FIELD_KEEP);
	*quoted = *c == '"';
	if (*quoted)
		for (c++; *c != '"' || c[1] == '"'; c++)
		{
			if (*c == '\0')
				return -1;
			if (*c == '"')
				c++;
			buffer_add_char(text, *c);
		}
	c += *quoted;
	for (; *c && *c != ',' && *c != '\n' && *c != '\r'; c++)
		buffer_add_char(text, *c);
	if (*c == '\r' && c[1] == '\n')
		c++;
	*at = *c ? c + 1 : c;
	return *c;
}

char *
csv_as_json(const char *csv)
{
	Buffer json = {0};
	Buffer field = {0};
	char *names[CSV_COLUMNS_MOST];
	int count = 0;
	int end = ',';
	bool quoted;

	while (end == ',' && count < CSV_COLUMNS_MOST)
	{
		end = read_csv_field(&csv, &field, &quoted);
		names[count++] = text_copy(buffer_text(&field));
	}
	if (end == ',')
		end = -1;
	buffer_add_char(&json, '[');
	while (end >= 0 && *csv)
	{
		int index = 0;

		buffer_add_text(&json, json.length > 1 ? ",{" : "{");
		do
		{
			end = read_csv_field(&csv, &field, &quoted);
			if (index >= count)
			{
				end = -1;
				break;
			}
			buffer_add_text(&json, index ? "," : "");
			buffer_add_json(&json, names[index++]);
			buffer_add_char(&json, ':');
			buffer_add_json(&json, !quoted && strcmp(buffer_text(&field), "NULL") == 0
									   ? NULL
									   : buffer_text(&field));
		} while (end == ',');
		buffer_add_char(&json, '}');
		if (index != count)
			end = -1;
	}
	buffer_add_char(&json, ']');
	for (int i = 0; i < count; i++)
		free(names[i]);
	buffer_free(&field);
	if (end < 0)
	{
		buffer_free(&json);
		return NULL;
	}
	return buffer_detach(&json);
}
