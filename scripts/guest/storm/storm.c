// SPDX-License-Identifier: GPL-2.0
/*
 * A reproducible mixed load. usage: storm ROUNDS SECONDS SEED [spoil]
 *
 * A round is SECONDS of mixed load, and amid it a surge: kernel memory grows past
 * its gigabytes while movable memory fills the rest, for as long as that takes.
 * After a round the gigabytes are counted and as many 1 GiB pages allocated as
 * can be had: with what the load holds still in place, and after it has dropped
 * it and has ended. Rounds begin alike.
 *
 * Work is counted in the mixed load only: every kernel has the same time for it,
 * while a surge is the same amount, and its time is what differs. The worker pace
 * says how fast the machine was in just that time, whatever else ran on it.
 *
 * Prints lines of words separated by tabs:
 *
 *   gigabyte ROUND MOMENT NUMBER ZONE PRESENT RESERVED SLAB PGTABLE OTHER MOVABLE FREE
 *   round    ROUND MOMENT TAINTED OBTAINABLE and the columns of print_head()
 *
 * Exit: 0, or 1 when wrong data was found or the load went wrong. With spoil the
 * storm writes a wrong word itself, to show that it finds it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "storm.h"

/* What the memory cost; differences over a round */
static const char * const counters[] = {
	"pgscan_kswapd", "pgscan_direct", "pgsteal_kswapd", "pgsteal_direct",
	"pswpin", "pswpout", "workingset_refault_anon", "workingset_refault_file",
	"compact_stall", "compact_success", "compact_migrate_scanned", "compact_free_scanned",
	"pgmigrate_success", "thp_fault_alloc", "thp_fault_fallback", "oom_kill",
};
#define LONGEST_IRQSOFF	"/sys/kernel/tracing/tracing_max_latency"
#define NR_COUNTERS	(sizeof(counters) / sizeof(counters[0]))

static pid_t pids[NR_WORKERS];

void storm_error(struct control *c, const char *what)
{
	c->errors++;
	fprintf(stderr, "storm: %s\n", what);
}

uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

uint64_t random_next(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ULL;
	return mix(*state);
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text)) > 0;
	close(fd);
	return done;
}

/* The number behind @field in a file of one field a line */
static uint64_t field_of(const char *path, const char *field)
{
	FILE *f = fopen(path, "re");
	unsigned long long value = 0;
	size_t len = strlen(field);
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, field, len) || line[len] != ' ')
			continue;
		value = strtoull(line + len, NULL, 10);
		break;
	}
	if (f)
		fclose(f);
	return value;
}

/* Bytes */
uint64_t meminfo(const char *field)
{
	return field_of("/proc/meminfo", field) * 1024;
}

uint64_t vmstat(const char *field)
{
	return field_of("/proc/vmstat", field);
}

uint64_t read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long long value = 0;

	if (f && fscanf(f, "%llu", &value) != 1)
		value = 0;
	if (f)
		fclose(f);
	return value;
}

/* The greater part of what the kernel itself holds, bytes */
static uint64_t kernel_memory(void)
{
	return meminfo("Slab:") + meminfo("PageTables:") + meminfo("KernelStack:");
}

static void start_worker(struct control *c, enum worker_id id)
{
	pid_t pid = fork();

	if (pid) {
		pids[id] = pid;
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	write_text("/proc/self/oom_score_adj", "-900");
	run_worker(c, id);
	exit(0);
}

static void worker_ended(struct control *c, enum worker_id id, int status)
{
	/* The OOM killer counts as a price, anything else is an error */
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		printf("progress\t%s was killed and starts again\n", workers[id].name);
		c->peak[id] = false;
	} else {
		printf("progress\t%s ended with status %d\n", workers[id].name, status);
		storm_error(c, "a worker ended by itself");
	}
	start_worker(c, id);
}

/* A worker that has ended starts again with nothing */
static void revive_workers(struct control *c)
{
	enum worker_id id;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (id = 0; id < NR_WORKERS; id++) {
			if (pids[id] == pid)
				worker_ended(c, id, status);
		}
	}
}

/* Kernel memory has grown as far as it is meant to, and movable memory filled the rest */
static bool surge_is_over(const struct control *c)
{
	return c->peak[WORKER_SURGE] && c->peak[WORKER_SURGE2];
}

/*
 * Let the load run, and return the most memory that the kernel held meanwhile.
 * A surge ends once it is over, however long that takes within @seconds.
 */
