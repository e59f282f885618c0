// SPDX-License-Identifier: GPL-2.0
/*
 * The workers of the storm. Each is a process that goes round in its own loop,
 * looks at the phase and does one piece of work: it makes something, or takes
 * something apart after checking the words it once wrote to every page there.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

#define ANON_SHARE	5	/* each of the two holds up to 1/5 of memory */
#define TABLES_SHARE	14	/* each of the two grows to 1/14 of memory */
#define FILL_LOW	3	/* percent of memory left available */
#define FILL_HIGH	4
#define FILES_MAX	8192
#define FILES_MEMORY	(14 * MIB)	/* a file for each; 1 MiB long in the mean */
#define FILE_PAGES_MAX	512
#define NAMES_DIRS	64
#define NAMES_PER_DIR	800
#define PIPES		1500
#define DATAGRAM	60000
#define ATOMIC_BURST	256

static void nap(unsigned int milliseconds)
{
	usleep(milliseconds * 1000);
}

/*
 * What to do next? Waits while the storm holds. With @drop set, the caller has
 * to give back what it has and to say so by dropped().
 */
static enum phase next_phase(struct control *c, enum worker_id id, bool *drop)
{
	enum phase phase;

	for (;;) {
		phase = c->phase;
		if (phase == PHASE_END)
			exit(0);
		if (phase != PHASE_HOLD)
			break;
		c->reached[id] = PHASE_HOLD;
		nap(20);
	}
	*drop = phase == PHASE_DROP;
	if (phase == PHASE_SURGE && !workers[id].surges)
		nap(2);
	return phase;
}

