// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of what refilling and draining the per-CPU lists does to the free lists
 * of the running kernel: the same pages are handed out and the same blocks are
 * put together again, whatever the order of allocating and freeing.
 *
 * Free pages have one right place: the largest aligned blocks that they make,
 * each on the list of its pageblock's migratetype. The test works it out for
 * the pages of an arena and compares it, page by page, with a map that
 * modules/bulk_test.ko draws of the free lists.
 *
 * Needs root. Somebody else may take a free page of the arena before the map is
 * drawn, so a map that does not match gets a few more chances.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "modules/bulk_test.h"

#define MODULE_FILE	"modules/bulk_test.ko"
#define TRIES		5
#define MAX_PAGES	(BT_BLOCKS << BT_ORDERS)
#define TAINT_WARN	0x200

#define CHURN_BYTES	(48UL << 20)
#define CHURN_ROUNDS	20
#define CHURN_STACK	(256 << 10)

/* Slow where every page is poisoned and checked */
#define BULK_TEST(name)	TEST_F_TIMEOUT(bulk, name, 300)

/* Orders the per-CPU lists hold on every kernel */
static const unsigned int orders[] = { 0, 1, 2, 3 };

/* In which order are the pieces of the arena freed? */
enum pattern {
	IN_ORDER,
	REVERSE,
	RANDOM,
	INTERLEAVED,	/* every other one, then the rest */
	SWAPPED,	/* 1 0 3 2 5 4 */
	ZIGZAG,		/* eight up, eight down */
	ALTERNATING,	/* the first piece of each block, the second of each, ... */
	PATTERNS
};

static const char * const pattern_names[] = {
	"in order", "in reverse", "at random", "interleaved", "swapped", "zigzag",
	"alternating between blocks",
};

static int load_module(void)
{
	int fd, ret;

	fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, "", 0);
	if (ret && errno == EEXIST)
		ret = 0;
	close(fd);
	return ret ? -errno : 0;
}

static int pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static long long read_number(const char *path)
{
	long long number = -1;
	FILE *f = fopen(path, "re");

	if (f) {
		if (fscanf(f, "%lld", &number) != 1)
			number = -1;
		fclose(f);
	}
	return number;
}

static bool guard_pages(void)
{
	char line[4096] = "";
	FILE *f = fopen("/proc/cmdline", "re");

	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		*line = 0;
	fclose(f);
	return strstr(line, "debug_guardpage_minorder");
}

/* A fixed sequence, so that a failure can be repeated */
static unsigned int random_below(unsigned int limit)
{
	static __u64 state = 88172645463325252ULL;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % limit;
}

FIXTURE(bulk)
{
	int fd;
	struct bt_arena arena;
	unsigned int pages;	/* of a block */
	__u32 *index;	/* pieces to free, in this order */
	bool *held;		/* by page of the arena */
	__u16 *map;
	__u16 *expected;
	__u64 *pfns;		/* of the last burst */
};

#define MAX_BURST	262144

