// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the highatomic reserve on the running kernel's page allocator.
 *
 * A reserve is made the way the kernel makes one: high-order GFP_ATOMIC
 * requests that the low watermark sends to the slowpath. The work is done by
 * modules/highatomic_test.ko, see there.
 *
 * Needs root and a zone of more than 100 pageblocks, below which the kernel
 * reserves nothing (about 200 MiB on x86).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "modules/highatomic_test.h"

#define MODULE_FILE	"modules/highatomic_test.ko"
#define SET_RESERVE	0	/* what made the reserve */
#define SET_BURST	1

#define UDP_PORT	5000
#define UDP_PAYLOAD	60000
#define RACE_SECONDS	5
#define OFFLINE_SECONDS	5
#define TAINT_WARN	0x200

/* Slow where every page is poisoned and checked */
#define HIGHATOMIC_TEST(name)	TEST_F_TIMEOUT(highatomic, name, 300)

/* Reserved pages by the labels and free lists, in pages, from pagetypeinfo */
struct recount {
	unsigned long long reserved;
	unsigned long long free;
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

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
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

static bool write_number(const char *path, long long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", number);
	return write_file(path, text);
}

FIXTURE(highatomic)
{
	int fd;
	long long boost;
	long long min_free_kbytes;
	struct ha_zone zone;
};

#define ZONE() ASSERT_EQ(ioctl(self->fd, HA_IOC_ZONE, &self->zone), 0)

/* The most that may be reserved: 1 % of the zone in whole pageblocks */
static unsigned long long reserve_cap(const struct ha_zone *zone)
{
	unsigned long long pb = zone->pageblock_pages;

	return (zone->managed / 100 + pb - 1) / pb * pb;
}

static bool several_nodes(void)
{
	FILE *f = fopen("/sys/devices/system/node/has_memory", "re");
	char nodes[64] = "";

	if (!f)
		return false;
	if (!fgets(nodes, sizeof(nodes), f))
		*nodes = 0;
	fclose(f);
	return strpbrk(nodes, ",-");
}

/* The largest burst, above the high watermark, in pages */
static unsigned long long needed(const struct ha_zone *zone)
{
	return zone->wmark_high + 3 * reserve_cap(zone) + (96 << 20) / getpagesize();
}

/* Order-4 atomic requests below the low watermark; @pfn of the first page served */
static int make_reserve(int fd, struct ha_zone *zone, unsigned long long *pfn)
{
	struct ha_burst burst = {
		.set = SET_RESERVE,
		.shape = HA_ATOMIC,
		.order = 4,
		.count = reserve_cap(zone) >> 4,
		.leave = zone->wmark_low - 1,
	};

	if (ioctl(fd, HA_IOC_BURST, &burst))
		return -errno;
	if (pfn)
		*pfn = burst.pfn;
	return 0;
}

/* A reserve whose pages are all free, and no memory pressure */
static int make_free_reserve(int fd, struct ha_zone *zone, unsigned long long *pfn)
{
	int ret = make_reserve(fd, zone, pfn);

	if (ret)
		return ret;
	if (ioctl(fd, HA_IOC_FREE, SET_RESERVE) || ioctl(fd, HA_IOC_ZONE, zone))
		return -errno;
	return 0;
}

/* Skip "Node N, zone NAME" and a comma, return what follows; NULL for another zone */
static const char *after_zone(const char *line, const struct ha_zone *zone)
{
	char name[32];
	unsigned int node;
	int end = 0;

	if (sscanf(line, "Node %u, zone %31[^, ]%*[, ]%n", &node, name, &end) != 2 || !end)
		return NULL;
	if (node != zone->node || strcmp(name, zone->name))
		return NULL;
	return line + end;
}

static void count_free(const char *line, struct recount *count)
{
	unsigned long long blocks;
	int order, end;

	line = strstr(line, "HighAtomic");
	if (!line)
		return;
	line += strlen("HighAtomic");
	for (order = 0; sscanf(line, " %llu%n", &blocks, &end) == 1; order++, line += end)
		count->free += blocks << order;
}

/* The word @n of @line, from 0; NULL if it has fewer */
static char *nth_word(char *line, int n)
{
	char *save, *word;

	word = strtok_r(line, "\n ", &save);
	while (word && n--)
		word = strtok_r(NULL, "\n ", &save);
	return word;
}

/* Which column of the table headed by @line is HighAtomic? */
static int highatomic_column(const char *line)
{
	char copy[512];
	char *word;
	int i;

	for (i = 0; ; i++) {
		snprintf(copy, sizeof(copy), "%s", line);
		word = nth_word(copy, i);
		if (!word)
			return -1;
		if (!strcmp(word, "HighAtomic"))
			return i;
	}
}

static bool recount(const struct ha_zone *zone, struct recount *count)
{
	const char *head = "Number of blocks type";
	int column = -1;
	const char *line;
	char buf[512];
	char *word;
	FILE *f;

	memset(count, 0, sizeof(*count));
	f = fopen("/proc/pagetypeinfo", "re");
	if (!f)
		return false;
	/* With page_owner a third table follows */
	while (fgets(buf, sizeof(buf), f) && strncmp(buf, "Number of mixed", 15)) {
		if (!strncmp(buf, head, strlen(head)))
			column = highatomic_column(buf + strlen(head));
		line = after_zone(buf, zone);
		if (!line)
			continue;
		if (column < 0) {
			count_free(line, count);
			continue;
		}
		word = nth_word((char *)line, column);
		if (word)
			count->reserved = strtoull(word, NULL, 10) * zone->pageblock_pages;
	}
	fclose(f);
	return column >= 0;
}

FIXTURE_SETUP(highatomic)
{
	int ret;

	if (geteuid())
		SKIP(return, "needs root");
	if (several_nodes())
		SKIP(return, "needs a machine with memory on one node only");
	ASSERT_EQ(pin_to_cpu(0), 0);
	ret = load_module();
	if (ret)
		SKIP(return, "cannot load %s: %s", MODULE_FILE, strerror(-ret));
	self->fd = open(HA_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	ZONE();
	if (self->zone.managed / 100 < self->zone.pageblock_pages)
		SKIP(return, "zone %s is too small to reserve anything", self->zone.name);

	/* A boost would move the watermarks while the test is looking at them */
	self->boost = read_number("/proc/sys/vm/watermark_boost_factor");
	ASSERT_TRUE(write_number("/proc/sys/vm/watermark_boost_factor", 0));
	write_number("/proc/sys/vm/drop_caches", 3);
	ASSERT_EQ(mlockall(MCL_CURRENT), 0);
	ASSERT_EQ(ioctl(self->fd, HA_IOC_SQUEEZE), 0);
	ZONE();
	if (self->zone.free < needed(&self->zone))
		SKIP(return, "needs %llu free pages in zone %s, has %llu", needed(&self->zone),
		     self->zone.name, self->zone.free);
	if (self->zone.reserved_highatomic)
		SKIP(return, "the kernel did not give up its reserve of %llu pages",
		     self->zone.reserved_highatomic);
}

FIXTURE_TEARDOWN(highatomic)
{
	int set;

	if (self->boost >= 0)
		write_number("/proc/sys/vm/watermark_boost_factor", self->boost);
	if (self->min_free_kbytes > 0)
		write_number("/proc/sys/vm/min_free_kbytes", self->min_free_kbytes);
	for (set = 0; set < HA_SETS; set++)
		ioctl(self->fd, HA_IOC_FREE, set);
	close(self->fd);
	syscall(SYS_delete_module, "highatomic_test", O_NONBLOCK);
}

/* Counters and a recount that nobody changed meanwhile */
static bool settled_recount(int fd, struct ha_zone *zone, struct recount *count)
{
	struct ha_zone before;
	int tries;

	for (tries = 0; tries < 10; tries++) {
		if (ioctl(fd, HA_IOC_ZONE, &before) || !recount(&before, count) ||
		    ioctl(fd, HA_IOC_ZONE, zone))
			return false;
		if (before.reserved_highatomic == zone->reserved_highatomic &&
		    before.free_highatomic == zone->free_highatomic)
			return true;
	}
	return true;
}

/* Free highatomic pages on the lists, and labelled pageblocks, are what is accounted */
#define EXPECT_ACCOUNTED() do {							\
	struct recount count_;							\
										\
	ASSERT_TRUE(settled_recount(self->fd, &self->zone, &count_));		\
	EXPECT_EQ(count_.reserved, self->zone.reserved_highatomic);		\
	EXPECT_EQ(count_.free, self->zone.free_highatomic);			\
	EXPECT_LE(count_.free, count_.reserved);				\
} while (0)

HIGHATOMIC_TEST(slowpath_grows)
{
	ASSERT_EQ(make_reserve(self->fd, &self->zone, NULL), 0);
	EXPECT_ACCOUNTED();
	EXPECT_GT(self->zone.reserved_highatomic, 0);
	EXPECT_LE(self->zone.reserved_highatomic, reserve_cap(&self->zone));
}

/*
 * Some other atomic request of the kernel may grow the reserve once; a fastpath
 * that does so does it every time. Here and below, whoever needs a large block
 * meanwhile may take some of the reserve back.
 */
HIGHATOMIC_TEST(fastpath_does_not_grow)
{
	struct ha_burst burst = { .set = SET_BURST, .shape = HA_ATOMIC };
	int tries;

	for (burst.order = 1; burst.order <= 4; burst.order++) {
		burst.count = ((64 << 20) / getpagesize()) >> burst.order;
		for (tries = 0; tries < 3; tries++) {
			ASSERT_EQ(ioctl(self->fd, HA_IOC_BURST, &burst), 0);
			TH_LOG("order %u: %u of %u blocks, reserve grown by %lld, %llu pages free",
			       burst.order, burst.done, burst.count, burst.reserve_grown,
			       burst.free_after);
			EXPECT_EQ(burst.done, burst.count);
			EXPECT_GT(burst.free_after, self->zone.wmark_high);
			ASSERT_EQ(ioctl(self->fd, HA_IOC_FREE, SET_BURST), 0);
			if (burst.reserve_grown <= 0)
				break;
			ASSERT_EQ(ioctl(self->fd, HA_IOC_SQUEEZE), 0);
		}
		EXPECT_LE(burst.reserve_grown, 0);
	}
	EXPECT_ACCOUNTED();
}

/* A burst big enough to empty per-CPU lists and reserve, far above any watermark */
static struct ha_burst reserve_burst(const struct ha_zone *zone, unsigned int order)
{
	return (struct ha_burst) {
		.set = SET_BURST,
		.shape = HA_ATOMIC,
		.order = order,
		.count = (2 * reserve_cap(zone) + (32 << 20) / getpagesize()) >> order,
	};
}

/* The fastpath takes nearly all of a free reserve, and adds nothing to it */
static void use_reserve(struct __test_metadata *_metadata,
			struct _test_data_highatomic *self, unsigned int order)
{
	struct ha_burst burst;
	struct ha_zone before;

