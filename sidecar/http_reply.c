/*
 * http_reply.c
 *		Replies: whole, in pieces, or a refusal.
 *
 * A reply is written at once, head and body in one call; most never see the event loop.
 */
#include "http_int.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "text.h"

/* A body that is copied behind its head, which costs less than a second piece. */
#define SMALL_BODY 2048

static const struct
{
	int status;
	const char *phrase;
} reasons[] = {
	{200, "OK"},
	{201, "Created"},
	{204, "No Content"},
	{206, "Partial Content"},
	{300, "Multiple Choices"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{413, "Content Too Large"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
	{417, "Expectation Failed"},
	{422, "Unprocessable Content"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
};

const char *
http_reason(int status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].phrase;
	return "Unknown";
}

static const char *
date_now(HttpServer *server)
{
	time_t now = time(NULL);

	if (now != server->date_second)
	{
		struct tm utc;

		gmtime_r(&now, &utc);
		strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
		server->date_second = now;
	}
	return server->date;
}

ssize_t
client_write_some(Client *client, const struct iovec *pieces, int count)
{
	struct msghdr message = {.msg_iov = (struct iovec *) pieces, .msg_iovlen = count};
	ssize_t written = 0;

	if (client->tls)
	{
		for (int i = 0; i < count; i++)
		{
			ssize_t taken = tls_write(client->tls, pieces[i].iov_base, pieces[i].iov_len);

			if (taken < 0)
				return -1;
			written += taken;
			if ((size_t) taken < pieces[i].iov_len)
				break;
		}
		return written;
	}
	do
		written = count == 1
					  ? send(client->fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL)
					  : sendmsg(client->fd, &message, MSG_NOSIGNAL);
	while (written < 0 && errno == EINTR);
	if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	return written;
}

/* The client takes nothing any more; what is left to do is done from the loop. */
static void
client_break(Client *client)
{
	client->broken = true;
	client->ended = true;
	buffer_clear(&client->output, 0);
	event_active(&client->writable, EV_WRITE, 0);
}

/*
 * Writes at once what the socket takes: most replies never see the event loop.  Only
 * the rest is copied and waits.
 */
void
client_send(Client *client, const struct iovec *pieces, int count)
{
	ssize_t written = 0;

	if (client->broken)
		return;
	if (client->output.length == 0)
		written = client_write_some(client, pieces, count);
	if (written < 0)
	{
		client_break(client);
		return;
	}
	for (int i = 0; i < count; i++)
	{
		size_t gone =
			(size_t) written < pieces[i].iov_len ? (size_t) written : pieces[i].iov_len;

		buffer_add(&client->output, (char *) pieces[i].iov_base + gone,
				   pieces[i].iov_len - gone);
		written -= gone;
	}
	if (client->output.length > 0)
		event_add(&client->writable, client->server->write_timeout);
}

/* The lines that every reply has, into the server's scratch. */
static Buffer *
begin_head(Client *client, int status, bool keep_alive)
{
	HttpServer *server = client->server;
	Buffer *head = &server->scratch;

	COUNT(server->counters.answered[status / 100], 1);
	buffer_clear(head, READ_SIZE);
	buffer_add(head, "HTTP/1.1 ", 9);
	buffer_add_number(head, status);
	buffer_add_char(head, ' ');
	buffer_add_text(head, http_reason(status));
	buffer_add(head, "\r\nDate: ", 8);
	buffer_add_text(head, date_now(server));
	buffer_add(head, "\r\n", 2);
	if (!keep_alive)
		buffer_add_text(head, "Connection: close\r\n");
	else if (client->request.head.minor == 0)
		buffer_add_text(head, "Connection: keep-alive\r\n");
	return head;
}

static void
end_reply(Client *client, bool keep_alive)
{
	client_forget_request(client);
	client->state = keep_alive && !client->broken ? CLIENT_HEAD : CLIENT_CLOSING;
	client_set_timer(client, client->state == CLIENT_HEAD ? TIMER_IDLE : TIMER_NONE);
}

static void
write_reply(Client *client, int status, const Buffer *headers, const char *body,
			size_t length, bool keep_alive, bool head_only)
{
	Buffer *head = begin_head(client, status, keep_alive);
	bool has_body = !head_only && status != 204 && length > 0;
	struct iovec pieces[2];

	if (status != 204)
	{
		buffer_add_text(head, "Content-Length: ");
		buffer_add_number(head, (long long) length);
		buffer_add(head, "\r\n", 2);
	}
	if (headers)
		buffer_add(head, buffer_bytes(headers), headers->length);
	buffer_add(head, "\r\n", 2);
	if (has_body && length <= SMALL_BODY)
	{
		buffer_add(head, body, length);
		has_body = false;
	}
	pieces[0] = (struct iovec){buffer_bytes(head), head->length};
	pieces[1] = (struct iovec){(void *) body, length};
	client_send(client, pieces, has_body ? 2 : 1);
	end_reply(client, keep_alive);
}

void
http_reply(HttpRequest *request, int status, const Buffer *headers, const char *body,
		   size_t length)
{
	Client *client = (Client *) request;
	HttpServer *server = client->server;
	bool head_only = strcmp(request->head.method, "HEAD") == 0;

	COUNT(server->counters.requests, -1);
	write_reply(client, status, headers, body, length,
				request->head.keep_alive && !server->draining, head_only);
	if (!client->advancing)
		client_advance(client);
}

void
http_stream_begin(HttpRequest *request, int status, const Buffer *headers)
{
	Client *client = (Client *) request;
	Buffer *head;
	struct iovec piece;

	client->chunked = request->head.minor > 0;
	client->keep_alive =
		client->chunked && request->head.keep_alive && !client->server->draining;
	client->streaming = true;
	head = begin_head(client, status, client->keep_alive);
	if (client->chunked)
		buffer_add_text(head, "Transfer-Encoding: chunked\r\n");
	buffer_add(head, buffer_bytes(headers), headers->length);
	buffer_add(head, "\r\n", 2);
	piece = (struct iovec){buffer_bytes(head), head->length};
	client_send(client, &piece, 1);
}

bool
http_stream_add(HttpRequest *request, const char *data, size_t length)
{
	Client *client = (Client *) request;
	char size[24];
	struct iovec pieces[3] = {{size, 0}, {(void *) data, length}, {"\r\n", 2}};

	if (length > 0 && client->chunked)
	{
		pieces[0].iov_len = snprintf(size, sizeof(size), "%zx\r\n", length);
		client_send(client, pieces, 3);
	}
	else if (length > 0)
		client_send(client, pieces + 1, 1);
	client->stream_waits = client->output.length > UNREAD_REPLIES_LIMIT;
	return !client->stream_waits;
}

void
http_stream_end(HttpRequest *request)
{
	Client *client = (Client *) request;
	struct iovec piece = {"0\r\n\r\n", 5};
	bool keep_alive = client->keep_alive;

	if (client->chunked)
		client_send(client, &piece, 1);
	COUNT(client->server->counters.requests, -1);
	end_reply(client, keep_alive);
	if (!client->advancing)
		client_advance(client);
}

void
http_stream_cut(HttpRequest *request)
{
	Client *client = (Client *) request;

	COUNT(client->server->counters.requests, -1);
	client_forget_request(client);
	client->state = CLIENT_CLOSING;
	client_break(client);
}

/* Refuses a request that is not whole: where the next one begins is unknown. */
void
client_refuse(Client *client, int status, const char *why)
{
	HttpServer *server = client->server;
	Buffer headers = {0};
	Buffer body = {0};

	client->request.head.minor = 1;
	server->handler.refused(&body, status, why, server->handler.context);
	buffer_add_text(&headers, "Content-Type: application/json\r\n");
	if (status == 503)
		buffer_add_text(&headers, "Retry-After: 1\r\n");
	write_reply(client, status, &headers, buffer_bytes(&body), body.length, false, false);
	buffer_free(&headers);
	buffer_free(&body);
}