FIXTURE_SETUP(bulk)
{
	int ret;

	if (geteuid())
		SKIP(return, "needs root");
	ASSERT_EQ(pin_to_cpu(0), 0);
	ret = load_module();
	if (ret)
		SKIP(return, "cannot load %s: %s", MODULE_FILE, strerror(-ret));
	self->fd = open(BT_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	self->index = calloc(MAX_PAGES, sizeof(*self->index));
	self->held = calloc(MAX_PAGES, sizeof(*self->held));
	self->map = calloc(MAX_PAGES, sizeof(*self->map));
	self->expected = calloc(MAX_PAGES, sizeof(*self->expected));
	self->pfns = calloc(MAX_BURST, sizeof(*self->pfns));
	ASSERT_TRUE(self->index && self->held && self->map && self->expected && self->pfns);
	/* A page fault could be served from the arena */
	ASSERT_EQ(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
}

FIXTURE_TEARDOWN(bulk)
{
	close(self->fd);
	syscall(SYS_delete_module, "bulk_test", O_NONBLOCK);
	free(self->index);
	free(self->held);
	free(self->map);
	free(self->expected);
	free(self->pfns);
}

/* @shapes lists the shapes that the blocks of the arena take turns with */
static int make_arena(struct _test_data_bulk *self, unsigned int order,
		      const unsigned int *shapes, unsigned int nr_shapes)
{
	struct bt_arena *a = &self->arena;
	unsigned int i;

	memset(a, 0, sizeof(*a));
	a->order = order;
	a->blocks = 6;
	for (i = 0; i < a->blocks; i++)
		a->shape[i] = shapes[i % nr_shapes];
	if (ioctl(self->fd, BT_IOC_ARENA, a))
		return -errno;
	self->pages = 1 << a->max_order;
	memset(self->held, true, a->blocks * self->pages);
	return 0;
}

#define ARENA(order, ...) do {							\
	static const unsigned int shapes_[] = { __VA_ARGS__ };			\
										\
	ASSERT_EQ(make_arena(self, order, shapes_, ARRAY_SIZE(shapes_)), 0);	\
} while (0)

static unsigned int nr_pieces(const struct _test_data_bulk *self)
{
	return (self->arena.blocks * self->pages) >> self->arena.order;
}

/* Which piece is the @i th of @n to be freed? */
static unsigned int nth_piece(const struct _test_data_bulk *self, enum pattern pattern,
			      unsigned int i, unsigned int n)
{
	unsigned int blocks = self->arena.blocks;

	switch (pattern) {
	case REVERSE:
		return n - 1 - i;
	case INTERLEAVED:
		return i < n / 2 ? 2 * i : 2 * (i - n / 2) + 1;
	case SWAPPED:
		return i ^ 1;
	case ZIGZAG:
		return i & 8 ? i ^ 7 : i;
	case ALTERNATING:
		return i % blocks * (n / blocks) + i / blocks;
	default:
		return i;
	}
}

static void order_pieces(struct _test_data_bulk *self, enum pattern pattern)
{
	unsigned int i, j, n = nr_pieces(self);
	__u32 piece;

	for (i = 0; i < n; i++)
		self->index[i] = nth_piece(self, pattern, i, n);
	for (i = n - 1; pattern == RANDOM && i; i--) {
		j = random_below(i + 1);
		piece = self->index[i];
		self->index[i] = self->index[j];
		self->index[j] = piece;
	}
}

/* Choose pieces in stretches, with holes between them, some of a single piece */
static void choose_pieces(bool *chosen, unsigned int n)
{
	bool now = true;
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (!random_below(12))
			now = !now;
		chosen[i] = now && random_below(50);
	}
}

/* What a free block of the pages from @first on would be listed as */
static __u16 map_entry(const struct _test_data_bulk *self, unsigned int first,
		       unsigned int order)
{
	static const unsigned int types[] = {
		[BT_UNMOVABLE] = 0, [BT_MOVABLE] = 1, [BT_RECLAIMABLE] = 2,
	};

	return BT_MAP(order, types[self->arena.shape[first / self->pages]]);
}

static void expect_range(struct _test_data_bulk *self, unsigned int first, unsigned int order)
{
	if (!memchr(&self->held[first], true, 1 << order)) {
		self->expected[first] = map_entry(self, first, order);
		return;
	}
	if (!order)
		return;
	expect_range(self, first, order - 1);
	expect_range(self, first + (1 << (order - 1)), order - 1);
}

/* The first page of the arena where the map is not as it should be; -1 if none */
static int wrong_page(struct _test_data_bulk *self)
{
	unsigned int i, n = self->arena.blocks * self->pages;

	memset(self->expected, 0, n * sizeof(*self->expected));
	for (i = 0; i < self->arena.blocks; i++)
		expect_range(self, i * self->pages, self->arena.max_order);
	for (i = 0; i < n; i++) {
		if (self->map[i] != self->expected[i])
			return i;
	}
	return -1;
}

