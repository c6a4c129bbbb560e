/*
 * pg_factory.c
 *		The ground plan: settings, shared memory and workers, room by room.
 */
#include "postgres.h"

#include "base/audit.h"
#include "base/base.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/queue.h"
#include "base/quota.h"
#include "bi/bi.h"
#include "cache/cache.h"
#include "fmgr.h"
#include "http/http.h"
#include "judgment/judgment.h"
#include "llm/llm.h"
#include "metrics/metrics.h"
#include "miscadmin.h"
#include "refresh/refresh.h"
#include "rules/rules.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

/* What a room wants from the server, from the ground up; NULL for nothing. */
typedef struct Room
{
	void (*define_settings)(void);
	void (*request_shmem)(void);
	void (*attach_shmem)(void);
} Room;

static const Room rooms[] = {
	{base_define_settings, quota_request_shmem, quota_attach_shmem},
	{queue_define_settings, queue_request_shmem, queue_attach_shmem},
	{http_define_settings},
	{metrics_define_settings, metrics_request_shmem, metrics_attach_shmem},
	{cache_define_settings, cache_request_shmem, cache_attach_shmem},
	{llm_define_settings, llm_request_shmem, llm_attach_shmem},
	{rules_define_settings},
	{judgment_define_settings},
	{refresh_define_settings},
	{bi_define_settings},
	{worker_define_settings, worker_request_shmem, worker_attach_shmem},
};

static shmem_request_hook_type previous_shmem_request = NULL;
static shmem_startup_hook_type previous_shmem_startup = NULL;

PGDLLEXPORT void _PG_init(void);

static void
factory_shmem_request(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	for (int i = 0; i < lengthof(rooms); i++)
		if (rooms[i].request_shmem)
			rooms[i].request_shmem();
}

static void
factory_shmem_startup(void)
{
	if (previous_shmem_startup)
		previous_shmem_startup();
	for (int i = 0; i < lengthof(rooms); i++)
		if (rooms[i].attach_shmem)
			rooms[i].attach_shmem();
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_FACTORY_NOT_PRELOADED),
				 errmsg("pg_factory must be loaded when the server starts"),
				 errhint("Add this line to postgresql.conf and restart the server: "
						 "shared_preload_libraries = 'pg_factory'")));

	for (int i = 0; i < lengthof(rooms); i++)
		rooms[i].define_settings();
	MarkGUCPrefixReserved("factory");

	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = factory_shmem_request;
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = factory_shmem_startup;

	if (IsBinaryUpgrade)
		return;
	audit_install_hooks();
	judgment_install_hooks();
	worker_register_launcher();
}