/* The caller has given back what it had */
static void dropped(struct control *c, enum worker_id id)
{
	c->reached[id] = PHASE_DROP;
	while (c->phase == PHASE_DROP)
		nap(20);
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
struct region {
	char *base;
	uint64_t *key;
	unsigned long chunks, filled;
};

static void region_init(struct region *r, uint64_t bytes, int advice)
{
	r->chunks = bytes / CHUNK;
	r->filled = 0;
	r->key = calloc(r->chunks, sizeof(*r->key));
	r->base = mmap(NULL, (r->chunks + 1) * CHUNK, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->base == MAP_FAILED || !r->key)
		exit(1);
	r->base = (char *)(((uintptr_t)r->base + CHUNK - 1) & ~(CHUNK - 1));
	madvise(r->base, r->chunks * CHUNK, advice);
}

static void fill_chunk(struct region *r, unsigned long i, uint64_t key)
{
	unsigned long offset;

	for (offset = 0; offset < CHUNK; offset += PAGE)
		stamp((uint64_t *)(r->base + i * CHUNK + offset), key + offset);
	r->key[i] = key;
	r->filled++;
}

static bool check_chunk(struct region *r, unsigned long i)
{
	unsigned long offset;

	for (offset = 0; offset < CHUNK; offset += PAGE) {
		if (!stamped((uint64_t *)(r->base + i * CHUNK + offset), r->key[i] + offset))
			return false;
	}
	return true;
}

static void drop_chunk(struct control *c, struct region *r, unsigned long i)
{
	if (!check_chunk(r, i))
		storm_error(c, "wrong data in anonymous memory");
	madvise(r->base + i * CHUNK, CHUNK, MADV_DONTNEED);
	r->key[i] = 0;
	r->filled--;
}

static void drop_region(struct control *c, struct region *r)
{
	unsigned long i;

	for (i = 0; i < r->chunks; i++) {
		if (r->key[i])
			drop_chunk(c, r, i);
	}
}

static void run_anon(struct control *c, enum worker_id id)
{
	uint64_t rnd = c->seed * 31 + id;
	struct region r;
	unsigned long i;
	bool drop;

	region_init(&r, c->total / ANON_SHARE,
		    id == WORKER_ANON_HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (c->spoil) {
		fill_chunk(&r, 0, 1);
		r.base[PAGE]++;
	}
	for (;;) {
		next_phase(c, id, &drop);
		if (drop) {
			drop_region(c, &r);
			dropped(c, id);
			continue;
		}
		i = random_next(&rnd) % r.chunks;
		if (r.key[i])
			drop_chunk(c, &r, i);
		else
			fill_chunk(&r, i, random_next(&rnd) | 1);
		c->work[id]++;
	}
}

/* Another 2 MiB while there is room, else back with some */
static void fill_or_yield(struct control *c, struct region *r, uint64_t *rnd)
{
	uint64_t available = meminfo("MemAvailable:") * 100 / c->total;
	unsigned long i = random_next(rnd) % r->chunks;

	if (available >= FILL_HIGH && !r->key[i])
		fill_chunk(r, i, random_next(rnd) | 1);
	else if (available < FILL_LOW && r->key[i])
		drop_chunk(c, r, i);
	else if (available < FILL_HIGH && available >= FILL_LOW)
		nap(2);
	if (available < FILL_HIGH)
		c->peak[WORKER_FILL] = true;
}

static void run_fill(struct control *c, enum worker_id id)
{
	uint64_t rnd = c->seed * 31 + id;
	struct region r;
	unsigned long i;
	bool drop;

	region_init(&r, c->total, MADV_HUGEPAGE);
	/* Pages of both sizes: a huge page is filled faster, small ones scatter */
	for (i = 0; i < r.chunks; i += 4)
		madvise(r.base + i * CHUNK, CHUNK, MADV_NOHUGEPAGE);
	/* Better this one than the storm */
	write_text("/proc/self/oom_score_adj", "1000");
	for (;;) {
		if (next_phase(c, id, &drop) == PHASE_SURGE) {
			fill_or_yield(c, &r, &rnd);
			continue;
		}
		drop_region(c, &r);
		if (drop)
			dropped(c, id);
		else
			nap(10);
	}
}

/*
 * A read of untouched memory maps the zero page: a page table for every 2 MiB
 * of addresses, and no page of its own.
 */
static void run_tables(struct control *c, enum worker_id id)
{
	uint64_t most = c->total / TABLES_SHARE / PAGE, done;
	volatile char *base;
	bool drop;

	for (;;) {
		if (next_phase(c, id, &drop) != PHASE_SURGE) {
			if (drop)
				dropped(c, id);
			nap(10);
			continue;
		}
		base = mmap(NULL, most * CHUNK, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_NORESERVE, -1, 0);
		if (base == MAP_FAILED)
			exit(1);
		madvise((void *)base, most * CHUNK, MADV_NOHUGEPAGE);
		for (done = 0; done < most && c->phase == PHASE_SURGE; done++) {
			(void)base[done * CHUNK];
			c->work[id]++;
		}
		c->peak[id] = true;
		while (c->phase == PHASE_SURGE)
			nap(10);
		munmap((void *)base, most * CHUNK);
	}
}

static void file_name(char *name, size_t len, unsigned int i)
{
	snprintf(name, len, "/storm/d%u/f%u", i % 16, i);
}

static bool write_file(unsigned int i, uint64_t key, unsigned int pages)
{
	static uint64_t page[PAGE / 8];
	char name[64];
	unsigned int n;
	int fd;

	file_name(name, sizeof(name), i);
	fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	if (fd < 0)
		return false;
	for (n = 0; n < pages; n++) {
		stamp(page, key + n);
		if (write(fd, page, PAGE) != PAGE)
			break;
	}
	close(fd);
	if (n == pages)
		return true;
	unlink(name);
	return false;
}

static void check_file(struct control *c, unsigned int i, uint64_t key, unsigned int pages)
{
	static uint64_t page[PAGE / 8];
	char name[64];
	unsigned int n;
	int fd;

	file_name(name, sizeof(name), i);
	fd = open(name, O_RDONLY);
	if (fd < 0)
		storm_error(c, "a file cannot be opened");
	for (n = 0; fd >= 0 && n < pages; n++) {
		if (read(fd, page, PAGE) != (ssize_t)PAGE) {
			storm_error(c, "a file cannot be read");
			break;
		}
		if (!stamped(page, key + n)) {
			storm_error(c, "wrong data in a file");
			break;
		}
	}
	if (fd >= 0)
		close(fd);
}

/* On the loop device: page cache that can be reclaimed and read again */
static void run_files(struct control *c, enum worker_id id)
{
	static struct { uint64_t key; unsigned int pages; } files[FILES_MAX];
	uint64_t rnd = c->seed * 31 + id, most = c->total / FILES_MEMORY;
	unsigned int i, dice;
	char name[64];
	bool drop;

	most = most < FILES_MAX ? most : FILES_MAX;
	for (i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "/storm/d%u", i);
		mkdir(name, 0700);
	}
	for (;;) {
		next_phase(c, id, &drop);
		if (drop) {
			dropped(c, id);
			continue;
		}
		i = random_next(&rnd) % most;
		dice = random_next(&rnd) % 8;
		if (!files[i].key) {
			files[i].pages = 1 + random_next(&rnd) % FILE_PAGES_MAX;
			files[i].key = random_next(&rnd) | 1;
			if (!write_file(i, files[i].key, files[i].pages))
				files[i].key = 0;
		} else {
			check_file(c, i, files[i].key, files[i].pages);
			if (!dice) {
				file_name(name, sizeof(name), i);
				unlink(name);
				files[i].key = 0;
			}
		}
		c->work[id]++;
	}
}

/* Empty files made and deleted, and names looked up that are not there */
static void run_names(struct control *c, enum worker_id id)
{
	uint64_t rnd = c->seed * 31 + id;
	unsigned int dir, file;
	struct stat st;
	char name[64];
	bool drop;
	int fd;

	for (dir = 0; dir < NAMES_DIRS; dir++) {
		snprintf(name, sizeof(name), "/tmp/names%u", dir);
		mkdir(name, 0700);
	}
	for (;;) {
		next_phase(c, id, &drop);
		if (drop) {
			dropped(c, id);
			continue;
		}
		dir = random_next(&rnd) % NAMES_DIRS;
		file = random_next(&rnd) % NAMES_PER_DIR;
		snprintf(name, sizeof(name), "/tmp/names%u/%u", dir, file);
		if (unlink(name)) {
			fd = open(name, O_CREAT | O_WRONLY, 0600);
			if (fd >= 0)
				close(fd);
		}
		snprintf(name, sizeof(name), "/storm/d%u/no%llu", dir % 16,
			 (unsigned long long)random_next(&rnd) % 1000000);
		stat(name, &st);
		c->work[id]++;
	}
}

static void child(uint64_t rnd)
{
	unsigned long bytes = (1 + rnd % 64) * 16 * PAGE, offset;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (offset = 0; p != MAP_FAILED && offset < bytes; offset += PAGE)
		p[offset] = 1;
	nap(rnd % 200);
	_exit(0);
}

static void run_fork(struct control *c, enum worker_id id)
{
	uint64_t rnd = c->seed * 31 + id;
	unsigned int running = 0;
	bool drop;
	pid_t pid;

	for (;;) {
		while (running && c->phase == PHASE_HOLD && wait(NULL) > 0)
			running--;
		next_phase(c, id, &drop);
		if (running < 24) {
			random_next(&rnd);
			pid = fork();
			if (!pid)
				child(rnd);
			running += pid > 0;
		}
		while (running && waitpid(-1, NULL, running < 24 && !drop ? WNOHANG : 0) > 0) {
			running--;
			c->work[id]++;
		}
		if (drop)
			dropped(c, id);
	}
}

struct channel {
	int from, to;
	uint64_t key;
	unsigned int pages;
};

static bool read_all(int fd, void *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = read(fd, (char *)buf + done, len - done);
		if (n <= 0)
			return false;
		done += n;
	}
	return true;
}

