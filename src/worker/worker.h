/*
 * worker.h
 *		Background workers: one launcher a server, a scheduler in each database
 *		that has something to do, a writer in each whose sessions hand over rows.
 */
#ifndef FACTORY_WORKER_H
#define FACTORY_WORKER_H

extern void worker_define_settings(void);
extern void worker_request_shmem(void);
extern void worker_attach_shmem(void);

/* Registers the launcher and the hooks; called while the library is preloaded. */
extern void worker_register_launcher(void);

/* Wakes this database's scheduler when the current transaction commits. */
extern void worker_wake_at_commit(void);

#endif /* FACTORY_WORKER_H */
