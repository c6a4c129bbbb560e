/*
 * form.c
 *		The fields of a form.
 */
#include "form.h"

#include <stdlib.h>
#include <string.h>

#include "http_parse.h"
#include "text.h"

/* A field once more: a list of all, or the last alone. */
static void
add_field(json_t *fields, const char *name, json_t *value, bool lists)
{
	json_t *before = json_object_get(fields, name);

	if (!lists || before == NULL)
		json_object_set_new(fields, name, value);
	else if (json_is_array(before))
		json_array_append_new(before, value);
	else
		json_object_set_new(fields, name, json_pack("[O, o]", before, value));
}

json_t *
form_fields(const char *form, bool lists)
{
	char *copy = text_copy(form);
	char *rest = copy;
	json_t *fields = json_object();
	char *name;

	while (fields && (name = strsep(&rest, "&")) != NULL)
	{
		char *value = name;
		json_t *text;

		strsep(&value, "=");
		if (*name == '\0' && value == NULL)
			continue;
		if (value == NULL)
			value = name + strlen(name);
		text = http_decode_escapes(name, true) >= 0 &&
					   http_decode_escapes(value, true) >= 0 &&
					   text_is_utf8(name, strlen(name))
				   ? json_string(value)
				   : NULL;
		if (text)
			add_field(fields, name, text, lists);
		else
		{
			json_decref(fields);
			fields = NULL;
		}
	}
	free(copy);
	return fields;
}