	ASSERT_EQ(make_free_reserve(self->fd, &self->zone, NULL), 0);
	before = self->zone;
	ASSERT_GT(before.free_highatomic, 0);

	burst = reserve_burst(&before, order);
	ASSERT_EQ(ioctl(self->fd, HA_IOC_BURST, &burst), 0);
	EXPECT_EQ(burst.done, burst.count);
	EXPECT_GT(burst.free_after, before.wmark_high);
	TH_LOG("order %u: %llu of %llu free reserved pages used, %llu reserved", order,
	       burst.reserve_used, before.free_highatomic, before.reserved_highatomic);
	EXPECT_GE(burst.reserve_used * 10, before.free_highatomic * 9);
	EXPECT_LE(burst.reserve_grown, 0);
	EXPECT_ACCOUNTED();
	EXPECT_LE(self->zone.reserved_highatomic, before.reserved_highatomic);

	ASSERT_EQ(ioctl(self->fd, HA_IOC_FREE, SET_BURST), 0);
	EXPECT_ACCOUNTED();
}

HIGHATOMIC_TEST(fastpath_uses_reserve_order_1)
{
	use_reserve(_metadata, self, 1);
}

HIGHATOMIC_TEST(fastpath_uses_reserve_order_3)
{
	use_reserve(_metadata, self, 3);
}

HIGHATOMIC_TEST(fastpath_uses_reserve_order_4)
{
	use_reserve(_metadata, self, 4);
}

/* Requests without a right to the reserve leave it alone on the fastpath */
HIGHATOMIC_TEST(others_leave_reserve_alone)
{
	static const struct { unsigned int shape, order; } others[] = {
		{ HA_ATOMIC, 0 },
		{ HA_ATOMIC_NOMEMALLOC, 1 },
		{ HA_NOWAIT, 1 },
		{ HA_KERNEL, 1 },
		{ HA_KERNEL, 4 },
	};
	struct ha_burst burst;
	unsigned int i;

	ASSERT_EQ(make_free_reserve(self->fd, &self->zone, NULL), 0);
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		burst = reserve_burst(&self->zone, others[i].order);
		burst.shape = others[i].shape;
		ASSERT_EQ(ioctl(self->fd, HA_IOC_BURST, &burst), 0);
		EXPECT_EQ(burst.done, burst.count);
		EXPECT_EQ(burst.reserve_used, 0);
		EXPECT_LE(burst.reserve_grown, 0);
		ASSERT_EQ(ioctl(self->fd, HA_IOC_FREE, SET_BURST), 0);
	}
	EXPECT_ACCOUNTED();
}

