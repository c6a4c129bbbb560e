/*
 * http_read.c
 *		Reading a request: head, body, chunks, and what is refused on the way.
 *
 * Each state of a client has its reader, which says whether there is more to do now.
 */
#include "http_int.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

#define HEAD_LIMIT 16384
#define CHUNK_LINE_LIMIT 4096
#define READ_AHEAD 65536

/*
 * Each of these reads one part of a request: true where the next part may follow
 * at once, false where more input is needed (or the state is no reading one).
 */

static bool
hand_over(Client *client)
{
	HttpServer *server = client->server;

	clock_gettime(CLOCK_MONOTONIC, &client->request.received);
	client->request.body = buffer_text(&client->body);
	client->request.body_length = client->body.length;
	client->state = CLIENT_ANSWERING;
	if (client->timer_kind == TIMER_READ)
		client_set_timer(client, TIMER_NONE);
	COUNT(server->counters.requests, 1);
	server->handler.request(&client->request, server->handler.context);
	return true;
}

/* Whether the body may have that much more; refuses it where not. */
static bool
body_may_grow(Client *client, uint64_t more)
{
	uint64_t most = client->server->config->max_body;

	if (more <= most && client->body.length + more <= most)
		return true;
	client_refuse(client, 413, "The body is longer than FACTORYD_MAX_BODY allows.");
	return false;
}

static bool
begin_body(Client *client)
{
	HttpHead *head = &client->request.head;
	struct iovec piece = {"HTTP/1.1 100 Continue\r\n\r\n", 25};

	client->body_left = head->body == HTTP_BODY_LENGTH ? head->body_length : 0;
	if (!body_may_grow(client, client->body_left))
		return false;
	if (head->body == HTTP_BODY_NONE)
		return hand_over(client);
	if (head->expects_continue && client->input.length == 0)
		client_send(client, &piece, 1);
	client->state = head->body == HTTP_BODY_LENGTH ? CLIENT_BODY : CLIENT_CHUNK_SIZE;
	return true;
}

/* Whether the input's first line is ended by a bare LF: no end of head would come. */
static bool
ends_line_wrongly(const Buffer *input)
{
	const char *bytes = buffer_bytes(input);
	const char *end = memchr(bytes, '\n', input->length);

	return end && (end == bytes || end[-1] != '\r');
}

/* The empty line behind a head, in bytes from there on; NULL where it has not come. */
static const char *
find_end_of_head(const Buffer *input, size_t from)
{
	const char *end = buffer_bytes(input) + input->length;
	const char *at = buffer_bytes(input) + from;

	while ((at = memchr(at, '\r', end - at)) != NULL)
	{
		if (end - at < 4)
			return NULL;
		if (memcmp(at, "\r\n\r\n", 4) == 0)
			return at;
		at++;
	}
	return NULL;
}

static bool
read_head(Client *client)
{
	Buffer *input = &client->input;
	const char *end;
	const char *why;
	size_t length;
	int status;

	/* A client that does not read gets no more replies to leave unread. */
	if (client->output.length > UNREAD_REPLIES_LIMIT)
		return false;
	while (input->length >= 2 && memcmp(buffer_bytes(input), "\r\n", 2) == 0)
		buffer_take(input, 2);
	if (input->length == 0)
		return false;
	end = find_end_of_head(input, client->head_scanned);
	if (end == NULL)
	{
		client_set_timer(client, TIMER_READ);
		client->head_scanned = input->length > 3 ? input->length - 3 : 0;
		if (input->length > HEAD_LIMIT)
			client_refuse(client, 431, "The head is longer than 16 kB.");
		else if (ends_line_wrongly(input))
			client_refuse(client, 400, "A line of the head is not ended by CR LF.");
		return false;
	}
	length = end + 4 - buffer_bytes(input);
	if (length > HEAD_LIMIT)
	{
		client_refuse(client, 431, "The head is longer than 16 kB.");
		return false;
	}
	client->head_scanned = 0;
	buffer_add(&client->head, buffer_bytes(input), length);
	buffer_take(input, length);
	status =
		http_parse_head(buffer_text(&client->head), length, &client->request.head, &why);
	if (status)
	{
		client_refuse(client, status, why);
		return false;
	}
	return begin_body(client);
}

/* Moves input into the body; true where all of the part has come. */
static bool
take_body(Client *client)
{
	Buffer *input = &client->input;
	size_t length = input->length;

	if (length > client->body_left)
		length = client->body_left;
	buffer_add(&client->body, buffer_bytes(input), length);
	buffer_take(input, length);
	client->body_left -= length;
	return client->body_left == 0;
}