/* Free the pieces that are @chosen and held, or those that are held if NULL */
static int free_pieces(struct _test_data_bulk *self, enum pattern pattern,
		       const bool *chosen, struct bt_free *f)
{
	unsigned int order = self->arena.order;
	unsigned int i, n = 0;
	__u32 piece;

	order_pieces(self, pattern);
	for (i = 0; i < nr_pieces(self); i++) {
		piece = self->index[i];
		if (!self->held[piece << order] || (chosen && !chosen[piece]))
			continue;
		memset(&self->held[piece << order], false, 1 << order);
		self->index[n++] = piece;
	}
	*f = (struct bt_free) {
		.set = BT_ARENA,
		.count = n,
		.index = (uintptr_t)self->index,
		.map = (uintptr_t)self->map,
	};
	return ioctl(self->fd, BT_IOC_FREE, f) ? -errno : 0;
}

static const char *describe(struct _test_data_bulk *self, int page)
{
	static char text[96];

	snprintf(text, sizeof(text), "page %#x of block %u: map %#x, expected %#x",
		 page % self->pages, page / self->pages, self->map[page],
		 self->expected[page]);
	return text;
}

/* Free a part of the arena, then the rest; false when a map is wrong */
static bool merges_once(struct __test_metadata *_metadata, struct _test_data_bulk *self,
			enum pattern pattern)
{
	static bool chosen[MAX_PAGES];
	struct bt_free f;
	int wrong;

	choose_pieces(chosen, nr_pieces(self));
	ASSERT_EQ(free_pieces(self, pattern, chosen, &f), 0);
	wrong = wrong_page(self);
	if (wrong >= 0) {
		TH_LOG("order %u freed %s, a part: %s", self->arena.order,
		       pattern_names[pattern], describe(self, wrong));
		return false;
	}
	ASSERT_EQ(free_pieces(self, pattern, NULL, &f), 0);
	wrong = wrong_page(self);
	if (wrong >= 0)
		TH_LOG("order %u freed %s: %s", self->arena.order, pattern_names[pattern],
		       describe(self, wrong));
	return wrong < 0;
}

static void check_merges_of(struct __test_metadata *_metadata, struct _test_data_bulk *self,
			    enum pattern pattern, unsigned int order)
{
	bool same = false;
	int tries;

	for (tries = 0; tries < TRIES && !same; tries++) {
		ARENA(order, BT_MOVABLE);
		same = merges_once(_metadata, self, pattern);
	}
	EXPECT_TRUE(same);
}

static void check_merges(struct __test_metadata *_metadata, struct _test_data_bulk *self,
			 enum pattern pattern)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(orders); i++)
		check_merges_of(_metadata, self, pattern, orders[i]);
}

BULK_TEST(same_merges_in_order)
{
	check_merges(_metadata, self, IN_ORDER);
}

BULK_TEST(same_merges_in_reverse)
{
	check_merges(_metadata, self, REVERSE);
}

BULK_TEST(same_merges_at_random)
{
	check_merges(_metadata, self, RANDOM);
}

BULK_TEST(same_merges_interleaved)
{
	check_merges(_metadata, self, INTERLEAVED);
}

BULK_TEST(same_merges_swapped)
{
	check_merges(_metadata, self, SWAPPED);
}

BULK_TEST(same_merges_zigzag)
{
	check_merges(_metadata, self, ZIGZAG);
}

/* Transparent huge pages have per-CPU lists too; an entry is a pageblock */
BULK_TEST(same_merges_of_pageblocks)
{
	check_merges_of(_metadata, self, IN_ORDER, BT_PAGEBLOCK);
	check_merges_of(_metadata, self, REVERSE, BT_PAGEBLOCK);
	check_merges_of(_metadata, self, RANDOM, BT_PAGEBLOCK);
}