/*
 * Above low only with the reserve counted in: the request is served, and
 * kswapd is woken for those who may not use the reserve. Above low without it,
 * kswapd sleeps on.
 */
HIGHATOMIC_TEST(kswapd_woken_when_only_reserve_is_left)
{
	struct ha_burst burst = { .set = SET_BURST, .shape = HA_ATOMIC, .count = 1 };
	struct ha_zone *zone = &self->zone;

	ASSERT_EQ(make_free_reserve(self->fd, zone, NULL), 0);
	/* Order 0 has no right to the reserve, and is refused it here */
	for (burst.order = 0; burst.order <= 4; burst.order++) {
		burst.leave = zone->wmark_low + zone->free_highatomic / 2;
		ASSERT_EQ(ioctl(self->fd, HA_IOC_BURST, &burst), 0);
		EXPECT_EQ(burst.done, 1);
		EXPECT_GT(burst.free_before, zone->wmark_low);
		EXPECT_GT(burst.kswapd_woken, 0)
			TH_LOG("not woken by order %u", burst.order);
		ASSERT_EQ(ioctl(self->fd, HA_IOC_FREE, SET_BURST), 0);

		burst.leave = 0;
		ASSERT_EQ(ioctl(self->fd, HA_IOC_BURST, &burst), 0);
		EXPECT_EQ(burst.kswapd_woken, 0)
			TH_LOG("woken by order %u", burst.order);
		ASSERT_EQ(ioctl(self->fd, HA_IOC_FREE, SET_BURST), 0);
	}
}

