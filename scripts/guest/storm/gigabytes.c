// SPDX-License-Identifier: GPL-2.0
/*
 * What holds each gigabyte, counted from /proc/kpageflags in the same way on
 * every kernel, and how many of them can really be had as 1 GiB pages.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "storm.h"

#define GIGABYTE_PAGES	(GIB / PAGE)
#define BIT(flag)	(1ULL << (flag))
/* Not exported to user space; see KPF_RESERVED in include/linux/kernel-page-flags.h */
#ifndef KPF_RESERVED
#define KPF_RESERVED	32
#endif

/* Any of these says that user space or the page cache owns the page */
#define MOVABLE_FLAGS	(BIT(KPF_LRU) | BIT(KPF_ANON) | BIT(KPF_MMAP) | BIT(KPF_SWAPBACKED) | \
			 BIT(KPF_HUGE) | BIT(KPF_THP) | BIT(KPF_SWAPCACHE) | BIT(KPF_UNEVICTABLE))

/* So few pages that are nobody's may be free ones that a per-CPU list has taken meanwhile */
#define FEW_PAGES	1024

/* Ranges of RAM, in pages; a hole has no flags, just as some pages of the kernel */
static struct { uint64_t start, end; } ram[64];
static unsigned int nr_ram;

static void read_ram(void)
{
	unsigned long long start, end;
	FILE *f = fopen("/proc/iomem", "re");
	char line[256];

	nr_ram = 0;
	while (f && nr_ram < 64 && fgets(line, sizeof(line), f)) {
		if (line[0] == ' ' || !strstr(line, "System RAM") ||
		    sscanf(line, "%llx-%llx", &start, &end) != 2)
			continue;
		ram[nr_ram].start = start / PAGE;
		ram[nr_ram++].end = (end + 1) / PAGE;
	}
	if (f)
		fclose(f);
}

static bool is_ram(uint64_t pfn)
{
	unsigned int i;

	for (i = 0; i < nr_ram; i++) {
		if (pfn >= ram[i].start && pfn < ram[i].end)
			return true;
	}
	return false;
}

static void count_page(struct gigabyte *g, uint64_t pfn, uint64_t flags)
{
	if ((flags & BIT(KPF_NOPAGE)) || (!flags && !is_ram(pfn)))
		return;
	g->present++;
	if (flags & BIT(KPF_RESERVED))
		g->reserved++;
	else if (flags & BIT(KPF_BUDDY))
		g->free++;
	else if (flags & BIT(KPF_ZERO_PAGE))	/* the huge one; it cannot be moved */
		g->other++;
	else if (flags & BIT(KPF_SLAB))
		g->slab++;
	else if (flags & BIT(KPF_PGTABLE))
		g->pgtable++;
	else if (flags & MOVABLE_FLAGS)
		g->movable++;
	else
		g->other++;
}

static void add_zone(struct gigabyte *g, const char *name)
{
	size_t len = strlen(g->zone);

	snprintf(g->zone + len, sizeof(g->zone) - len, "%s%s", len ? "+" : "", name);
}

/* Which zones reach into which gigabyte? */
static void name_zones(struct gigabyte *g, int max)
{
	unsigned long long spanned = 0, start;
	char line[256], name[16] = "";
	FILE *f = fopen("/proc/zoneinfo", "re");
	uint64_t i;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Node %*u, zone %15s", name) == 1)
			spanned = 0;
		sscanf(line, " spanned %llu", &spanned);
		if (sscanf(line, " start_pfn: %llu", &start) != 1 || !spanned)
			continue;
		for (i = start / GIGABYTE_PAGES; i <= (start + spanned - 1) / GIGABYTE_PAGES; i++) {
			if (i < (uint64_t)max)
				add_zone(&g[i], name);
		}
	}
	if (f)
		fclose(f);
}

/* Lists of the per-CPU allocator cannot be told from pages that the kernel uses */
static bool drain_free_lists(void)
{
	return write_text("/sys/kernel/debug/storm_tool/drain", "1");
}

static uint64_t flags[32768];

/* Count pages from @pfn up to @end; returns where memory ends, or 0 for an error */
static uint64_t count_range(int fd, struct gigabyte *g, uint64_t pfn, uint64_t end)
{
	ssize_t n, i;

	while (pfn < end) {
		n = pread(fd, flags, sizeof(flags), pfn * 8);
		if (n < 0)
			return 0;
		if (!n)
			break;
		for (i = 0; i < n / 8 && pfn < end; i++, pfn++)
			count_page(&g[pfn / GIGABYTE_PAGES], pfn, flags[i]);
	}
	return pfn;
}

/* A gigabyte with nothing of the kernel but a few pages that are nobody's: look twice */
static bool recount_doubtful(int fd, struct gigabyte *g, int i)
{
	if (g->slab || g->pgtable || !g->other || g->other > FEW_PAGES)
		return true;
	memset(g, 0, sizeof(*g));
	return drain_free_lists() &&
	       count_range(fd, g - i, i * GIGABYTE_PAGES, (i + 1) * GIGABYTE_PAGES);
}

/* Returns how many of @g are in use, or -1 */
int count_gigabytes(struct gigabyte *g, int max)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC), i, nr;
	bool good;
	uint64_t end;

	if (fd < 0)
		return -1;
	memset(g, 0, max * sizeof(*g));
	/* Nothing may allocate between drain and count that need not */
	memset(flags, 1, sizeof(flags));
	sync();
	read_ram();
	good = nr_ram && drain_free_lists();
	end = count_range(fd, g, 0, max * GIGABYTE_PAGES);
	nr = (end + GIGABYTE_PAGES - 1) / GIGABYTE_PAGES;
	for (i = 0; i < nr; i++)
		good &= recount_doubtful(fd, &g[i], i);
	close(fd);
	name_zones(g, max);
	return good && nr ? nr : -1;
}

bool is_tainted(const struct gigabyte *g)
{
	return g->slab || g->pgtable || g->other;
}

/* Write every 4 KiB of @nr 1 GiB pages and read it back */
static void use_gigantic(struct control *c, long nr)
{
	uint64_t *p, i, words = nr * GIB / 8, step = PAGE / 8;
	bool good = true;

	p = mmap(NULL, nr * GIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (30 << MAP_HUGE_SHIFT), -1, 0);
	if (p == MAP_FAILED) {
		storm_error(c, "1 GiB pages cannot be mapped");
		return;
	}
	for (i = 0; i < words; i += step)
		p[i] = mix(c->seed + i);
	for (i = 0; i < words; i += step)
		good &= p[i] == mix(c->seed + i);
	munmap(p, nr * GIB);
	if (!good)
		storm_error(c, "wrong data in a 1 GiB page");
}

/* How many 1 GiB pages can be allocated and written now? */
long obtain_gigantic(struct control *c)
{
	static const char pool[] = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages";
	char text[32];
	long nr;

	snprintf(text, sizeof(text), "%llu", (unsigned long long)(c->total / GIB + 1));
	write_text(pool, text);
	nr = read_number(pool);
	if (nr > 0)
		use_gigantic(c, nr);
	write_text(pool, "0");
	return nr;
}
