// SPDX-License-Identifier: GPL-2.0
/*
 * The workers of the storm. Each is a process that, step by step, makes something
 * or takes something apart, after checking the words it once wrote to every page
 * there. run_worker() calls the steps as the phase of the storm asks for.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storm.h"

#define ANON_SHARE	10	/* each of the two holds up to 1/10 of memory */
#define TABLES_SHARE	14	/* each of the two grows page tables of 1/14 of memory */
#define TABLES_PER_CHUNK 4000	/* while it fills so much movable memory */
#define BATCH		8	/* chunks between two looks at what is available */
#define CACHE_PER_BATCH	(4 * MIB)
#define CACHE_SHARE	20	/* each of the two reads a file of 1/20 of memory */
#define BRIM		4	/* percent of memory left available by a surge */
#define BRIM_STEPS	20	/* of a surge that has filled memory */
#define FILES_MAX	8192
#define FILES_MEMORY	(56 * MIB)	/* a file for each; 1 MiB long in the mean */
#define FILE_PAGES_MAX	512
#define FOLDERS		16	/* of the files */
#define NAMES_FOLDERS	64
#define NAMES_PER_FOLDER 25
#define CHILDREN	16
#define PIPES		120
#define DATAGRAM	60000
#define DATAGRAMS	16
#define SURGE_PAUSE	2000	/* ms after each step of the others during a surge */
#define PACE_TURNS	(2 << 20)

/* A worker is a process, and has these to itself */
static struct control *c;
static enum worker_id id;
static uint64_t rnd;

static void nap(unsigned int milliseconds)
{
	usleep(milliseconds * 1000);
}

static uint64_t roll(uint64_t sides)
{
	return random_next(&rnd) % sides;
}

/* Never 0, which says that there is nothing */
static uint64_t new_key(void)
{
	return random_next(&rnd) | 1;
}

/* A name for the moment: FORMAT of one number or two */
static const char *name(const char *format, unsigned int a, unsigned int b)
{
	static char text[64];

	snprintf(text, sizeof(text), format, a, b);
	return text;
}

static void make_folders(const char *format, unsigned int nr)
{
	while (nr--)
		mkdir(name(format, nr, 0), 0700);
}

/* Two words of a page: enough to see it swapped with another or torn */
static void stamp(uint64_t *page, uint64_t key)
{
	page[0] = mix(key);
	page[PAGE / 8 - 1] = mix(~key);
}

static bool stamped(const uint64_t *page, uint64_t key)
{
	return page[0] == mix(key) && page[PAGE / 8 - 1] == mix(~key);
}

/* Anonymous memory in chunks of 2 MiB; key[i] is 0 while chunk i is not there */
static struct {
	char *base;
	uint64_t *key;
	unsigned long chunks;
} region;

static void *map_memory(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	return p;
}

static void region_init(uint64_t bytes, int advice)
{
	uintptr_t p = (uintptr_t)map_memory(bytes + CHUNK);

	region.chunks = bytes / CHUNK;
	region.key = calloc(region.chunks, sizeof(*region.key));
	if (!region.key)
		exit(1);
	region.base = (char *)((p + CHUNK - 1) & ~(CHUNK - 1));
	madvise(region.base, region.chunks * CHUNK, advice);
}

static void fill_chunk(unsigned long i, uint64_t key)
{
	unsigned long offset;

	for (offset = 0; offset < CHUNK; offset += PAGE)
		stamp((uint64_t *)(region.base + i * CHUNK + offset), key + offset);
	region.key[i] = key;
}

static bool check_chunk(unsigned long i)
{
	unsigned long offset;

	for (offset = 0; offset < CHUNK; offset += PAGE) {
		if (!stamped((uint64_t *)(region.base + i * CHUNK + offset),
			     region.key[i] + offset))
			return false;
	}
	return true;
}