/* Neighbouring blocks of several migratetypes: each page on its own list */
BULK_TEST(same_merges_with_mixed_migratetypes)
{
	unsigned int i, tries;
	enum pattern pattern;
	bool same;

	for (i = 0; i < ARRAY_SIZE(orders) * PATTERNS; i++) {
		same = false;
		pattern = i % PATTERNS;
		for (tries = 0; tries < TRIES && !same; tries++) {
			ARENA(orders[i / PATTERNS], BT_UNMOVABLE, BT_MOVABLE, BT_RECLAIMABLE);
			same = merges_once(_metadata, self, pattern);
		}
		EXPECT_TRUE(same);
	}
}

/* Account and lists at one moment, which the rest of the system may disturb */
static bool counted_once(struct _test_data_bulk *self, struct bt_count *c, const char **what)
{
	unsigned long long free = 0, blocks = 0, listed;
	unsigned int order, type;

	for (order = 0; order < BT_ORDERS; order++) {
		listed = 0;
		for (type = 0; type < BT_TYPES; type++) {
			listed += c->listed[type][order];
			if (type == c->isolate)
				continue;
			free += c->listed[type][order] << order;
			if (order >= self->arena.block_order)
				blocks += c->listed[type][order] << order;
		}
		*what = "nr_free";
		if (listed != c->nr_free[order])
			return false;
	}
	*what = "free pages";
	if (free != c->free)
		return false;
	*what = "free pages in whole pageblocks";
	if (blocks != c->free_blocks)
		return false;
	*what = "pages on per-CPU lists";
	return c->pcp_count == c->pcp_listed;
}

static unsigned long long listed_pages(const struct bt_count *c, unsigned int type)
{
	unsigned long long pages = 0;
	unsigned int order;

	for (order = 0; type < BT_TYPES && order < BT_ORDERS; order++)
		pages += c->listed[type][order] << order;
	return pages;
}

/* The numbers behind "Node N, zone NAME" of a line, and @type if there is one */
static int zone_numbers(const struct bt_arena *a, const char *line, const char *type,
			unsigned long long *numbers)
{
	unsigned int node, n;
	char name[32];
	int end = 0;

	if (sscanf(line, "Node %u, zone %31[^, ]%n", &node, name, &end) != 2 || !end)
		return 0;
	if (node != a->node || strcmp(name, a->zone))
		return 0;
	line += end;
	if (type) {
		line = strstr(line, type);
		if (!line)
			return 0;
		line += strlen(type);
	}
	for (n = 0; n < BT_ORDERS && sscanf(line, " %llu%n", &numbers[n], &end) == 1; n++)
		line += end;
	return n;
}

/* Does the line of @path that is about the arena's zone, and @type, show @want? */
static bool file_shows(struct _test_data_bulk *self, const char *path, const char *type,
		       const __u64 *want)
{
	unsigned int i, n = self->arena.max_order + 1;
	unsigned long long numbers[BT_ORDERS];
	bool same = false;
	char line[512];
	FILE *f;

	f = fopen(path, "re");
	if (!f)
		return false;
	/* The second table of pagetypeinfo counts something else */
	while (fgets(line, sizeof(line), f) && strncmp(line, "Number of", 9)) {
		if (zone_numbers(&self->arena, line, type, numbers) != (int)n)
			continue;
		same = true;
		for (i = 0; i < n; i++)
			same &= numbers[i] == want[i];
		break;
	}
	fclose(f);
	return same;
}

static bool counted(struct _test_data_bulk *self, struct bt_count *c, const char **what)
{
	*what = "ioctl";
	memset(c, 0, sizeof(*c));
	if (ioctl(self->fd, BT_IOC_COUNT, c))
		return false;
	if (!counted_once(self, c, what))
		return false;
	*what = "free CMA pages";
	if (c->cma < BT_TYPES && listed_pages(c, c->cma) != c->free_cma)
		return false;
	*what = "free highatomic pages";
	if (listed_pages(c, c->highatomic) != c->free_highatomic)
		return false;
	*what = "buddyinfo";
	if (!file_shows(self, "/proc/buddyinfo", NULL, c->nr_free))
		return false;
	*what = "pagetypeinfo";
	return file_shows(self, "/proc/pagetypeinfo", "type    Unmovable", c->listed[0]) &&
	       file_shows(self, "/proc/pagetypeinfo", "type      Movable", c->listed[1]) &&
	       file_shows(self, "/proc/pagetypeinfo", "type  Reclaimable", c->listed[2]);
}

