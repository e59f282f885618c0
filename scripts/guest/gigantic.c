// SPDX-License-Identifier: GPL-2.0
/*
 * Cost of one 1 GiB page in a guest whose memory is half full of anonymous
 * memory, scattered in pieces of 2 MiB.
 * Times are CLOCK_MONOTONIC nanoseconds: instructions under QEMU's icount.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096UL
#define CHUNK	(2UL << 20)
/* Left to the kernel while the guest is filled */
#define SPARE	(640UL << 20)
/* How often a page is allocated with the tracer on */
#define TRACED	4

static const char pool[] = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages";
static const char tracing[] = "/sys/kernel/tracing";

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void write_text(const char *dir, const char *file, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s%s%s", dir, *file ? "/" : "", file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(path);
	if (fd >= 0)
		close(fd);
}

static unsigned long read_number(const char *dir, const char *file, const char *format)
{
	unsigned long value = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s%s%s", dir, *file ? "/" : "", file);
	f = fopen(path, "re");
	if (f && fscanf(f, format, &value) != 1)
		value = 0;
	if (f)
		fclose(f);
	return value;
}

/* Bytes */
static unsigned long available(void)
{
	char line[128];
	unsigned long kib = 0;
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "MemAvailable: %lu", &kib) != 1)
		;
	if (f)
		fclose(f);
	return kib * 1024;
}

/* Fill the guest, then give back every other piece of 2 MiB, at random */
static char *half_fill(unsigned long *bytes)
{
	static unsigned int random = 1;
	unsigned long offset;
	char *p;

	*bytes = (available() - SPARE) / CHUNK * CHUNK;
	p = mmap(NULL, *bytes + CHUNK, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	p = (char *)(((uintptr_t)p + CHUNK - 1) & ~(CHUNK - 1));
	madvise(p, *bytes, MADV_HUGEPAGE);
	for (offset = 0; offset < *bytes; offset += PAGE)
		p[offset] = 1;
	for (offset = 0; offset < *bytes; offset += CHUNK) {
		random = random * 1664525 + 1013904223;
		if (random >> 31)
			madvise(p + offset, CHUNK, MADV_DONTNEED);
	}
	return p;
}

/* Returns how many pages were obtained, one or none */
static unsigned long obtain(uint64_t *ns)
{
	uint64_t start = now();

	write_text(pool, "", "1");
	*ns = now() - start;
	return read_number(pool, "", "%lu");
}

/* Where the longest section was */
static void show_trace(void)
{
	char line[256];
	FILE *f;

	f = fopen("/sys/kernel/tracing/trace", "re");
	while (f && fgets(line, sizeof(line), f))
		printf("# %s", line);
	if (f)
		fclose(f);
}

/* One page in a guest that is half full, with the tracer on or off */
static bool obtain_half_full(const char *tracer_on, uint64_t *ns)
{
	unsigned long bytes, nr;
	char *p = half_fill(&bytes);

	if (!p)
		return false;
	write_text(tracing, "tracing_on", tracer_on);
	nr = obtain(ns);
	write_text(tracing, "tracing_on", "0");
	write_text(pool, "", "0");
	munmap(p, bytes);
	return nr;
}

/*
 * The longest of several, as a section is as long as the lists that it works on
 * happen to be; a search that finds no page is another matter. The tracer itself
 * costs instructions.
 */
static unsigned long longest_irqsoff(void)
{
	unsigned long longest = 0, microseconds;
	uint64_t unused;
	int i;

	write_text(tracing, "current_tracer", "irqsoff");
	for (i = 0; i < TRACED; i++) {
		write_text(tracing, "tracing_on", "0");
		write_text(tracing, "tracing_max_latency", "0");
		if (!obtain_half_full("1", &unused))
			continue;
		show_trace();
		microseconds = read_number(tracing, "tracing_max_latency", "%lu");
		longest = microseconds > longest ? microseconds : longest;
	}
	return longest;
}

int main(void)
{
	unsigned long irqsoff_us;
	uint64_t ns = 0;

	/* Movable pages that boot has left in the way move out, uncounted */
	obtain(&ns);
	write_text(pool, "", "0");
	if (!obtain_half_full("0", &ns)) {
		printf("case\t1 GiB page, half-full guest\tfailed\tfailed\n");
		return 1;
	}
	printf("case\t1 GiB page, half-full guest\t%llu\t0\n", (unsigned long long)ns);
	irqsoff_us = longest_irqsoff();
	printf("case\t1 GiB page, longest irqs-off section\t%lu000\t0\n", irqsoff_us);
	return !irqsoff_us;
}
