/*
 * mailbox.c
 *		What one loop tells another.
 *
 * A pipe: a letter is shorter than PIPE_BUF, so it is written whole, and the kernel
 * wakes the loop that reads.
 */
#include "mailbox.h"

#include <event2/util.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "text.h"

struct Mailbox
{
	int pipe[2];
	struct event *letters;
	void (*came)(const Letter *letter, void *context);
	void *context;
};

static void
letters_came(evutil_socket_t fd, short what, void *context)
{
	Mailbox *mailbox = context;
	Letter letter;

	(void) what;
	while (read(fd, &letter, sizeof(letter)) == (ssize_t) sizeof(letter))
		mailbox->came(&letter, mailbox->context);
}

Mailbox *
mailbox_open(struct event_base *base, void (*came)(const Letter *letter, void *context),
			 void *context)
{
	Mailbox *mailbox = memory_new(sizeof(Mailbox));

	if (pipe2(mailbox->pipe, O_CLOEXEC | O_NONBLOCK) != 0)
	{
		log_error("could not make a pipe");
		free(mailbox);
		return NULL;
	}
	mailbox->came = came;
	mailbox->context = context;
	mailbox->letters =
		event_new(base, mailbox->pipe[0], EV_READ | EV_PERSIST, letters_came, mailbox);
	event_add(mailbox->letters, NULL);
	return mailbox;
}

bool
mailbox_send(Mailbox *mailbox, Letter letter)
{
	return write(mailbox->pipe[1], &letter, sizeof(letter)) == (ssize_t) sizeof(letter);
}

void
mailbox_close(Mailbox *mailbox)
{
	if (mailbox == NULL)
		return;
	event_free(mailbox->letters);
	close(mailbox->pipe[0]);
	close(mailbox->pipe[1]);
	free(mailbox);
}
