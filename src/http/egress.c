/*
 * egress.c
 *		Which addresses a request may go to without its server's permission.
 *
 * Judged by the address the connection goes to, after the name was resolved: a
 * name that changes its mind between check and connect gains nothing.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "http/http_int.h"

/* A network of either family; IPv4 ones are written in their mapped form. */
typedef struct Network
{
	const char *prefix;
	int bits;
	const char *meaning;
} Network;

static const Network closed_networks[] = {
	{"::ffff:127.0.0.0", 96 + 8, "a loopback address"},
	{"::ffff:169.254.0.0", 96 + 16, "a link-local address"},
	{"::ffff:10.0.0.0", 96 + 8, "a private address"},
	{"::ffff:172.16.0.0", 96 + 12, "a private address"},
	{"::ffff:192.168.0.0", 96 + 16, "a private address"},
	{"::ffff:100.64.0.0", 96 + 10, "a shared address"},
	{"::ffff:0.0.0.0", 96 + 8, "an unspecified address"},
	{"::ffff:192.0.0.0", 96 + 24, "a reserved address"},
	{"::ffff:198.18.0.0", 96 + 15, "a reserved address"},
	{"::ffff:224.0.0.0", 96 + 4, "a multicast address"},
	{"::ffff:240.0.0.0", 96 + 4, "a reserved address"},
	{"::1", 128, "a loopback address"},
	{"::", 128, "an unspecified address"},
	{"fe80::", 10, "a link-local address"},
	{"fec0::", 10, "a private address"},
	{"fc00::", 7, "a private address"},
	{"ff00::", 8, "a multicast address"},
};

/*
 * Networks whose addresses carry an IPv4 address inside, which a gateway would
 * unpack: what is inside is judged.
 */
static const struct Wrapping
{
	const char *prefix;
	int bits;
	int offset; /* of the IPv4 address, in bytes */
} wrappings[] = {
	{"::", 96, 12},           /* IPv4-compatible */
	{"64:ff9b::", 96, 12},    /* NAT64 */
	{"2002::", 16, 2},        /* 6to4 */
	{"::ffff:0:0:0", 96, 12}, /* SIIT */
};

static bool
address_is_in(const uint8 *address, const char *prefix, int bits)
{
	struct in6_addr network;
	int whole = bits / 8;
	int rest = bits % 8;

	if (inet_pton(AF_INET6, prefix, &network) != 1)
		return true; /* cannot happen; better closed than open */
	if (memcmp(address, network.s6_addr, whole) != 0)
		return false;
	return rest == 0 || ((address[whole] ^ network.s6_addr[whole]) >> (8 - rest)) == 0;
}

static const char *
network_meaning(const uint8 *address)
{
	for (int i = 0; i < lengthof(closed_networks); i++)
		if (address_is_in(address, closed_networks[i].prefix, closed_networks[i].bits))
			return closed_networks[i].meaning;
	return NULL;
}

static void
map_ipv4(uint8 *mapped, const void *ipv4)
{
	memset(mapped, 0, 10);
	memset(mapped + 10, 0xff, 2);
	memcpy(mapped + 12, ipv4, 4);
}

static const char *
ipv6_denial(const uint8 *address)
{
	const char *meaning = network_meaning(address);
	uint8 inside[16];

	for (int i = 0; meaning == NULL && i < lengthof(wrappings); i++)
	{
		if (!address_is_in(address, wrappings[i].prefix, wrappings[i].bits))
			continue;
		map_ipv4(inside, address + wrappings[i].offset);
		meaning = network_meaning(inside);
	}
	return meaning;
}

const char *
egress_denial(const struct sockaddr *address)
{
	uint8 mapped[16];

	switch (address->sa_family)
	{
		case AF_INET:
			map_ipv4(mapped, &((const struct sockaddr_in *) address)->sin_addr);
			return ipv6_denial(mapped);
		case AF_INET6:
			return ipv6_denial(
				((const struct sockaddr_in6 *) address)->sin6_addr.s6_addr);
		default:
			return EGRESS_NOT_AN_ADDRESS;
	}
}

const char *
egress_denial_text(const char *address)
{
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
	char bare[INET6_ADDRSTRLEN];

	strlcpy(bare, address, sizeof(bare));
	bare[strcspn(bare, "%")] = '\0'; /* the zone of a link-local address */
	if (inet_pton(AF_INET, bare, &ipv4.sin_addr) == 1)
		return egress_denial((struct sockaddr *) &ipv4);
	if (inet_pton(AF_INET6, bare, &ipv6.sin6_addr) == 1)
		return egress_denial((struct sockaddr *) &ipv6);
	return EGRESS_NOT_AN_ADDRESS;
}