static uint64_t run_phase(struct control *c, enum phase phase, double seconds)
{
	double end = now() + seconds;
	uint64_t peak = 0, held;
	enum worker_id id;

	for (id = 0; id < NR_WORKERS; id++)
		c->peak[id] = false;
	c->phase = phase;
	while (now() < end && !(phase == PHASE_SURGE && surge_is_over(c))) {
		held = kernel_memory();
		if (held > peak)
			peak = held;
		revive_workers(c);
		usleep(100000);
	}
	return peak;
}

/* Returns false if some worker did not come to rest in time, half a minute a gigabyte */
static bool wait_for_rest(struct control *c, enum phase phase)
{
	double end = now() + 120 + c->total / GIB * 30;
	enum worker_id id;

	for (id = 0; id < NR_WORKERS; id++)
		c->reached[id] = PHASE_STEADY;
	c->phase = phase;
	for (id = 0; id < NR_WORKERS; id++) {
		while (c->reached[id] != (int)phase && now() < end) {
			revive_workers(c);
			usleep(10000);
		}
		if (c->reached[id] != (int)phase) {
			fprintf(stderr, "storm: %s does not come to rest\n", workers[id].name);
			return false;
		}
	}
	return true;
}

static void print_gigabytes(int round, const char *moment, const struct gigabyte *g, int nr)
{
	int i;

	for (i = 0; i < nr; i++) {
		if (!g[i].present)
			continue;
		printf("gigabyte\t%d\t%s\t%d\t%s", round, moment, i, g[i].zone[0] ? g[i].zone : "-");
		printf("\t%llu\t%llu\t%llu\t%llu\t%llu\t%llu\t%llu\n",
		       (unsigned long long)g[i].present, (unsigned long long)g[i].reserved,
		       (unsigned long long)g[i].slab, (unsigned long long)g[i].pgtable,
		       (unsigned long long)g[i].other, (unsigned long long)g[i].movable,
		       (unsigned long long)g[i].free);
	}
}

/* What was counted at the start of a round, or since */
struct price {
	uint64_t vmstat[NR_COUNTERS];
	uint64_t work[NR_WORKERS];	/* in the mixed load only, whose time is fixed */
	uint64_t atomic_asked, atomic_failed;
	uint64_t irqsoff_us;	/* longest section, if that tracer is on */
	double surge_seconds;
	bool surge_full;
};

static void read_price(struct price *p)
{
	unsigned int i;

	for (i = 0; i < NR_COUNTERS; i++)
		p->vmstat[i] = vmstat(counters[i]);
	p->atomic_asked = field_of("/sys/kernel/debug/storm_tool/burst", "asked");
	p->atomic_failed = field_of("/sys/kernel/debug/storm_tool/burst", "failed");
	p->irqsoff_us = read_number(LONGEST_IRQSOFF);
}

static void print_head(void)
{
	unsigned int i;

	printf("round_head\tround\tmoment\ttainted\tobtainable\tkernel_peak_mib");
	printf("\tsurge_seconds\tsurge_full\tirqsoff_us");
	for (i = 0; i < NR_COUNTERS; i++)
		printf("\t%s", counters[i]);
	printf("\tatomic_asked\tatomic_failed");
	for (i = 0; i < NR_WORKERS; i++) {
		if (workers[i].counted)
			printf("\twork_%s", workers[i].name);
	}
	printf("\n");
}

static void print_price(const struct price *before, const struct price *after)
{
	unsigned int i;

	printf("\t%.1f\t%d\t%llu", after->surge_seconds, after->surge_full,
	       (unsigned long long)after->irqsoff_us);
	for (i = 0; i < NR_COUNTERS; i++)
		printf("\t%llu", (unsigned long long)(after->vmstat[i] - before->vmstat[i]));
	printf("\t%llu", (unsigned long long)(after->atomic_asked - before->atomic_asked));
	printf("\t%llu", (unsigned long long)(after->atomic_failed - before->atomic_failed));
	for (i = 0; i < NR_WORKERS; i++) {
		if (workers[i].counted)
			printf("\t%llu", (unsigned long long)after->work[i]);
	}
	printf("\n");
}

/* Count, then allocate 1 GiB pages; the counts are taken before that helps */
static void count_and_obtain(struct control *c, int round, const char *moment, uint64_t peak,
		 const struct price *before, const struct price *after)
{
	static struct gigabyte g[MAX_GIGABYTES];
	int nr = count_gigabytes(g, MAX_GIGABYTES), i, tainted = 0;

	if (nr < 0) {
		storm_error(c, "the gigabytes cannot be counted");
		return;
	}
	for (i = 0; i < nr; i++)
		tainted += is_tainted(&g[i]);
	print_gigabytes(round, moment, g, nr);
	printf("round\t%d\t%s\t%d\t%ld\t%llu", round, moment, tainted, obtain_gigantic(c),
	       (unsigned long long)(peak / MIB));
	print_price(before, after);
	fflush(stdout);
}

