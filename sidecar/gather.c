/*
 * gather.c
 *		What libpq writes, gathered, so that many calls go out in one write.
 *
 * A call ends with a Sync, and before 17 libpq has no other way to add one than
 * PQpipelineSync(), which writes at once: a system call a request, and for the server
 * often one more to read it.  libpq calls send() by its name, and the program's own
 * goes before libc's: here it is.  It is the system's own but for a thread that gathers.
 * Where a libpq does not ask for it by name, it writes at once as ever.
 */
#include "gather.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Memory that a buffer keeps. */
#define KEEP_GATHERED 65536

static __thread Buffer *target;

ssize_t
send(int fd, const void *bytes, size_t length, int flags)
{
	if (target == NULL)
		return syscall(SYS_sendto, fd, bytes, length, flags, NULL, 0);
	buffer_add(target, bytes, length);
	return (ssize_t) length;
}

void
gather_begin(Buffer *gathered)
{
	target = gathered;
}

void
gather_end(void)
{
	target = NULL;
}

int
gather_write(Buffer *gathered, int fd)
{
	while (gathered->length > 0)
	{
		ssize_t written =
			send(fd, buffer_bytes(gathered), gathered->length, MSG_NOSIGNAL);

		if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 1;
		if (written < 0 && errno != EINTR)
			return -1;
		if (written > 0)
			buffer_take(gathered, written);
	}
	buffer_clear(gathered, KEEP_GATHERED);
	return 0;
}
