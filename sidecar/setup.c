/*
 * setup.c
 *		What is in force: settings, keys and certificate, read together.
 */
#include "setup.h"

#include <stdlib.h>

#include "claim.h"
#include "log.h"
#include "pool.h"
#include "text.h"

static bool
can_follow(const char *setting, const char *claim)
{
	if (claim_name_is_good(claim))
		return true;
	log_error("%s \"%s\" is no way to a claim", setting, claim);
	log_hint("Write a claim's name, or a way such as .app.role or .\"a.b\".roles[0].");
	return false;
}

/* A loop without a connection would never answer. */
static bool
feeds_all_loops(const Config *config, int loops)
{
	if (config->pool >= loops)
		return true;
	log_error("FACTORYD_POOL %ld is less than the %d event loops that run", config->pool,
			  loops);
	log_hint("Each loop needs a connection: raise it, or restart factoryd.");
	return false;
}

static bool
read_all(Setup *setup, const char *path, const Setup *running, int loops)
{
	Config *config = &setup->config;

	if (!config_load(config, path))
		return false;
	if (!pool_database_is_good(config->database) ||
		!pool_database_is_good(config->database_read))
		return false;
	if (running)
		config_keep_fixed(config, &running->config);
	if (running && !feeds_all_loops(config, loops))
		return false;
	if (!can_follow("FACTORYD_JWT_ROLE_CLAIM", config->jwt_role_claim) ||
		!can_follow("FACTORYD_JWT_TENANT_CLAIM", config->jwt_tenant_claim))
		return false;
	setup->rates = rate_open(config->rate_limits);
	if (setup->rates == NULL)
		return false;
	setup->keys = jwt_keys_open(config->jwt_secret, config->jwks_file);
	if (setup->keys == NULL)
		return false;
	if (*config->tls_cert_file)
		setup->tls = tls_open(config->tls_cert_file, config->tls_key_file);
	return setup->tls || !*config->tls_cert_file;
}

Setup *
setup_load(const char *path, const Setup *running, int loops)
{
	Setup *setup = memory_new(sizeof(Setup));

	setup->holders = 1;
	if (read_all(setup, path, running, loops))
		return setup;
	setup_release(setup);
	return NULL;
}

const Setup *
setup_hold(const Setup *setup)
{
	__atomic_add_fetch(&((Setup *) setup)->holders, 1, __ATOMIC_RELAXED);
	return setup;
}

void
setup_release(const Setup *setup)
{
	Setup *own = (Setup *) setup;

	if (own == NULL || __atomic_sub_fetch(&own->holders, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	rate_close(own->rates);
	if (own->keys)
		jwt_keys_close(own->keys);
	tls_close(own->tls);
	config_free(&own->config);
	free(own);
}
