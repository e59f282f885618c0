/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of superpageblocks share: reading the tables, and blocks of pages
 * from modules/spb_test.ko. Needs root. Include kselftest_harness.h first.
 *
 * Without the kernel option, or the files that a test looks at, it is skipped; with
 * SPB_REQUIRED in the environment it fails.
 */
#ifndef SUPERPAGEBLOCK_TABLE_H
#define SUPERPAGEBLOCK_TABLE_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modules/spb_test.h"

#define MODULE_FILE	"modules/spb_test.ko"
#define TABLE		"/sys/kernel/debug/superpageblocks"
#define RECOUNT		"/sys/kernel/debug/superpageblocks_check"
#define TRIES		20
#define MAX_ROWS	4096
#define MAX_ZONES	16
#define STEPS		20000
#define OFFLINE_SECONDS	20

/* End the test where @path is not there */
#define NEED(path) do {								\
	if (access(path, F_OK)) {						\
		ASSERT_EQ(getenv("SPB_REQUIRED"), NULL) TH_LOG("no %s", path);	\
		SKIP(return, "needs %s", path);					\
	}									\
} while (0)

/* The module's device, for a fixture that has a member fd */
#define OPEN_DEVICE() do {							\
	self->fd = open_device();						\
	if (self->fd < 0 && !getenv("SPB_REQUIRED"))				\
		SKIP(return, "cannot load %s: %s", MODULE_FILE, strerror(-self->fd)); \
	ASSERT_GE(self->fd, 0)							\
		TH_LOG("%s does not load; run as root in the folder of the test", MODULE_FILE); \
} while (0)

struct row {
	int node;
	char zone[16];
	unsigned long number, start_pfn, pages, free, usable, reserved, free_b;
	unsigned long nonmovable, movable;
	char category[16];
	char fullness[8];
};

static struct row rows[MAX_ROWS];

/* As /proc/zoneinfo has it; the states in the order of @states */
struct zone_info {
	int node;
	char name[16];
	unsigned long free, spanned, present, start_pfn;
	unsigned long nr_state[5];
};

static const char * const states[] = { "tainted", "clean", "empty", "isolated", "absent" };

static inline int read_table(void)
{
	FILE *f = fopen(TABLE, "re");
	struct row *r = rows;
	char line[256];

	if (!f)
		return -errno;
	if (!fgets(line, sizeof(line), f) || strncmp(line, "node ", 5)) {
		fclose(f);
		return -EPROTO;
	}
	while (r < rows + MAX_ROWS && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%d %15s %lu %lu %lu %lu %lu %lu %lu %lu %lu %15s %7s",
			   &r->node, r->zone, &r->number, &r->start_pfn, &r->pages,
			   &r->free, &r->usable, &r->reserved, &r->free_b,
			   &r->nonmovable, &r->movable, r->category, r->fullness) != 13)
			break;
		r++;
	}
	fclose(f);

	return r - rows;
}

static inline int read_zones(struct zone_info *zones)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	struct zone_info *z = zones - 1, next;
	unsigned long value;
	char line[256], name[32];
	unsigned int i;

	if (!f)
		return -errno;
	memset(zones, 0, MAX_ZONES * sizeof(*zones));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Node %d, zone %15s", &next.node, next.name) == 2) {
			z++;
			z->node = next.node;
			memcpy(z->name, next.name, sizeof(z->name));
		}
		if (z < zones)
			continue;
		if (sscanf(line, " pages free %lu", &value) == 1)
			z->free = value;
		if (sscanf(line, " %31s %lu", name, &value) != 2)
			continue;
		if (!strcmp(name, "spanned"))
			z->spanned = value;
		if (!strcmp(name, "present"))
			z->present = value;
		if (!strcmp(name, "start_pfn:"))
			z->start_pfn = value;
		for (i = 0; i < 5 && !strncmp(name, "spb_", 4); i++) {
			if (!strcmp(name + 4, states[i]))
				z->nr_state[i] = value;
		}
	}
	fclose(f);

	return z + 1 - zones;
}

/* Differences that the recount finds in all zones, -1 without one */
static inline long recount(void)
{
	FILE *f = fopen(RECOUNT, "re");
	long wrong, sum = 0;
	char zone[16];
	int node;

	if (!f)
		return -1;
	while (fscanf(f, " Node %d, zone %15s %ld", &node, zone, &wrong) == 3)
		sum += wrong;
	fclose(f);

	return sum;
}

static inline const struct row *row_of(unsigned long pfn)
{
	int i, n = read_table();

	for (i = 0; i < n; i++) {
		if (pfn - rows[i].start_pfn < rows[i].pages)
			return &rows[i];
	}

	return NULL;
}

static inline bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);

	return ok;
}

static inline void on_alarm(int signal)
{
}

/*
 * Before offlining, and with 0 behind it: of what page_is_unmovable() takes for free
 * although it is not, such as a slab of a single page, it waits for the end, for ever
 * or until a signal
 */
static inline void interrupt_after(unsigned int seconds)
{
	struct sigaction act = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &act, NULL);
	alarm(seconds);
}

static inline bool set_memory_state(unsigned long long block, const char *state)
{
	char path[64];
	bool ok;

	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%llu/state", block);
	interrupt_after(OFFLINE_SECONDS);
	ok = write_file(path, state);
	interrupt_after(0);

	return ok;
}

/* The module's device, -errno without it */
static inline int open_device(void)
{
	int fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, "", 0);
	if (ret && errno == EEXIST)
		ret = 0;
	ret = ret ? -errno : 0;
	close(fd);
	if (ret)
		return ret;
	ret = open(ST_DEVICE, O_RDWR | O_CLOEXEC);

	return ret < 0 ? -errno : ret;
}

static inline int get_block(int fd, struct st_alloc *a, unsigned int slot,
			    enum st_shape shape, unsigned int order)
{
	a->slot = slot;
	a->shape = shape;
	a->order = order;

	return ioctl(fd, ST_IOC_ALLOC, a);
}

/* Seeded, so that a failure comes again */
static inline uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;

	return *seed >> 8;
}

/* Allocate and free blocks of all orders and kinds; returns how many had been written to */
static inline unsigned int churn(int fd, uint32_t seed, unsigned int first_slot)
{
	static bool used[ST_SLOTS];
	unsigned int i, slot, damaged = 0;
	struct st_alloc a;

	for (i = 0; i < STEPS; i++) {
		slot = first_slot + next_random(&seed) % (ST_SLOTS / 2);
		if (used[slot]) {
			damaged += ioctl(fd, ST_IOC_FREE, slot) != 0;
			used[slot] = false;
			continue;
		}
		/* Small ones more often than large ones */
		used[slot] = !get_block(fd, &a, slot, next_random(&seed) % ST_SHAPES,
					__builtin_ctz(next_random(&seed) | 1 << 10));
	}
	for (slot = first_slot; slot < first_slot + ST_SLOTS / 2; slot++) {
		if (used[slot])
			damaged += ioctl(fd, ST_IOC_FREE, slot) != 0;
	}

	return damaged;
}

/* Rows of the zone that the page is in, 0 if the page is in none */
static inline int rows_of_zone(unsigned long pfn)
{
	const struct row *row = row_of(pfn);
	int i, n, nr = 0;
	char zone[16];
	int node;

	if (!row)
		return 0;
	node = row->node;
	memcpy(zone, row->zone, sizeof(zone));
	n = read_table();
	for (i = 0; i < n; i++)
		nr += rows[i].node == node && !strcmp(rows[i].zone, zone);

	return nr;
}

#endif /* SUPERPAGEBLOCK_TABLE_H */