/* Reading /proc takes pages itself, so what differs gets a second look */
#define EXPECT_COUNTED(c) do {							\
	const char *what_ = "";							\
	bool ok_ = false;							\
	int try_;								\
										\
	for (try_ = 0; try_ < 20 && !ok_; try_++)				\
		ok_ = counted(self, c, &what_);					\
	EXPECT_TRUE(ok_)							\
		TH_LOG("lists and account differ: %s", what_);			\
} while (0)

BULK_TEST(same_accounts)
{
	unsigned int i, order;
	struct bt_count c;
	struct bt_free f;

	for (i = 0; i < PATTERNS * ARRAY_SIZE(orders); i++) {
		order = orders[i / PATTERNS];
		ARENA(order, BT_MOVABLE, BT_UNMOVABLE, BT_RECLAIMABLE);
		EXPECT_COUNTED(&c);
		ASSERT_EQ(free_pieces(self, i % PATTERNS, NULL, &f), 0);
		EXPECT_COUNTED(&c);
	}
}

/*
 * The arena's blocks, freed whole, head their lists. Get through what is in
 * smaller blocks, and then @share percent of the arena.
 */
static int burst_from_arena(struct _test_data_bulk *self, unsigned int shape,
			    unsigned int order, unsigned int share, struct bt_burst *b)
{
	unsigned int arena = self->arena.blocks * self->pages;
	unsigned int type = map_entry(self, 0, 0) >> 8;
	struct bt_count *c = calloc(1, sizeof(*c));
	unsigned long long small = 0;
	unsigned int i;
	int ret = -errno;

	if (c && !ioctl(self->fd, BT_IOC_COUNT, c)) {
		for (i = order; i < self->arena.max_order; i++)
			small += c->listed[type][i] << i;
		*b = (struct bt_burst) {
			.shape = shape,
			.order = order,
			.count = (small + arena * share / 100) >> order,
			.pfns = (uintptr_t)self->pfns,
			.map = (uintptr_t)self->map,
		};
		if (b->count > MAX_BURST)
			b->count = MAX_BURST;
		ret = ioctl(self->fd, BT_IOC_BURST, b) ? -errno : 0;
	}
	free(c);
	return ret;
}

/* The offset of @pfn in the arena; -1 if it is not in there */
static int arena_page(const struct _test_data_bulk *self, __u64 pfn)
{
	unsigned int i;

	for (i = 0; i < self->arena.blocks; i++) {
		if (pfn - self->arena.pfn[i] < self->pages)
			return i * self->pages + pfn - self->arena.pfn[i];
	}
	return -1;
}

/*
 * Pages of the arena in a burst: none twice, and within each block in ascending
 * order. Marks them as held; returns their number, negative if that is not so.
 */
static int take_burst(struct _test_data_bulk *self, const struct bt_burst *b)
{
	int last[BT_BLOCKS], page, n = 0;
	unsigned int i;

	memset(last, -1, sizeof(last));
	for (i = 0; i < b->done; i++) {
		page = arena_page(self, self->pfns[i]);
		if (page < 0)
			continue;
		if (self->held[page] || page <= last[page / self->pages])
			return -1;
		last[page / self->pages] = page;
		memset(&self->held[page], true, 1 << b->order);
		n += 1 << b->order;
	}
	return n;
}

static int compare_pfns(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return (x > y) - (x < y);
}

/* Does a burst hold no page twice, in the arena or elsewhere? */
static bool distinct(struct _test_data_bulk *self, const struct bt_burst *b)
{
	unsigned int i;

	qsort(self->pfns, b->done, sizeof(*self->pfns), compare_pfns);
	for (i = 1; i < b->done; i++) {
		if (self->pfns[i] - self->pfns[i - 1] < 1U << b->order)
			return false;
	}
	return true;
}

