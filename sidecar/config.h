/*
 * config.h
 *		What factoryd was told: a file of KEY=VALUE lines, and the environment.
 */
#ifndef FACTORYD_CONFIG_H
#define FACTORYD_CONFIG_H

#include <stdbool.h>

typedef struct Config
{
	char *listen;     /* "address:port" */
	char *database;   /* libpq's connection string or URI */
	char *schemas;    /* comma-separated, in the order they are searched */
	char *anon_role;  /* "" for none */
	char *jwt_secret; /* "" for none */
	long pool;        /* connections to the database, at most */
	long pool_wait;   /* what a request waits for one, in ms */
	long pool_recycle;
	long queue;           /* requests that wait at the same time, at most */
	long request_timeout; /* what a statement may take, in ms */
	long max_connections; /* clients */
	long max_body;        /* bytes */
	long read_timeout;    /* from a request's first byte to its last, in ms */
	long idle_timeout;    /* between two requests of a connection, in ms */
	long drain;           /* what running requests get at shutdown, in ms */
} Config;

/*
 * Defaults, then the file (NULL for none), then the environment.  False where
 * something is wrong; the log then says what and how to mend it.
 */
extern bool config_load(Config *config, const char *path);
extern void config_free(Config *config);

/* Prints every setting with its default and meaning. */
extern void config_print_help(void);

#endif /* FACTORYD_CONFIG_H */