/*
 * A reserve that is all in use, and larger than the memory left free, must not
 * hide the min watermark.
 */
HIGHATOMIC_TEST(used_reserve_keeps_min_watermark)
{
	struct ha_burst burst = { .set = SET_BURST, .shape = HA_NOWAIT };

	ASSERT_EQ(make_reserve(self->fd, &self->zone, NULL), 0);
	ZONE();
	self->min_free_kbytes = read_number("/proc/sys/vm/min_free_kbytes");
	ASSERT_TRUE(write_number("/proc/sys/vm/min_free_kbytes",
				 self->zone.reserved_highatomic * getpagesize() / 1024 / 4));
	ZONE();
	ASSERT_GT(self->zone.reserved_highatomic, 2 * self->zone.wmark_low);

	burst.leave = self->zone.wmark_low + self->zone.free_highatomic + 256;
	burst.count = 2 * burst.leave;
	ASSERT_EQ(ioctl(self->fd, HA_IOC_BURST, &burst), 0);
	EXPECT_GT(burst.done, 0);
	EXPECT_LT(burst.done, burst.count);
	/* The request stops at min; per-CPU lists blur it a little */
	EXPECT_GT(burst.free_after, self->zone.wmark_min / 2);
}

/* A reserve that is all in use must not count as unusable free memory */
HIGHATOMIC_TEST(used_reserve_is_not_subtracted)
{
	struct ha_burst burst = { .set = SET_BURST, .shape = HA_NOWAIT, .count = 128 };

	ASSERT_EQ(make_reserve(self->fd, &self->zone, NULL), 0);
	/* Others allocate too, now and then more than the margin */
	for (int tries = 0; tries < 4 && burst.done < burst.count; tries++) {
		ASSERT_EQ(ioctl(self->fd, HA_IOC_FREE, SET_BURST), 0);
		ZONE();
		ASSERT_GT(self->zone.reserved_highatomic,
			  self->zone.free_highatomic + 2 * burst.count);
		burst.leave = self->zone.wmark_min + self->zone.free_highatomic +
			      2 * burst.count;
		ASSERT_EQ(ioctl(self->fd, HA_IOC_BURST, &burst), 0);
	}
	EXPECT_EQ(burst.done, burst.count)
		TH_LOG("%llu pages free, min %llu low %llu, %llu left", burst.free_before,
		       self->zone.wmark_min, self->zone.wmark_low, burst.leave);
}

