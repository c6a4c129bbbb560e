/*
 * models_client.c
 *		The same requests by plain libcurl, byte for byte, for bench/models to compare with.
 *
 *	models_client URL BODY COUNT              one after the other on one handle: the
 *											  median of their times, in microseconds
 *	models_client URL BODY COUNT CONCURRENCY  that many at once on a multi handle: the
 *											  whole time, in milliseconds
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double
now_us(void)
{
	struct timespec moment;

	clock_gettime(CLOCK_MONOTONIC, &moment);
	return (double) moment.tv_sec * 1e6 + (double) moment.tv_nsec / 1e3;
}

static size_t
swallow(char *bytes, size_t size, size_t count, void *unused)
{
	(void) bytes;
	(void) unused;
	return size * count;
}

static CURL *
make_request(const char *url, const char *body)
{
	CURL *easy = curl_easy_init();
	struct curl_slist *headers =
		curl_slist_append(NULL, "Content-Type: application/json");

	headers = curl_slist_append(headers, "Accept: application/json");

	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	return easy;
}

static int
by_value(const void *left, const void *right)
{
	double a = *(const double *) left;
	double b = *(const double *) right;

	return (a > b) - (a < b);
}

static int
one_by_one(const char *url, const char *body, int count)
{
	CURL *easy = make_request(url, body);
	double *took = calloc((size_t) count, sizeof(double));

	for (int i = 0; i < count; i++)
	{
		double begun = now_us();

		if (curl_easy_perform(easy) != CURLE_OK)
			return 1;
		took[i] = now_us() - begun;
	}
	qsort(took, (size_t) count, sizeof(double), by_value);
	printf("%.1f\n", took[count / 2]);
	return 0;
}

static int
all_at_once(const char *url, const char *body, int count, int concurrency)
{
	CURLM *multi = curl_multi_init();
	double begun = now_us();
	int started = 0;
	int ended = 0;

	for (; started < count && started < concurrency; started++)
		curl_multi_add_handle(multi, make_request(url, body));
	while (ended < count)
	{
		CURLMsg *message;
		int left;

		curl_multi_perform(multi, &left);
		while ((message = curl_multi_info_read(multi, &left)) != NULL)
		{
			CURL *easy = message->easy_handle;

			if (message->data.result != CURLE_OK)
				return 1;
			curl_multi_remove_handle(multi, easy);
			if (started++ < count)
				curl_multi_add_handle(multi, easy);
			ended++;
		}
		if (ended < count)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	printf("%.1f\n", (now_us() - begun) / 1000);
	return 0;
}

int
main(int count, char **arguments)
{
	if (count != 4 && count != 5)
	{
		fprintf(stderr, "usage: models_client URL BODY COUNT [CONCURRENCY]\n");
		return 2;
	}
	curl_global_init(CURL_GLOBAL_ALL);
	if (count == 4)
		return one_by_one(arguments[1], arguments[2], atoi(arguments[3]));
	return all_at_once(arguments[1], arguments[2], atoi(arguments[3]),
					   atoi(arguments[4]));
}
