/*
 * outcome.c
 *		What came of a transfer: an answer, or how far it got and why it ended.
 */
#include "postgres.h"

#include <limits.h>

#include "http/http_int.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

static const char *const phase_words[] = {
	[PHASE_QUEUE] = "waiting for a connection that is free",
	[PHASE_RESOLVE] = "resolving the server's name",
	[PHASE_CONNECT] = "connecting",
	[PHASE_TLS] = "agreeing on TLS",
	[PHASE_SEND] = "sending the request",
	[PHASE_WAIT] = "waiting for the answer",
	[PHASE_RECEIVE] = "receiving the answer",
};

/* curl's results in words that do not change with its version. */
static const struct ResultWords
{
	CURLcode result;
	const char *words;
} result_words[] = {
	{CURLE_COULDNT_RESOLVE_HOST, "no such host"},
	{CURLE_COULDNT_CONNECT, "connection refused or no route"},
	{CURLE_GOT_NOTHING, "the connection was closed without an answer"},
	{CURLE_PARTIAL_FILE, "the connection was closed in the middle"},
	{CURLE_RECV_ERROR, "the connection was closed in the middle"},
	{CURLE_SEND_ERROR, "the connection was closed"},
	{CURLE_UNSUPPORTED_PROTOCOL, "the answer is not HTTP"},
	{CURLE_WEIRD_SERVER_REPLY, "the answer is not HTTP"},
	{CURLE_BAD_CONTENT_ENCODING, "the answer's compression is broken"},
	{CURLE_PEER_FAILED_VERIFICATION, "the server's certificate is not valid"},
	{CURLE_SSL_CACERT_BADFILE, "the file of authorities could not be read"},
	{CURLE_SSL_CONNECT_ERROR, "the server does not speak TLS as we do"},
};

/* --- how far it got --------------------------------------------------------------------- */

/* The phase as far as the callbacks know it, refined by what curl has counted. */
static HttpPhase
phase_reached(HttpTransfer *transfer)
{
	curl_off_t amount = 0;

	if (transfer->is_queued)
		return PHASE_QUEUE;
	if (transfer->phase == PHASE_SEND &&
		curl_easy_getinfo(handle_easy(transfer->handle), CURLINFO_SIZE_UPLOAD_T,
						  &amount) == CURLE_OK &&
		amount >= transfer->request_length)
		return PHASE_WAIT;
	return transfer->phase;
}

const char *
phase_text(HttpTransfer *transfer)
{
	return phase_words[phase_reached(transfer)];
}

static const char *
words_of_result(CURLcode result)
{
	for (int i = 0; i < lengthof(result_words); i++)
		if (result_words[i].result == result)
			return result_words[i].words;
	return curl_easy_strerror(result);
}

/* --- the end -------------------------------------------------------------------------------- */

void
release_curl(HttpTransfer *transfer, bool keep)
{
	if (transfer->handle == NULL)
		return;
	if (transfer->node.prev != NULL)
		dlist_delete(&transfer->node);
	handle_release(transfer->handle, keep);
	transfer->handle = NULL;
}

void
end_transfer(HttpTransfer *transfer, HttpOutcome outcome, char *reason)
{
	release_curl(transfer, outcome == HTTP_ANSWERED);
	transfer->outcome = outcome;
	transfer->reason = reason;
	transfer->ended = GetCurrentTimestamp();
}

/* "Retry-After: 3", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", "retry-after-ms: 250" */
static int
retry_after(CURL *easy)
{
	struct curl_header *header;
	double wait_ms;
	char *end;

	if (curl_easy_header(easy, "retry-after-ms", 0, CURLH_HEADER, -1, &header) ==
		CURLHE_OK)
		wait_ms = strtod(header->value, &end);
	else if (curl_easy_header(easy, "Retry-After", 0, CURLH_HEADER, -1, &header) ==
			 CURLHE_OK)
	{
		wait_ms = strtod(header->value, &end) * 1000;
		if (end == header->value || *end != '\0')
		{
			time_t moment = curl_getdate(header->value, NULL);

			if (moment == (time_t) -1)
				return -1;
			end = header->value + 1;
			wait_ms = difftime(moment, time(NULL)) * 1000;
		}
	}
	else
		return -1;
	if (end == header->value || !(wait_ms >= 0))
		return 0;
	return (int) Min(wait_ms, (double) INT_MAX);
}

static char *
lower_case(const char *name)
{
	char *lower = pstrdup(name);

	for (char *c = lower; *c; c++)
		*c = pg_tolower((unsigned char) *c);
	return lower;
}

static List *
kept_headers(const HttpTransfer *transfer)
{
	CURL *easy = handle_easy(transfer->handle);
	struct curl_header *header = NULL;
	List *kept = NIL;

	while ((header = curl_easy_nextheader(easy, CURLH_HEADER, -1, header)) != NULL)
	{
		char *name = lower_case(header->name);

		if (strstr(name, transfer->keep_headers) != NULL)
			kept = lappend(kept, psprintf("%s: %s", name, header->value));
	}
	return kept;
}

static void
note_answer(HttpTransfer *transfer)
{
	CURL *easy = handle_easy(transfer->handle);
	char *content_type = NULL;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &transfer->status);
	curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &content_type);
	if (content_type != NULL)
		transfer->content_type = MemoryContextStrdup(transfer->context, content_type);
	/* To look one up, curl goes through them all. */
	if (transfer->says_retry)
		transfer->retry_after_ms = retry_after(easy);
	if (transfer->says_wanted)
		transfer->headers = kept_headers(transfer);
	end_transfer(transfer, HTTP_ANSWERED, NULL);
}

static void
note_failure(HttpTransfer *transfer, CURLcode result)
{
	const char *doing = phase_text(transfer);

	if (transfer->too_large)
		end_transfer(transfer, HTTP_TOO_LARGE,
					 transfer->header_bytes > HTTP_MAX_HEADER_BYTES
						 ? psprintf("the answer's headers are over the limit of %d bytes",
									HTTP_MAX_HEADER_BYTES)
						 : psprintf("the answer is over the limit of %zu bytes",
									transfer->max_answer));
	else if (transfer->denial != NULL &&
			 (result == CURLE_COULDNT_CONNECT || result == CURLE_ABORTED_BY_CALLBACK))
		end_transfer(transfer, HTTP_DENIED,
					 psprintf("the host is at %s, which is closed", transfer->denial));
	else if (transfer->no_descriptor && result == CURLE_COULDNT_CONNECT)
		end_transfer(transfer, HTTP_UNREACHABLE,
					 psprintf("failed while %s: out of file descriptors", doing));
	else
		end_transfer(transfer, HTTP_UNREACHABLE,
					 psprintf("failed while %s: %s", doing, words_of_result(result)));
}

void
on_engine_end(CURL *easy, CURLcode result)
{
	HttpTransfer *transfer = handle_transfer(easy);
	MemoryContext caller = MemoryContextSwitchTo(transfer->context);

	if (result == CURLE_OK)
		note_answer(transfer);
	else
		note_failure(transfer, result);
	MemoryContextSwitchTo(caller);
}
