/*
 * secret.h
 *		Secrets that are kept in files.
 */
#ifndef FACTORY_SECRET_H
#define FACTORY_SECRET_H

/* The longest secret; a larger file is none. */
#define SECRET_MAX_LENGTH 8192

/* The text without blanks around it; the given one is shortened. */
extern char *secret_trimmed(char *text);

/*
 * The file's text without blanks around it, or NULL with the reason; never a part of the
 * text in the reason.
 */
extern char *secret_read_file(const char *path, const char **reason);

#endif /* FACTORY_SECRET_H */
