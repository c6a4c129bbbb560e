#include "postgres.h"

#include "worker/worker.h"

void
worker_define_settings(void)
{
}

void
worker_request_shmem(void)
{
}

void
worker_attach_shmem(void)
{
}

void
worker_register_launcher(void)
{
}

void
worker_wake_at_commit(void)
{
}