static void close_channel(struct control *c, struct channel *ch)
{
	static uint64_t page[PAGE / 8];
	unsigned int i;

	for (i = 0; i < ch->pages; i++) {
		if (!read_all(ch->from, page, PAGE) || !stamped(page, ch->key + i)) {
			storm_error(c, "wrong data in a pipe or socket");
			break;
		}
	}
	close(ch->from);
	close(ch->to);
	ch->pages = 0;
}

static void open_channel(struct channel *ch, uint64_t rnd)
{
	static uint64_t page[PAGE / 8];
	unsigned int want = 1 + rnd % 12;
	bool pipe_like = rnd & 64;
	int fd[2];

	if (pipe_like ? pipe2(fd, O_NONBLOCK) :
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd))
		return;
	ch->from = fd[0];
	ch->to = fd[1];
	ch->key = rnd;
	for (ch->pages = 0; ch->pages < want; ch->pages++) {
		stamp(page, ch->key + ch->pages);
		if (write(ch->to, page, PAGE) != (ssize_t)PAGE)
			break;
	}
	if (ch->pages)
		return;
	close(fd[0]);
	close(fd[1]);
}

/* Kernel memory that lives for a while: a channel is replaced at random */
static void run_pipes(struct control *c, enum worker_id id)
{
	static struct channel channels[PIPES];
	uint64_t rnd = c->seed * 31 + id;
	struct rlimit limit = { 2 * PIPES + 64, 2 * PIPES + 64 };
	unsigned int i;
	bool drop;

	setrlimit(RLIMIT_NOFILE, &limit);
	for (;;) {
		next_phase(c, id, &drop);
		if (drop) {
			/* The older half stays, as connections of a server do */
			for (i = PIPES / 2; i < PIPES; i++) {
				if (channels[i].pages)
					close_channel(c, &channels[i]);
			}
			dropped(c, id);
			continue;
		}
		i = random_next(&rnd) % PIPES;
		if (channels[i].pages)
			close_channel(c, &channels[i]);
		open_channel(&channels[i], random_next(&rnd));
		c->work[id]++;
		if (!(c->work[id] % 16))
			nap(5);
	}
}