/* Hits of the per-CPU lists below low must not turn their blocks into reserve */
HIGHATOMIC_TEST(pcp_hits_do_not_grow)
{
	struct ha_burst burst = {
		.set = SET_BURST,
		.shape = HA_KERNEL,
		.order = 1,
		.count = 8192,
	};

	if (reserve_cap(&self->zone) <= 2 * self->zone.pageblock_pages)
		SKIP(return, "zone %s may reserve too little to tell", self->zone.name);
	ASSERT_EQ(ioctl(self->fd, HA_IOC_BURST, &burst), 0);
	ASSERT_EQ(burst.done, burst.count);

	burst.shape = HA_ATOMIC;
	burst.leave = self->zone.wmark_low - 1;
	ASSERT_EQ(ioctl(self->fd, HA_IOC_RECYCLE, &burst), 0);
	EXPECT_EQ(burst.done, burst.count);
	/* Only a miss may convert: one for the first list, one for a drain */
	EXPECT_LE(burst.reserve_grown, 2 * self->zone.pageblock_pages);
	EXPECT_ACCOUNTED();
}

struct race {
	int fd;
	int cpu;
	pthread_barrier_t *start;
	atomic_bool *stop;
	struct ha_zone zone;
	unsigned int loops;
	int error;
};

static void *race_reserve(void *arg)
{
	struct race *race = arg;

	pin_to_cpu(race->cpu);
	pthread_barrier_wait(race->start);
	while (!*race->stop && !race->error) {
		race->error = make_reserve(race->fd, &race->zone, NULL);
		ioctl(race->fd, HA_IOC_FREE, SET_RESERVE);
		race->loops++;
	}
	return NULL;
}

static void *race_unreserve(void *arg)
{
	struct race *race = arg;

	pin_to_cpu(race->cpu);
	pthread_barrier_wait(race->start);
	while (!*race->stop && !race->error) {
		if (ioctl(race->fd, HA_IOC_SQUEEZE))
			race->error = -errno;
		race->loops++;
	}
	return NULL;
}

