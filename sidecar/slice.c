/*
 * slice.c
 *		How long the kernel lets a loop run before others' turn.
 *
 * A loop has much to do for a short while, often.  Linux (6.12 and later) runs first whose
 * slice ends first: who asks for a short one gets no more of the processor, but comes to
 * it sooner when it wakes.  With the usual one, some milliseconds, one request in a
 * hundred waits that long where server, clients and loops share a few processors.
 */
#include "slice.h"

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLICE_NS 200000

/* Policies whose sched_runtime is a slice: SCHED_OTHER and SCHED_BATCH. */
#define POLICY_OTHER 0
#define POLICY_BATCH 3

/* What the kernel calls struct sched_attr; C libraries have it, or have it not. */
typedef struct ThreadSchedule
{
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns;
	uint64_t deadline_ns;
	uint64_t period_ns;
} ThreadSchedule;

void
slice_ask_short(void)
{
#if defined(SYS_sched_getattr) && defined(SYS_sched_setattr)
	ThreadSchedule schedule = {.size = sizeof(schedule)};

	if (syscall(SYS_sched_getattr, 0, &schedule, sizeof(schedule), 0) != 0 ||
		(schedule.policy != POLICY_OTHER && schedule.policy != POLICY_BATCH) ||
		(schedule.runtime_ns != 0 && schedule.runtime_ns <= SLICE_NS))
		return;
	schedule.runtime_ns = SLICE_NS;
	/* Refused, it is as it was. */
	(void) syscall(SYS_sched_setattr, 0, &schedule, 0);
#endif
}