static void drop_caches(void)
{
	sync();
	write_text("/proc/sys/vm/drop_caches", "3");
}

/* Slabs with nothing in them, which a cache keeps at hand, go back */
static void shrink_slabs(void)
{
	DIR *dir = opendir("/sys/kernel/slab");
	struct dirent *entry;
	char path[300];

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", entry->d_name);
		write_text(path, "1");
	}
	if (dir)
		closedir(dir);
}

static void progress(int round, const char *what)
{
	printf("progress\tround %d: %s\n", round, what);
	fflush(stdout);
}

/* Mixed load; what it gets done is added up in @price */
static uint64_t run_steady(struct control *c, double seconds, struct price *price)
{
	uint64_t before[NR_WORKERS], peak;
	enum worker_id id;

	for (id = 0; id < NR_WORKERS; id++)
		before[id] = c->work[id];
	peak = run_phase(c, PHASE_STEADY, seconds);
	for (id = 0; id < NR_WORKERS; id++)
		price->work[id] += c->work[id] - before[id];
	return peak;
}

/*
 * The load goes on only when the surge has given its memory back: what it allocates
 * before that comes to lie where no other memory was left.
 */
static bool run_surge(struct control *c, struct price *price, uint64_t *peak)
{
	uint64_t scanned = vmstat("pgscan_kswapd") + vmstat("pgscan_direct"), most;
	double start = now();

	most = run_phase(c, PHASE_SURGE, 30 + c->total / GIB * 15);
	*peak = most > *peak ? most : *peak;
	price->surge_seconds = now() - start;
	price->surge_full = surge_is_over(c) &&
			    vmstat("pgscan_kswapd") + vmstat("pgscan_direct") > scanned;
	return wait_for_rest(c, PHASE_HOLD);
}

/* They begin alike in every round, with nothing */
static void start_all(struct control *c)
{
	enum worker_id id;

	c->phase = PHASE_HOLD;
	for (id = 0; id < NR_WORKERS; id++)
		start_worker(c, id);
}

/* Workers end by themselves; one that hangs is not waited for */
static void end_all(struct control *c)
{
	double end = now() + 30;
	enum worker_id id;

	c->phase = PHASE_END;
	while (now() < end && waitpid(-1, NULL, WNOHANG) >= 0)
		usleep(10000);
	for (id = 0; id < NR_WORKERS; id++) {
		if (pids[id])
			kill(pids[id], SIGKILL);
		pids[id] = 0;
	}
}

static bool one_round(struct control *c, int round, double seconds)
{
	struct price before, after = { 0 };
	uint64_t peak;

	write_text(LONGEST_IRQSOFF, "0");
	read_price(&before);
	start_all(c);
	progress(round, "mixed load");
	peak = run_steady(c, seconds / 2, &after);
	progress(round, "surge of kernel memory");
	if (!run_surge(c, &after, &peak))
		return false;
	progress(round, "mixed load");
	run_steady(c, seconds / 2, &after);
	progress(round, "counting");
	if (!wait_for_rest(c, PHASE_HOLD))
		return false;
	read_price(&after);
	count_and_obtain(c, round, "loaded", peak, &before, &after);
	if (!wait_for_rest(c, PHASE_DROP))
		return false;
	end_all(c);
	/* Inodes go when nothing refers to them any more: the second time, and by RCU */
	drop_caches();
	drop_caches();
	usleep(500000);
	shrink_slabs();
	count_and_obtain(c, round, "dropped", peak, &before, &after);
	return true;
}

int main(int argc, char **argv)
{
	struct price none = { 0 };
	struct control *c;
	bool good = true;
	int round, rounds;

	if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "spoil"))) {
		fprintf(stderr, "usage: storm ROUNDS SECONDS SEED [spoil]\n");
		return 4;
	}
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (c == MAP_FAILED)
		return 1;
	write_text("/proc/self/oom_score_adj", "-1000");
	rounds = atoi(argv[1]);
	c->seed = strtoull(argv[3], NULL, 0);
	c->spoil = argc == 5;
	c->total = meminfo("MemTotal:");

	print_head();
	drop_caches();
	count_and_obtain(c, 0, "dropped", kernel_memory(), &none, &none);
	for (round = 1; round <= rounds && good; round++)
		good = one_round(c, round, atof(argv[2])) && !c->errors;
	end_all(c);
	if (c->errors)
		printf("storm: %llu errors\n", (unsigned long long)c->errors);
	return !good || c->errors;
}
