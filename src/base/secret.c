/*
 * secret.c
 *		Secrets that are kept in files.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "storage/fd.h"

char *
secret_trimmed(char *text)
{
	size_t length;

	while (isspace((unsigned char) *text))
		text++;
	length = strlen(text);
	while (length > 0 && isspace((unsigned char) text[length - 1]))
		text[--length] = '\0';
	return text;
}

char *
secret_read_file(const char *path, const char **reason)
{
	/* A pipe without a writer would hold an open without O_NONBLOCK for ever. */
	int fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	struct stat status;
	char *text = NULL;
	ssize_t length;

	if (fd < 0)
	{
		*reason = psprintf("it could not be opened: %m");
		return NULL;
	}
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
		*reason = "it is not a regular file";
	else if (status.st_size > SECRET_MAX_LENGTH)
		*reason = "it is larger than any key";
	else
	{
		text = palloc0(SECRET_MAX_LENGTH + 1);
		length = read(fd, text, SECRET_MAX_LENGTH);
		if (length < 0)
		{
			*reason = psprintf("it could not be read: %m");
			text = NULL;
		}
	}
	CloseTransientFile(fd);
	return text ? secret_trimmed(text) : NULL;
}
