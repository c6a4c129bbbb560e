/*
 * resolve.c
 *		The addresses behind the host names of a connection string.
 *
 * libpq looks names up inside PQconnectStart and PQconnectPoll, blocking; it does
 * not where it is given "hostaddr".  The name stays in "host", because TLS and
 * .pgpass go by it.
 */
#include "resolve.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "text.h"

/* An option of the connection string, else of libpq's environment; the caller frees. */
static char *
option_value(const char *database, const char *keyword)
{
	PQconninfoOption *lists[2];
	char *value = NULL;

	lists[0] = PQconninfoParse(database, NULL);
	lists[1] = PQconndefaults();
	for (int i = 0; i < 2; i++)
	{
		for (PQconninfoOption *option = lists[i]; option && option->keyword; option++)
			if (!value && strcmp(option->keyword, keyword) == 0 && option->val &&
				option->val[0])
				value = text_copy(option->val);
		PQconninfoFree(lists[i]);
	}
	return value;
}

/* A socket's directory, or an address already. */
static bool
needs_no_lookup(const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];

	return host[0] == '\0' || host[0] == '/' || host[0] == '@' ||
		   inet_pton(AF_INET, host, address) == 1 ||
		   inet_pton(AF_INET6, host, address) == 1;
}

bool
resolve_is_needed(const char *database)
{
	char *hosts = option_value(database, "host");
	char *given = option_value(database, "hostaddr");
	char *service = option_value(database, "service");
	bool needed = false;

	/* A service's file has the last word on the host, and libpq alone reads it. */
	if (hosts && !given && !service)
	{
		char *rest = hosts;
		char *host;

		while ((host = strsep(&rest, ",")) != NULL)
			if (!needs_no_lookup(host))
				needed = true;
	}
	free(hosts);
	free(given);
	free(service);
	return needed;
}

static void
append(char **list, const char *item)
{
	char *longer = *list ? text_format("%s,%s", *list, item) : text_copy(item);

	free(*list);
	*list = longer;
}

static void
add_address(Addresses *found, const char *host, const char *address, const char *port)
{
	append(&found->host, host);
	append(&found->hostaddr, address);
	append(&found->port, port);
}

static void
look_up(Addresses *found, const char *host, const char *port)
{
	struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *answers;
	int failed = getaddrinfo(host, NULL, &wanted, &answers);

	if (failed)
	{
		free(found->reason);
		found->reason = text_format("host name \"%s\" has no address: %s", host,
									gai_strerror(failed));
		return;
	}
	for (struct addrinfo *answer = answers; answer; answer = answer->ai_next)
	{
		char address[NI_MAXHOST];

		if (getnameinfo(answer->ai_addr, answer->ai_addrlen, address, sizeof(address),
						NULL, 0, NI_NUMERICHOST) == 0)
			add_address(found, host, address, port);
	}
	freeaddrinfo(answers);
}

void
resolve_addresses(const char *database, Addresses *found)
{
	char *hosts = option_value(database, "host");
	char *ports = option_value(database, "port");
	char *rest_hosts = hosts;
	char *rest_ports = ports;
	const char *port = "";
	char *host;

	memset(found, 0, sizeof(*found));
	while ((host = strsep(&rest_hosts, ",")) != NULL)
	{
		/* One port is every host's. */
		if (rest_ports)
			port = strsep(&rest_ports, ",");
		if (needs_no_lookup(host))
			add_address(found, host, host[0] == '/' || host[0] == '@' ? "" : host, port);
		else
			look_up(found, host, port);
	}
	free(hosts);
	free(ports);
}

void
resolve_forget(Addresses *found)
{
	free(found->host);
	free(found->hostaddr);
	free(found->port);
	free(found->reason);
}