/* More has to come: from now on the whole request has its deadline. */
static bool
wait_for_more(Client *client)
{
	client_set_timer(client, TIMER_READ);
	return false;
}

static bool
read_body(Client *client)
{
	return take_body(client) ? hand_over(client) : wait_for_more(client);
}

/* The next line, cut off the input; NULL where it is not whole yet. */
static char *
next_line(Client *client, size_t *length)
{
	Buffer *input = &client->input;
	char *line = buffer_bytes(input);
	char *end = input->length ? memmem(line, input->length, "\r\n", 2) : NULL;

	if (end == NULL)
	{
		if (input->length > CHUNK_LINE_LIMIT)
			client_refuse(client, 400, "A line of the chunked body is too long.");
		else
			wait_for_more(client);
		return NULL;
	}
	*end = '\0';
	*length = end - line;
	/* The bytes stay where they are until more is read. */
	buffer_take(input, *length + 2);
	return line;
}

static bool
read_chunk_size(Client *client)
{
	size_t length;
	char *line = next_line(client, &length);

	if (line == NULL)
		return false;
	if (strlen(line) != length || !http_parse_chunk_size(line, &client->body_left))
	{
		client_refuse(client, 400, "A chunk does not begin with its size.");
		return false;
	}
	if (client->body_left > 0 && !body_may_grow(client, client->body_left))
		return false;
	client->state = client->body_left > 0 ? CLIENT_CHUNK : CLIENT_TRAILERS;
	return true;
}

static bool
read_chunk(Client *client)
{
	if (!take_body(client))
		return wait_for_more(client);
	client->state = CLIENT_CHUNK_END;
	return true;
}

static bool
read_chunk_end(Client *client)
{
	Buffer *input = &client->input;

	if (input->length < 2)
		return wait_for_more(client);
	if (memcmp(buffer_bytes(input), "\r\n", 2) != 0)
	{
		client_refuse(client, 400, "A chunk is longer than its size.");
		return false;
	}
	buffer_take(input, 2);
	client->state = CLIENT_CHUNK_SIZE;
	return true;
}

/* Trailers are read and forgotten: nothing of ours may depend on them. */
static bool
read_trailers(Client *client)
{
	size_t length;
	char *line = next_line(client, &length);

	if (line == NULL)
		return false;
	if (length == 0)
		return hand_over(client);
	client->trailer_bytes += length;
	if (client->trailer_bytes > HEAD_LIMIT)
	{
		client_refuse(client, 431, "The trailers are longer than 16 kB.");
		return false;
	}
	return true;
}

static bool
wait_for_handler(Client *client)
{
	(void) client;
	return false;
}

static bool
discard_input(Client *client)
{
	buffer_clear(&client->input, 0);
	return false;
}

static bool
shake_hands(Client *client)
{
	TlsProgress progress = tls_handshake(client->tls);

	if (progress == TLS_WANTS_WRITE)
		event_add(&client->writable, client->server->write_timeout);
	if (progress == TLS_FAILED)
	{
		client->state = CLIENT_CLOSING;
		client->ended = true;
	}
	if (progress != TLS_DONE)
		return false;
	client->state = CLIENT_HEAD;
	if (tls_has_input(client->tls))
		event_active(&client->readable, EV_READ, 0);
	return true;
}

static bool (*const readers[])(Client *) = {
	[CLIENT_HANDSHAKE] = shake_hands,  [CLIENT_HEAD] = read_head,
	[CLIENT_BODY] = read_body,         [CLIENT_CHUNK_SIZE] = read_chunk_size,
	[CLIENT_CHUNK] = read_chunk,       [CLIENT_CHUNK_END] = read_chunk_end,
	[CLIENT_TRAILERS] = read_trailers, [CLIENT_ANSWERING] = wait_for_handler,
	[CLIENT_CLOSING] = discard_input,  [CLIENT_LINGERING] = discard_input,
};

/* Goes as far as the input reaches; the client may be gone after this. */
void
client_advance(Client *client)
{
	client->advancing = true;
	while (readers[client->state](client))
		;
	client->advancing = false;
	if (client->state == CLIENT_CLOSING && !client_has_unwritten(client))
	{
		client_linger(client);
		return;
	}
	client_want_input(client, client->input.length < READ_AHEAD && !client->ended);
}