static int udp_socket(struct sockaddr_in *addr)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
	struct timeval timeout = { .tv_sec = 1 };
	socklen_t len = sizeof(*addr);

	*addr = (struct sockaddr_in) {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (bind(fd, (struct sockaddr *)addr, len) || getsockname(fd, (struct sockaddr *)addr, &len))
		exit(1);
	return fd;
}

/* A few large datagrams in flight at a time */
static void run_udp(struct control *c, enum worker_id id)
{
	static uint64_t out[DATAGRAM / 8], in[DATAGRAM / 8];
	uint64_t rnd = c->seed * 31 + id, key;
	struct sockaddr_in addr;
	int fd = udp_socket(&addr), i, sent;
	bool drop;

	for (;;) {
		next_phase(c, id, &drop);
		if (drop) {
			dropped(c, id);
			continue;
		}
		while (recv(fd, in, sizeof(in), MSG_DONTWAIT) > 0)
			;
		key = random_next(&rnd);
		for (sent = 0; sent < 16; sent++) {
			out[0] = mix(key + sent);
			out[DATAGRAM / 8 - 1] = mix(~(key + sent));
			if (sendto(fd, out, sizeof(out), 0, (struct sockaddr *)&addr,
				   sizeof(addr)) < 0)
				break;
		}
		/* A datagram may be lost; one that arrives is right, and in order */
		for (i = 0; sent-- > 0; c->work[id]++) {
			if (recv(fd, in, sizeof(in), 0) != sizeof(in))
				break;
			while (i < 16 && in[0] != mix(key + i))
				i++;
			if (i == 16 || in[DATAGRAM / 8 - 1] != mix(~(key + i)))
				storm_error(c, "wrong data in a datagram");
		}
		nap(2);
	}
}

static void run_hugetlb(struct control *c, enum worker_id id)
{
	static const char pool[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
	uint64_t rnd = c->seed * 31 + id;
	char text[16];
	bool drop;

	for (;;) {
		next_phase(c, id, &drop);
		if (drop) {
			write_text(pool, "0");
			dropped(c, id);
			continue;
		}
		snprintf(text, sizeof(text), "%u", (unsigned int)(random_next(&rnd) % 64));
		write_text(pool, text);
		c->work[id]++;
		nap(200);
	}
}

static void run_atomic(struct control *c, enum worker_id id)
{
	char text[16];
	bool drop;

	snprintf(text, sizeof(text), "%u", ATOMIC_BURST);
	for (;;) {
		if (next_phase(c, id, &drop) == PHASE_SURGE) {
			write_text("/sys/kernel/debug/storm_tool/burst", text);
			c->work[id]++;
		}
		if (drop)
			dropped(c, id);
		nap(50);
	}
}

const struct worker workers[NR_WORKERS] = {
	[WORKER_ANON_SMALL]	= { "anon", true, false, run_anon },
	[WORKER_ANON_HUGE]	= { "anon_huge", true, false, run_anon },
	[WORKER_FILL]		= { "fill", false, true, run_fill },
	[WORKER_TABLES]		= { "tables", false, true, run_tables },
	[WORKER_TABLES2]	= { "tables2", false, true, run_tables },
	[WORKER_FILES]		= { "files", true, false, run_files },
	[WORKER_NAMES]		= { "names", true, false, run_names },
	[WORKER_FORK]		= { "fork", true, false, run_fork },
	[WORKER_PIPES]		= { "pipes", true, false, run_pipes },
	[WORKER_UDP]		= { "udp", true, false, run_udp },
	[WORKER_HUGETLB]	= { "hugetlb", false, false, run_hugetlb },
	[WORKER_ATOMIC]		= { "atomic", false, true, run_atomic },
};
