/* SPDX-License-Identifier: GPL-2.0 */
#ifndef STORM_H
#define STORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What the workers have to do now */
enum phase {
	PHASE_STEADY,	/* mixed load */
	PHASE_SURGE,	/* the same, while kernel memory grows and movable memory fills the rest */
	PHASE_HOLD,	/* stand still, keep everything */
	PHASE_DROP,	/* give back what can be given back, then stand still */
	PHASE_END,
};

enum worker_id {
	WORKER_ANON_SMALL,	/* anonymous memory in 4 KiB pages */
	WORKER_ANON_HUGE,	/* the same, with huge pages where there are any */
	WORKER_SURGE,		/* in a surge: page tables, and anonymous memory up to the brim */
	WORKER_SURGE2,
	WORKER_FILES,
	WORKER_NAMES,		/* inodes and dentries */
	WORKER_FORK,
	WORKER_PIPES,		/* pipes and unix sockets, long-lived */
	WORKER_UDP,
	WORKER_HUGETLB,
	WORKER_ATOMIC,		/* in a surge: order-3 GFP_ATOMIC bursts */
	WORKER_PACE,		/* how fast is the machine just now? */
	NR_WORKERS,
};

/* Shared by all processes of the storm */
struct control {
	_Atomic int phase;
	_Atomic uint64_t errors;	/* wrong data found, or what must not happen */
	_Atomic uint64_t work[NR_WORKERS];
	_Atomic bool peak[NR_WORKERS];	/* has got what it wants of this surge */
	_Atomic int reached[NR_WORKERS];	/* PHASE_HOLD or PHASE_DROP, once obeyed */
	uint64_t total;			/* memory of the guest, bytes */
	uint64_t seed;
	bool spoil;			/* write one wrong word, to be found */
};

struct worker {
	const char *name;
	void (*start)(void);
	unsigned int (*step)(void);	/* returns the work done */
	void (*drop)(void);	/* give back what can be given back */
	void (*hold)(void);	/* come to rest */
	bool counted;		/* its work is a measure of what the load got done */
	bool surges;		/* works in a surge only, and has the CPUs nearly to itself then */
	unsigned int pause;	/* after each step, ms */
};

extern const struct worker workers[NR_WORKERS];

#define MIB	(1ULL << 20)
#define GIB	(1ULL << 30)
#define PAGE	4096UL
#define CHUNK	(2 * MIB)

/* Pages of one aligned gigabyte by what holds them */
struct gigabyte {
	uint64_t present, reserved, slab, pgtable, other, movable, free;
	char zone[32];		/* names joined by '+' */
};

#define MAX_GIGABYTES	256

void run_worker(struct control *c, enum worker_id id);
void storm_error(struct control *c, const char *what);
uint64_t mix(uint64_t x);
uint64_t random_next(uint64_t *state);
double now(void);
uint64_t meminfo(const char *field);
bool write_text(const char *path, const char *text);
uint64_t read_number(const char *path);
uint64_t vmstat(const char *field);

int count_gigabytes(struct gigabyte *g, int max);
bool is_tainted(const struct gigabyte *g);
long obtain_gigantic(struct control *c);

#endif
