/*
 * mailbox.h
 *		What one loop tells another.
 */
#ifndef FACTORYD_MAILBOX_H
#define FACTORYD_MAILBOX_H

#include <event2/event.h>
#include <stdbool.h>

typedef struct Mailbox Mailbox;

typedef enum LetterKind
{
	LETTER_CLIENT,  /* number: its socket; more: which of the clients it is */
	LETTER_DRAIN,   /* finish what runs */
	LETTER_STOP,    /* at once */
	LETTER_SETUP,   /* more: a Setup, held for the loop, to work by from now on */
	LETTER_CATALOG, /* read the catalogue anew */
	LETTER_HURRY    /* the database is there again */
} LetterKind;

typedef struct Letter
{
	LetterKind kind;
	int number;
	long more;
} Letter;

extern Mailbox *mailbox_open(struct event_base *base,
							 void (*came)(const Letter *letter, void *context),
							 void *context);

/* From any thread; false where the box is full. */
extern bool mailbox_send(Mailbox *mailbox, Letter letter);
extern void mailbox_close(Mailbox *mailbox);

#endif /* FACTORYD_MAILBOX_H */