/* Pages freed while their pageblock leaves the reserve end on the right list */
HIGHATOMIC_TEST(free_races_with_unreserve)
{
	pthread_barrier_t start;
	atomic_bool stop = false;
	struct race race[2] = {
		{ self->fd, 0, &start, &stop, self->zone },
		{ self->fd, 1, &start, &stop, self->zone },
	};
	long long warned = read_number("/proc/sys/kernel/tainted") & TAINT_WARN;
	pthread_t thread[2];

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");

	/* Making a thread takes memory, so none may be used up before both exist */
	ASSERT_EQ(pthread_barrier_init(&start, NULL, 3), 0);
	ASSERT_EQ(pthread_create(&thread[0], NULL, race_reserve, &race[0]), 0);
	ASSERT_EQ(pthread_create(&thread[1], NULL, race_unreserve, &race[1]), 0);
	pthread_barrier_wait(&start);
	sleep(RACE_SECONDS);
	stop = true;
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	TH_LOG("reserved %u times, taken back %u times", race[0].loops, race[1].loops);
	EXPECT_EQ(race[0].error, 0);
	EXPECT_EQ(race[1].error, 0);
	EXPECT_ACCOUNTED();
	ASSERT_EQ(ioctl(self->fd, HA_IOC_SQUEEZE), 0);
	EXPECT_ACCOUNTED();
	EXPECT_EQ(self->zone.reserved_highatomic, 0);
	EXPECT_EQ(self->zone.free_highatomic, 0);
	/* The kernel's own checks of list and label warn once, and taint */
	EXPECT_EQ(read_number("/proc/sys/kernel/tainted") & TAINT_WARN, warned);
}

static bool netdev_up(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct ifreq ifr = { .ifr_name = HA_NETDEV };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = false;

	if (fd < 0)
		return false;
	inet_pton(AF_INET, "192.0.2.1", &addr.sin_addr);
	memcpy(&ifr.ifr_addr, &addr, sizeof(addr));
	if (ioctl(fd, SIOCSIFADDR, &ifr))
		goto out;
	inet_pton(AF_INET, "255.255.255.0", &addr.sin_addr);
	memcpy(&ifr.ifr_netmask, &addr, sizeof(addr));
	if (ioctl(fd, SIOCSIFNETMASK, &ifr) || ioctl(fd, SIOCGIFFLAGS, &ifr))
		goto out;
	ifr.ifr_flags |= IFF_UP;
	ok = !ioctl(fd, SIOCSIFFLAGS, &ifr);
out:
	close(fd);
	return ok;
}

static int udp_socket(const char *ip, int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };
	int buffer = 512 << 20;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, ip, &addr.sin_addr);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void udp_fill(unsigned char *data, unsigned int seed)
{
	unsigned int i;

	for (i = 0; i < UDP_PAYLOAD; i++)
		data[i] = seed + i / 7;
}

/*
 * Datagrams pile up in a socket behind a device that receives into page
 * fragments: the fragments come out of the reserve at their full order.
 */
