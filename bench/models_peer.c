/*
 * models_peer.c
 *		A model server for bench/models: answers every request alike, after a while.
 *
 *	models_peer PORT CONTENT    POST /N/... is answered after N milliseconds with a chat
 *								completion whose message is CONTENT; POST
 *								/fail/... is answered with status 500 at once.  GET
 *								/count tells how many were asked, GET /last what was
 *								posted last below /seen/.
 */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAILING_PATH "/fail/"
#define SEEN_PATH "/seen/"

static struct event_base *base;
static char *answer;
static size_t answer_length;
static long asked;
static struct evbuffer *seen;

static void
send_answer(evutil_socket_t unused_socket, short unused_what, void *argument)
{
	struct evhttp_request *request = argument;
	struct evbuffer *body = evbuffer_new();

	(void) unused_socket;
	(void) unused_what;
	evbuffer_add_reference(body, answer, answer_length, NULL, NULL);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
					  "application/json");
	evhttp_send_reply(request, 200, "OK", body);
	evbuffer_free(body);
}

static void
send_count(struct evhttp_request *request)
{
	struct evbuffer *body = evbuffer_new();

	evbuffer_add_printf(body, "%ld\n", asked);
	evhttp_send_reply(request, 200, "OK", body);
	evbuffer_free(body);
}

/* Its headers in their order, and its body. */
static void
keep_seen(struct evhttp_request *request)
{
	struct evkeyval *header;

	evbuffer_drain(seen, evbuffer_get_length(seen));
	for (header = evhttp_request_get_input_headers(request)->tqh_first; header != NULL;
		 header = header->next.tqe_next)
		evbuffer_add_printf(seen, "%s: %s\n", header->key, header->value);
	evbuffer_add_buffer(seen, evhttp_request_get_input_buffer(request));
}

static void
send_seen(struct evhttp_request *request)
{
	evhttp_send_reply(request, 200, "OK", seen);
}

static void
take_request(struct evhttp_request *request, void *unused)
{
	const char *path = evhttp_request_get_uri(request);
	long delay = strtol(path + 1, NULL, 10);
	struct timeval after = {delay / 1000, delay % 1000 * 1000};

	(void) unused;
	if (evhttp_request_get_command(request) == EVHTTP_REQ_GET)
	{
		if (strcmp(path, "/last") == 0)
			send_seen(request);
		else
			send_count(request);
		return;
	}
	asked++;
	if (strncmp(path, SEEN_PATH, strlen(SEEN_PATH)) == 0)
		keep_seen(request);
	if (strncmp(path, FAILING_PATH, strlen(FAILING_PATH)) == 0)
		evhttp_send_error(request, 500, NULL);
	else if (delay == 0)
		send_answer(-1, 0, request);
	else
		event_base_once(base, -1, EV_TIMEOUT, send_answer, request, &after);
}

int
main(int count, char **arguments)
{
	struct evhttp *server;
	json_t *completion;

	if (count != 3)
	{
		fprintf(stderr, "usage: models_peer PORT CONTENT\n");
		return 2;
	}
	completion =
		json_pack("{s:s, s:s, s:[{s:i, s:s, s:{s:s, s:s}}], s:{s:i, s:i, s:i}}", "object",
				  "chat.completion", "model", "peer-model-1", "choices", "index", 0,
				  "finish_reason", "stop", "message", "role", "assistant", "content",
				  arguments[2], "usage", "prompt_tokens", 100, "completion_tokens", 20,
				  "total_tokens", 120);
	answer = json_dumps(completion, JSON_COMPACT);
	answer_length = strlen(answer);
	signal(SIGPIPE, SIG_IGN);
	seen = evbuffer_new();
	base = event_base_new();
	server = evhttp_new(base);
	evhttp_set_gencb(server, take_request, NULL);
	if (evhttp_bind_socket(server, "127.0.0.1", (uint16_t) atoi(arguments[1])) != 0)
	{
		perror("models_peer: cannot listen");
		return 1;
	}
	event_base_dispatch(base);
	return 0;
}