static void drop_chunk(unsigned long i)
{
	if (!check_chunk(i))
		storm_error(c, "wrong data in anonymous memory");
	madvise(region.base + i * CHUNK, CHUNK, MADV_DONTNEED);
	region.key[i] = 0;
}

static void drop_region(void)
{
	unsigned long i;

	for (i = 0; i < region.chunks; i++) {
		if (region.key[i])
			drop_chunk(i);
	}
}

static void start_anon(void)
{
	region_init(c->total / ANON_SHARE,
		    id == WORKER_ANON_HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (c->spoil) {
		fill_chunk(0, 1);
		region.base[PAGE]++;
	}
}

static unsigned int step_anon(void)
{
	unsigned long i = roll(region.chunks);

	if (region.key[i])
		drop_chunk(i);
	else
		fill_chunk(i, new_key());
	return 1;
}

static struct {
	volatile char *tables;	/* memory that is never written, see grow_tables() */
	uint64_t grown, most;
	int hole;
	unsigned int brim_steps;
} surge;

static void start_surge(void)
{
	region_init(c->total, MADV_HUGEPAGE);
	/* Pages of both sizes: a huge page is filled faster, small ones scatter */
	madvise(region.base, region.chunks / 4 * CHUNK, MADV_NOHUGEPAGE);
	surge.most = c->total / TABLES_SHARE / PAGE;
	surge.hole = open(name("/storm/hole%u", id, 0), O_RDWR | O_CREAT, 0600);
	if (surge.hole < 0 || ftruncate(surge.hole, c->total / CACHE_SHARE + CACHE_PER_BATCH))
		exit(1);
	/* Better this one than the storm */
	write_text("/proc/self/oom_score_adj", "1000");
}

/*
 * A read of untouched memory maps the zero page: a page table for every 2 MiB
 * of addresses, and no page of its own.
 */
static void grow_tables(unsigned int nr)
{
	if (!surge.tables) {
		surge.tables = map_memory(surge.most * CHUNK);
		madvise((void *)surge.tables, surge.most * CHUNK, MADV_NOHUGEPAGE);
	}
	for (; nr && surge.grown < surge.most; nr--)
		(void)surge.tables[CHUNK * surge.grown++];
}

/* Page cache that can be reclaimed at once: pages of a file that is one hole */
static void read_hole(void)
{
	static char buf[256 << 10];
	static uint64_t at;
	uint64_t end = at + CACHE_PER_BATCH;

	for (; at < end; at += sizeof(buf)) {
		if (pread(surge.hole, buf, sizeof(buf), at) != sizeof(buf) || buf[0] || buf[PAGE - 1])
			storm_error(c, "wrong data in a hole");
	}
	at %= c->total / CACHE_SHARE;
}

/*
 * Tables and movable memory grow in step, so that they lie between one another
 * in the same way however fast the machine is. Once there is no more room some
 * movable memory comes and goes.
 */
static unsigned int step_surge(void)
{
	bool full = meminfo("MemAvailable:") * 100 < BRIM * c->total;
	unsigned long i;
	unsigned int n;

	grow_tables(BATCH * TABLES_PER_CHUNK);
	read_hole();
	for (n = 0; n < BATCH; n++) {
		i = roll(region.chunks);
		if (region.key[i] && full)
			drop_chunk(i);
		else if (!region.key[i] && !full)
			fill_chunk(i, new_key());
	}
	if (full || surge.brim_steps)
		surge.brim_steps++;
	c->peak[id] = surge.brim_steps >= BRIM_STEPS && surge.grown == surge.most;
	return 1;
}

static void drop_surge(void)
{
	drop_region();
	if (surge.tables)
		munmap((void *)surge.tables, surge.most * CHUNK);
	surge.tables = NULL;
	surge.grown = 0;
	surge.brim_steps = 0;
}

static struct file {
	uint64_t key;		/* 0 while there is no such file */
	unsigned int pages;
} files[FILES_MAX];

static int open_file(unsigned int i, int flags)
{
	return open(name("/storm/d%u/f%u", i % FOLDERS, i), flags, 0600);
}

static void remove_file(unsigned int i)
{
	unlink(name("/storm/d%u/f%u", i % FOLDERS, i));
	files[i].key = 0;
}

/* How many of @nr pages of that key could be written */
static unsigned int write_pages(int fd, uint64_t key, unsigned int nr)
{
	static uint64_t page[PAGE / 8];
	unsigned int n;

	for (n = 0; n < nr; n++) {
		stamp(page, key + n);
		if (write(fd, page, PAGE) != PAGE)
			break;
	}
	return n;
}

/* How many of @nr pages of that key are there and right */
static unsigned int check_pages(int fd, uint64_t key, unsigned int nr)
{
	static uint64_t page[PAGE / 8];
	unsigned int n;

	for (n = 0; n < nr; n++) {
		if (read(fd, page, PAGE) != PAGE || !stamped(page, key + n))
			break;
	}
	return n;
}

static void make_file(unsigned int i)
{
	int fd = open_file(i, O_CREAT | O_TRUNC | O_WRONLY);
	struct file *f = &files[i];

	if (fd < 0)
		return;
	f->pages = 1 + roll(FILE_PAGES_MAX);
	f->key = new_key();
	if (write_pages(fd, f->key, f->pages) < f->pages)
		remove_file(i);
	close(fd);
}

static void check_file(unsigned int i)
{
	int fd = open_file(i, O_RDONLY);

	if (fd < 0 || check_pages(fd, files[i].key, files[i].pages) < files[i].pages)
		storm_error(c, "wrong data in a file");
	close(fd);
}

static void start_files(void)
{
	make_folders("/storm/d%u", FOLDERS);
}

/* On the loop device: page cache that can be reclaimed and read again */
static unsigned int step_files(void)
{
	uint64_t most = c->total / FILES_MEMORY;
	unsigned int i = roll(most < FILES_MAX ? most : FILES_MAX);

	if (!files[i].key) {
		make_file(i);
		return 1;
	}
	check_file(i);
	if (!roll(8))
		remove_file(i);
	return 1;
}

static void drop_files(void)
{
	unsigned int i;

	for (i = 0; i < FILES_MAX; i++) {
		if (files[i].key) {
			check_file(i);
			remove_file(i);
		}
	}
}

static void start_names(void)
{
	make_folders("/tmp/names%u", NAMES_FOLDERS);
}

static void drop_names(void)
{
	unsigned int i;

	for (i = 0; i < NAMES_FOLDERS * NAMES_PER_FOLDER; i++)
		unlink(name("/tmp/names%u/%u", i % NAMES_FOLDERS, i / NAMES_FOLDERS));
}

/* Empty files made and deleted, and names looked up that are not there */
static unsigned int step_names(void)
{
	unsigned int folder = roll(NAMES_FOLDERS), file = roll(NAMES_PER_FOLDER);
	const char *path = name("/tmp/names%u/%u", folder, file);
	struct stat st;

	if (unlink(path))
		close(open(path, O_CREAT | O_WRONLY, 0600));
	stat(name("/storm/d%u/no%u", folder % FOLDERS, roll(1000000)), &st);
	return 1;
}

static unsigned int children;

static void child(uint64_t dice)
{
	unsigned long bytes = (1 + dice % 64) * 16 * PAGE, offset;
	char *p = map_memory(bytes);

	for (offset = 0; offset < bytes; offset += PAGE)
		p[offset] = 1;
	nap(dice % 200);
	_exit(0);
}

/* Wait for one child at least while there are more than @most */
static unsigned int reap(unsigned int most)
{
	unsigned int before = children;

	while (children && waitpid(-1, NULL, children > most ? 0 : WNOHANG) > 0)
		children--;
	return before - children;
}

static unsigned int step_fork(void)
{
	uint64_t dice = random_next(&rnd);
	pid_t pid = fork();

	if (!pid)
		child(dice);
	children += pid > 0;
	return reap(CHILDREN - 1);
}

static void hold_fork(void)
{
	reap(0);
}

static struct channel {
	int from, to;
	uint64_t key;
	unsigned int pages;	/* in flight; 0 while it is closed */
} channels[PIPES];

static void close_channel(struct channel *ch)
{
	if (check_pages(ch->from, ch->key, ch->pages) < ch->pages)
		storm_error(c, "wrong data in a pipe or socket");
	close(ch->from);
	close(ch->to);
	ch->pages = 0;
}

static void open_channel(struct channel *ch)
{
	int fd[2];

	if (roll(2) ? pipe2(fd, O_NONBLOCK) :
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd))
		return;
	ch->from = fd[0];
	ch->to = fd[1];
	ch->key = new_key();
	ch->pages = write_pages(ch->to, ch->key, 1 + roll(12));
	if (ch->pages)
		return;
	close(fd[0]);
	close(fd[1]);
}