HIGHATOMIC_TEST(udp_receive_uses_reserve)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(UDP_PORT) };
	static unsigned char data[UDP_PAYLOAD], expected[UDP_PAYLOAD];
	unsigned int count, sent, received;
	struct ha_zone before, after;
	struct ha_net net0, net1;
	int tx, rx;

	ASSERT_TRUE(netdev_up());
	rx = udp_socket("192.0.2.1", UDP_PORT);
	tx = udp_socket("192.0.2.1", UDP_PORT + 1);
	ASSERT_GE(rx, 0);
	ASSERT_GE(tx, 0);
	inet_pton(AF_INET, "192.0.2.2", &to.sin_addr);

	ASSERT_EQ(make_free_reserve(self->fd, &self->zone, NULL), 0);
	before = self->zone;
	ASSERT_EQ(ioctl(self->fd, HA_IOC_NET, &net0), 0);

	/* Three times the reserve */
	count = 3 * before.free_highatomic * getpagesize() / UDP_PAYLOAD;
	for (sent = 0; sent < count; sent++) {
		udp_fill(data, sent);
		if (sendto(tx, data, UDP_PAYLOAD, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			break;
	}
	EXPECT_EQ(sent, count);
	ASSERT_EQ(ioctl(self->fd, HA_IOC_ZONE, &after), 0);
	ASSERT_EQ(ioctl(self->fd, HA_IOC_NET, &net1), 0);

	for (received = 0; received < count; received++) {
		udp_fill(expected, received);
		if (recv(rx, data, UDP_PAYLOAD, MSG_DONTWAIT) != UDP_PAYLOAD ||
		    memcmp(data, expected, UDP_PAYLOAD))
			break;
	}
	EXPECT_EQ(received, count);

	TH_LOG("%u datagrams, %llu refills: %llu of %llu free reserved pages left", received,
	       net1.refills - net0.refills, after.free_highatomic, before.free_highatomic);
	EXPECT_GT(net1.refills, net0.refills);
	EXPECT_EQ(net1.demoted, net0.demoted);
	EXPECT_EQ(net1.failed, net0.failed);
	EXPECT_LE(after.free_highatomic * 10, before.free_highatomic);
	EXPECT_LE(after.reserved_highatomic, before.reserved_highatomic);
	close(tx);
	close(rx);
}

static void on_alarm(int signal)
{
}

/*
 * The memory block that holds @pfn: write "offline" or "online" to its state. With a
 * page that only looks movable, such as a slab of a single page, offlining does not
 * end before a signal.
 */
static bool set_memory_state(unsigned long long pfn, const char *state)
{
	struct sigaction interrupt = { .sa_handler = on_alarm };
	unsigned long long block_size = 0;
	bool ok;
	char path[128];
	FILE *f;

	f = fopen("/sys/devices/system/memory/block_size_bytes", "re");
	if (!f)
		return false;
	if (fscanf(f, "%llx", &block_size) != 1)
		block_size = 0;
	fclose(f);
	if (!block_size)
		return false;
	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%llu/state",
		 pfn * getpagesize() / block_size);
	sigaction(SIGALRM, &interrupt, NULL);
	alarm(OFFLINE_SECONDS);
	ok = write_file(path, state);
	alarm(0);
	return ok;
}

/*
 * Reserved pageblocks that go offline are no longer accounted, nor when they
 * return. Runs last: a reserve that is lost spoils the tests after it.
 */
HIGHATOMIC_TEST(offline_returns_reserve)
{
	unsigned long long reserved, pfn;
	struct recount count;
	bool accounted;
	int tries;

	if (access("/sys/devices/system/memory", F_OK))
		SKIP(return, "needs memory hotplug");
	for (tries = 0; tries < 16; tries++) {
		ASSERT_EQ(ioctl(self->fd, HA_IOC_SQUEEZE), 0);
		ASSERT_EQ(make_free_reserve(self->fd, &self->zone, &pfn), 0);
		reserved = self->zone.reserved_highatomic;
		if (set_memory_state(pfn, "offline"))
			break;
		TH_LOG("memory block of pfn %#llx: %s", pfn, strerror(errno));
	}
	if (tries == 16)
		SKIP(return, "no memory block with a reserve could go offline");
	accounted = recount(&self->zone, &count) && !ioctl(self->fd, HA_IOC_ZONE, &self->zone);
	/* Online again before anything can end the test */
	EXPECT_TRUE(set_memory_state(pfn, "online"));

	ASSERT_TRUE(accounted);
	EXPECT_EQ(count.reserved, self->zone.reserved_highatomic);
	EXPECT_EQ(count.free, self->zone.free_highatomic);
	EXPECT_LT(self->zone.reserved_highatomic, reserved);
	EXPECT_ACCOUNTED();
}

TEST_HARNESS_MAIN
