/*
 * config.h
 *		What factoryd was told: a file of KEY=VALUE lines, and the environment.
 */
#ifndef FACTORYD_CONFIG_H
#define FACTORYD_CONFIG_H

#include <stdbool.h>

typedef struct Config
{
	char *listen;           /* "address:port" */
	char *database;         /* libpq's connection string or URI */
	char *database_read;    /* of a standby for what only reads; "" for none */
	char *schemas;          /* comma-separated, in the order they are searched */
	char *anon_role;        /* "" for none */
	char *channel;          /* NOTIFY here makes us read anew what is served */
	long look_interval;     /* and we look for ourselves so often, in ms; 0 for never */
	char *cors_origins;     /* whose pages may read answers: a list, or "*" */
	char *jwt_secret;       /* "" for none */
	char *jwks_file;        /* "" for none */
	char *jwt_role_claim;   /* name of the claim that names the role */
	char *jwt_tenant_claim; /* ... the tenant; "" for none */
	char *jwt_audience;     /* "" for any */
	char *jwt_issuer;       /* "" for any */
	char *tls_cert_file;    /* "" for no TLS */
	char *tls_key_file;
	char *rate_limits;    /* "bi=60/min,2000/h,burst 10; ..." */
	long loops;           /* threads, each with its share of the pool; 0: one a core */
	long pool;            /* connections to the database that are kept */
	long pool_overflow;   /* and how many more there may be */
	long pool_wait;       /* what a request waits for one, in ms */
	long pool_recycle;    /* in ms */
	long pool_probe;      /* rest after which a connection is asked, in ms */
	long queue;           /* requests that wait at the same time, at most */
	long request_timeout; /* what a statement may take, in ms */
	long max_connections; /* clients */
	long max_body;        /* bytes */
	long max_rows;        /* of one answer; 0 for any number */
	long aggregates;      /* switch: sum() and the like in select= */
	long tx_rollback;     /* switch: Prefer: tx=rollback is obeyed */
	long read_timeout;    /* from a request's first byte to its last, in ms */
	long idle_timeout;    /* between two requests of a connection, in ms */
	long drain;           /* what running requests get at shutdown, in ms */
} Config;

/*
 * Defaults, then the file (NULL for none), then the environment.  False where
 * something is wrong; the log then says what and how to mend it.
 */
extern bool config_load(Config *config, const char *path);

/* Takes from running what cannot change while we run; the log says what was meant to. */
extern void config_keep_fixed(Config *fresh, const Config *running);

/* How many loops there are to be. */
extern int config_loop_count(const Config *config);
extern void config_free(Config *config);

/* Prints every setting with its default and meaning. */
extern void config_print_help(void);

#endif /* FACTORYD_CONFIG_H */
