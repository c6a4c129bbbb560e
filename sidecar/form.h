/*
 * form.h
 *		The fields of a form.
 */
#ifndef FACTORYD_FORM_H
#define FACTORYD_FORM_H

#include <jansson.h>
#include <stdbool.h>

#define FORM_TYPE "application/x-www-form-urlencoded"

/*
 * Each field's text by its name; one that is there more than once is a list of all, where
 * lists are asked for, else its last.  NULL where it cannot be decoded into UTF-8.
 */
extern json_t *form_fields(const char *form, bool lists);

#endif /* FACTORYD_FORM_H */
