/*
 * resolver.c
 *		A resolver that tests can script, to be preloaded into a server.
 *
 * Names below ".scripted" are answered as the file says that FACTORY_RESOLVER names,
 * read at each question: one line a name, "NAME ADDRESS" or "NAME mute", which never
 * answers.  Each name that is asked for is written down in a file beside it, ".asked".
 * The address 203.0.113.7, of a network for examples, stands for one that is public: what
 * connects to it is led to 127.0.0.1 and does not notice.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PUBLIC_ADDRESS "203.0.113.7"

/* Sockets that were led away, by number. */
static char is_led[4096];

static int
scripted_address(const char *name, char *address)
{
	const char *path = getenv("FACTORY_RESOLVER");
	FILE *file = path ? fopen(path, "r") : NULL;
	char known[64];
	int found = 0;

	while (file != NULL && !found && fscanf(file, "%63s %63s", known, address) == 2)
		found = strcmp(known, name) == 0;
	if (file != NULL)
		fclose(file);
	return found;
}

static void
note_question(const char *name)
{
	const char *path = getenv("FACTORY_RESOLVER");
	char asked[1024];
	FILE *file;

	if (path == NULL ||
		snprintf(asked, sizeof(asked), "%s.asked", path) >= (int) sizeof(asked))
		return;
	file = fopen(asked, "a");
	if (file == NULL)
		return;
	fprintf(file, "%s\n", name);
	fclose(file);
}

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
			struct addrinfo **result)
{
	static int (*next)(const char *, const char *, const struct addrinfo *,
					   struct addrinfo **);
	char address[64];

	if (next == NULL)
		next = dlsym(RTLD_NEXT, "getaddrinfo");
	if (name == NULL || strstr(name, ".scripted") == NULL)
		return next(name, service, hints, result);
	note_question(name);
	if (!scripted_address(name, address))
		return EAI_NONAME;
	while (strcmp(address, "mute") == 0)
		pause();
	return next(address, service, hints, result);
}

int
connect(int descriptor, const struct sockaddr *address, socklen_t length)
{
	static int (*next)(int, const struct sockaddr *, socklen_t);
	struct sockaddr_in led;

	if (next == NULL)
		next = dlsym(RTLD_NEXT, "connect");
	if (address->sa_family != AF_INET)
		return next(descriptor, address, length);
	memcpy(&led, address, sizeof(led));
	if (descriptor < (int) sizeof(is_led))
		is_led[descriptor] = led.sin_addr.s_addr == inet_addr(PUBLIC_ADDRESS);
	if (led.sin_addr.s_addr == inet_addr(PUBLIC_ADDRESS))
		led.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return next(descriptor, (struct sockaddr *) &led, length);
}

int
getpeername(int descriptor, struct sockaddr *address, socklen_t *length)
{
	static int (*next)(int, struct sockaddr *, socklen_t *);
	int result;

	if (next == NULL)
		next = dlsym(RTLD_NEXT, "getpeername");
	result = next(descriptor, address, length);
	if (result == 0 && address->sa_family == AF_INET && descriptor < (int) sizeof(is_led) &&
		is_led[descriptor])
		((struct sockaddr_in *) address)->sin_addr.s_addr = inet_addr(PUBLIC_ADDRESS);
	return result;
}