/* Free a burst in order; what was held of the arena is free again */
static int free_burst(struct _test_data_bulk *self)
{
	struct bt_free f = { .set = BT_BURST, .map = (uintptr_t)self->map };

	memset(self->held, false, self->arena.blocks * self->pages);
	return ioctl(self->fd, BT_IOC_FREE, &f) ? -errno : 0;
}

/* One burst from fresh blocks and back; false when a page is out of place */
static bool pages_once(struct __test_metadata *_metadata, struct _test_data_bulk *self,
		       unsigned int shape, unsigned int order, unsigned int share)
{
	struct bt_burst b;
	struct bt_free f;
	int taken, wrong;

	ASSERT_EQ(free_pieces(self, IN_ORDER, NULL, &f), 0);
	wrong = wrong_page(self);
	if (wrong >= 0) {
		TH_LOG("order %u, not fresh: %s", order, describe(self, wrong));
		return false;
	}
	ASSERT_EQ(burst_from_arena(self, shape, order, share, &b), 0);
	taken = take_burst(self, &b);
	EXPECT_TRUE(distinct(self, &b));
	/* Somebody else may have returned one in between: that is not so each time */
	if (taken < 0)
		TH_LOG("order %u: pages not in ascending order", order);
	/* Per-CPU lists are empty: what is not held is free, and in one place */
	wrong = wrong_page(self);
	if (wrong >= 0)
		TH_LOG("order %u, %d pages taken: %s", order, taken, describe(self, wrong));
	if (wrong >= 0 || taken <= 0)
		return false;
	ASSERT_EQ(free_burst(self), 0);
	wrong = wrong_page(self);
	if (wrong >= 0)
		TH_LOG("order %u, all free again: %s", order, describe(self, wrong));
	return wrong < 0;
}

/* Bursts that end somewhere within a block, and take all of some before it */
static void check_pages(struct __test_metadata *_metadata, struct _test_data_bulk *self,
			unsigned int shape)
{
	static const unsigned int shares[] = { 11, 50, 61, 83 };
	unsigned int i, tries;
	bool same;

	for (i = 0; i < ARRAY_SIZE(shares) * ARRAY_SIZE(orders); i++) {
		same = false;
		for (tries = 0; tries < TRIES && !same; tries++) {
			ASSERT_EQ(make_arena(self, BT_WHOLE, &shape, 1), 0);
			same = pages_once(_metadata, self, shape, orders[i / ARRAY_SIZE(shares)],
					  shares[i % ARRAY_SIZE(shares)]);
		}
		EXPECT_TRUE(same);
	}
}

BULK_TEST(same_pages_movable)
{
	check_pages(_metadata, self, BT_MOVABLE);
}

BULK_TEST(same_pages_unmovable)
{
	check_pages(_metadata, self, BT_UNMOVABLE);
}

/* Drained while their pageblocks are isolated, the pieces end up in isolation */
BULK_TEST(isolated_while_on_list)
{
	unsigned int i, block;
	int failed = 0;
	struct bt_count c;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		ARENA(orders[i], BT_MOVABLE, BT_MOVABLE, BT_RECLAIMABLE);
		for (block = 0; block < self->arena.blocks; block++)
			failed += !!ioctl(self->fd, BT_IOC_CONTIG, block);
		EXPECT_COUNTED(&c);
	}
	/* Somebody else may hold a page of one */
	EXPECT_LE(failed, 2);
}