static void start_pipes(void)
{
	struct rlimit limit = { 2 * PIPES + 64, 2 * PIPES + 64 };

	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Kernel memory that lives for a while: a channel is replaced at random */
static unsigned int step_pipes(void)
{
	struct channel *ch;
	unsigned int n;

	for (n = 0; n < 16; n++) {
		ch = &channels[roll(PIPES)];
		if (ch->pages)
			close_channel(ch);
		open_channel(ch);
	}
	return n;
}

static void drop_pipes(void)
{
	unsigned int i;

	for (i = 0; i < PIPES; i++) {
		if (channels[i].pages)
			close_channel(&channels[i]);
	}
}

static struct sockaddr_in udp_address;
static int udp_socket;

static void start_udp(void)
{
	struct timeval timeout = { .tv_sec = 1 };
	socklen_t len = sizeof(udp_address);
	int size = 4 << 20;

	udp_socket = socket(AF_INET, SOCK_DGRAM, 0);
	udp_address.sin_family = AF_INET;
	udp_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(udp_socket, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(udp_socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (bind(udp_socket, (struct sockaddr *)&udp_address, len) ||
	    getsockname(udp_socket, (struct sockaddr *)&udp_address, &len))
		exit(1);
}

static uint64_t datagram[DATAGRAM / 8];

/* Returns how many were sent */
static int send_datagrams(uint64_t key)
{
	int i;

	for (i = 0; i < DATAGRAMS; i++) {
		datagram[0] = mix(key + i);
		datagram[DATAGRAM / 8 - 1] = mix(~(key + i));
		if (sendto(udp_socket, datagram, DATAGRAM, 0, (struct sockaddr *)&udp_address,
			   sizeof(udp_address)) < 0)
			break;
	}
	return i;
}

/* A datagram may be lost; one that arrives is right, and in order */
static unsigned int receive_datagrams(uint64_t key, int sent)
{
	unsigned int received = 0;
	int i = 0;

	while (sent-- && recv(udp_socket, datagram, DATAGRAM, 0) == DATAGRAM) {
		received++;
		while (i < DATAGRAMS && datagram[0] != mix(key + i))
			i++;
		if (i == DATAGRAMS || datagram[DATAGRAM / 8 - 1] != mix(~(key + i)))
			storm_error(c, "wrong data in a datagram");
	}
	return received;
}

/* A few large datagrams in flight at a time */
static unsigned int step_udp(void)
{
	uint64_t key = new_key();

	/* What came too late for the last step */
	while (recv(udp_socket, datagram, DATAGRAM, MSG_DONTWAIT) > 0)
		;
	return receive_datagrams(key, send_datagrams(key));
}

static const char huge_pool[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

static unsigned int step_hugetlb(void)
{
	write_text(huge_pool, name("%u", roll(64), 0));
	return 1;
}

static void drop_hugetlb(void)
{
	write_text(huge_pool, "0");
}

static unsigned int step_atomic(void)
{
	write_text("/sys/kernel/debug/storm_tool/burst", "16");
	return 1;
}

static void start_pace(void)
{
	struct sched_param highest = { sched_get_priority_max(SCHED_FIFO) };

	sched_setscheduler(0, SCHED_FIFO, &highest);
}

/*
 * How fast is the machine? A loop in user space, ahead of everything else, five
 * times a second. That the host lets the CPU wait, even to begin, counts as slow.
 * Returns turns a millisecond.
 */
static unsigned int step_pace(void)
{
	volatile unsigned int turns = PACE_TURNS;
	static double begin;
	double left;

	begin += 0.2;
	left = begin - now();
	if (left > 0)
		usleep(left * 1e6);
	else
		begin = now();
	while (turns)
		turns--;
	return PACE_TURNS / 1000 / (now() - begin);
}

const struct worker workers[NR_WORKERS] = {
	[WORKER_ANON_SMALL] = { "anon", start_anon, step_anon, drop_region, .counted = true },
	[WORKER_ANON_HUGE] = { "anon_huge", start_anon, step_anon, drop_region, .counted = true },
	[WORKER_SURGE] = { "surge", start_surge, step_surge, drop_surge, .surges = true },
	[WORKER_SURGE2] = { "surge2", start_surge, step_surge, drop_surge, .surges = true },
	[WORKER_FILES] = { "files", start_files, step_files, drop_files, .counted = true },
	[WORKER_NAMES] = { "names", start_names, step_names, drop_names, .counted = true },
	[WORKER_FORK] = { "fork", NULL, step_fork, .hold = hold_fork, .counted = true },
	[WORKER_PIPES] = { "pipes", start_pipes, step_pipes, drop_pipes, .counted = true, .pause = 5 },
	[WORKER_UDP] = { "udp", start_udp, step_udp, .counted = true, .pause = 2 },
	[WORKER_HUGETLB] = { "hugetlb", NULL, step_hugetlb, drop_hugetlb, .pause = 200 },
	[WORKER_ATOMIC] = { "atomic", NULL, step_atomic, .surges = true, .pause = 50 },
	[WORKER_PACE] = { "pace", start_pace, step_pace, .counted = true },
};

static void call(void (*function)(void))
{
	if (function)
		function();
}

/* Stand still, or give back what can be given back and stand still */
static void obey(const struct worker *w, enum phase phase)
{
	if (c->reached[id] != (int)phase) {
		call(w->hold);
		if (phase == PHASE_DROP)
			call(w->drop);
		c->reached[id] = phase;
	}
	nap(20);
}

/*
 * The mixed load goes on slowly during a surge: what it allocates there comes to lie
 * in gigabytes that were whole, and how much that is must not depend on the machine.
 */
static void work(const struct worker *w)
{
	unsigned int n;

	c->work[id] += w->step();
	if (w->pause)
		nap(w->pause);
	for (n = 0; n < SURGE_PAUSE / 20 && c->phase == PHASE_SURGE && !w->surges; n++)
		nap(20);
}

void run_worker(struct control *control, enum worker_id worker)
{
	const struct worker *w = &workers[worker];
	enum phase phase, last = PHASE_HOLD;

	c = control;
	id = worker;
	rnd = c->seed * 31 + id;
	call(w->start);
	for (; (phase = c->phase) != PHASE_END; last = phase) {
		/* What is of the surge ends with it */
		if (w->surges && last == PHASE_SURGE && phase != PHASE_SURGE)
			call(w->drop);
		if (phase == PHASE_HOLD || phase == PHASE_DROP)
			obey(w, phase);
		else if (w->surges && phase != PHASE_SURGE)
			nap(10);
		else
			work(w);
	}
}
