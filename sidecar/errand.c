/*
 * errand.c
 *		Work that blocks, done by a short-lived thread beside the loop.
 *
 * Two things of libpq and the C library block: a cancel (before libpq 17) and the
 * look-up of a host's name.  The thread hands its errand back through a pipe, so
 * nothing is shared and the loop needs no locks.
 */
#include "errand.h"

#include <event2/util.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "text.h"

struct Errands
{
	int pipe[2];
	struct event *back;
	int running;
};

static void *
run_errand(void *argument)
{
	Errand *errand = argument;

	errand->work(errand);

	/* A pointer is written whole or not at all (POSIX: PIPE_BUF). */
	while (write(errand->errands->pipe[1], &errand, sizeof(errand)) < 0)
		;
	return NULL;
}

static void
errands_came_back(evutil_socket_t fd, short what, void *context)
{
	Errand *errand;

	Errands *errands = context;

	(void) what;
	while (read(fd, &errand, sizeof(errand)) == (ssize_t) sizeof(errand))
	{
		errands->running--;
		errand->ended(errand);
	}
}

bool
errand_start(Errands *errands, Errand *errand)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all;
	sigset_t before;
	int failed;

	errand->errands = errands;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);

	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&thread, &attributes, run_errand, errand);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (!failed)
		errands->running++;
	return !failed;
}

Errands *
errands_open(struct event_base *base)
{
	Errands *errands = memory_new(sizeof(Errands));

	if (pipe2(errands->pipe, O_CLOEXEC) != 0)
	{
		log_error("could not make a pipe");
		free(errands);
		return NULL;
	}
	evutil_make_socket_nonblocking(errands->pipe[0]);
	errands->back = event_new(base, errands->pipe[0], EV_READ | EV_PERSIST,
							  errands_came_back, errands);
	event_add(errands->back, NULL);
	return errands;
}

void
errands_close(Errands *errands)
{
	event_free(errands->back);

	/* Threads that are not back yet still write: they keep the pipe to the end. */
	if (errands->running > 0)
		return;
	close(errands->pipe[0]);
	close(errands->pipe[1]);
	free(errands);
}