/* Maps, touches and unmaps memory until told to stop */
static void *churn(void *arg)
{
	atomic_bool *stop = arg;
	char *p;

	pin_to_cpu(sysconf(_SC_NPROCESSORS_ONLN) - 1);
	while (!*stop) {
		p = mmap(NULL, CHURN_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (p == MAP_FAILED)
			break;
		munmap(p, CHURN_BYTES);
	}
	return NULL;
}

/* Refills and drains on two CPUs at once lose nothing */
BULK_TEST(nothing_lost_under_churn)
{
	long long warned = read_number("/proc/sys/kernel/tainted") & TAINT_WARN;
	struct bt_count before, after;
	atomic_bool stop = false;
	pthread_attr_t attr;
	struct bt_burst b;
	struct bt_free f;
	pthread_t thread;
	unsigned int i;

	ARENA(0, BT_MOVABLE, BT_UNMOVABLE);
	ASSERT_EQ(free_pieces(self, IN_ORDER, NULL, &f), 0);
	EXPECT_COUNTED(&before);
	/* A small stack: it stays allocated, and locked */
	ASSERT_EQ(pthread_attr_init(&attr), 0);
	ASSERT_EQ(pthread_attr_setstacksize(&attr, CHURN_STACK), 0);
	ASSERT_EQ(pthread_create(&thread, &attr, churn, &stop), 0);
	for (i = 0; i < CHURN_ROUNDS; i++) {
		if (burst_from_arena(self, i % BT_SHAPES, orders[i % ARRAY_SIZE(orders)], 80, &b))
			continue;
		ASSERT_TRUE(distinct(self, &b));
		ASSERT_EQ(free_burst(self), 0);
	}
	stop = true;
	pthread_join(thread, NULL);
	/* Nothing is left to free, but the per-CPU lists are drained */
	ASSERT_EQ(free_burst(self), 0);
	EXPECT_COUNTED(&after);
	TH_LOG("%llu pages free before, %llu after", before.free, after.free);
	EXPECT_LT(llabs((long long)(before.free - after.free)), 1024);
	/* The kernel's own checks of list and label warn once, and taint */
	EXPECT_EQ(read_number("/proc/sys/kernel/tainted") & TAINT_WARN, warned);
}

/* A refill takes a block off the free lists once, not once for each page */
BULK_TEST(refill_takes_blocks)
{
	static const unsigned int most[] = { 0, 1, 3 };
	struct bt_burst b;
	struct bt_free f;
	unsigned int i;

	if (guard_pages())
		SKIP(return, "with guard pages, a block gives one page at a time");
	for (i = 0; i < ARRAY_SIZE(most); i++) {
		ARENA(BT_WHOLE, BT_MOVABLE);
		if (!self->arena.traced)
			SKIP(return, "needs CONFIG_TRACEPOINTS");
		ASSERT_EQ(free_pieces(self, IN_ORDER, NULL, &f), 0);
		ASSERT_EQ(burst_from_arena(self, BT_MOVABLE, most[i], 80, &b), 0);
		TH_LOG("order %u: %llu pages in %llu steps", most[i], b.refill.pages,
		       b.refill.steps);
		ASSERT_GT(b.refill.pages, self->pages);
		/*
		 * Else a step each. In a small zone a batch of a high order has
		 * three entries or so, and often comes from two blocks.
		 */
		EXPECT_LE(b.refill.steps * 4, (b.refill.pages >> most[i]) * 3);
		ASSERT_EQ(free_burst(self), 0);
	}
}

/* Freed in either direction, neighbours are filed as blocks; each is reported */
BULK_TEST(drain_frees_blocks)
{
	static const unsigned int most[] = { 0, 1, 3 };
	enum pattern pattern;
	struct bt_free f;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(most) * PATTERNS; i++) {
		pattern = i % PATTERNS;
		ARENA(most[i / PATTERNS], BT_MOVABLE);
		if (!self->arena.traced)
			SKIP(return, "needs CONFIG_TRACEPOINTS");
		ASSERT_EQ(free_pieces(self, pattern, NULL, &f), 0);
		TH_LOG("order %u freed %s: %llu pages in %llu steps", self->arena.order,
		       pattern_names[pattern], f.drain.pages, f.drain.steps);
		EXPECT_EQ(f.drain.pages, self->arena.blocks * self->pages);
		if (pattern == IN_ORDER || pattern == REVERSE)
			EXPECT_LE(f.drain.steps * 2, f.drain.pages >> self->arena.order);
	}
}

TEST_HARNESS_MAIN
