// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of superpageblocks on the running kernel: what debugfs and /proc show of
 * them agrees with the zones, with all other readers of the free lists, and with a
 * recount; and what a pageblock holds is noticed.
 *
 * Needs root, and modules/spb_test.ko for pages of a certain kind. Somebody else
 * may allocate or free between two readings, which get a few more chances then.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <linux/kernel-page-flags.h>

#include "kselftest_harness.h"
#include "table.h"

#define CMA		"/sys/kernel/debug/cma/reserved"
#define HARD_OFFLINE	"/sys/devices/system/memory/hard_offline_page"
#define UNPOISON	"/sys/kernel/debug/hwpoison/unpoison-pfn"

#define SPB_TEST(name)	TEST_F_TIMEOUT(superpageblock, name, 300)

FIXTURE(superpageblock)
{
	int fd;
};

FIXTURE_SETUP(superpageblock)
{
	OPEN_DEVICE();
}

FIXTURE_TEARDOWN(superpageblock)
{
	close(self->fd);
}

SPB_TEST(table_is_for_root_only)
{
	struct stat st;

	NEED(TABLE);
	ASSERT_EQ(stat(TABLE, &st), 0);
	EXPECT_EQ(st.st_mode & 07777, 0400);
	EXPECT_GT(read_table(), 0);
	EXPECT_FALSE(write_file(TABLE, "1"));
}

SPB_TEST(table_has_row_for_each_part_of_zone)
{
	struct zone_info zones[MAX_ZONES];
	int nr_zones = read_zones(zones), n = read_table(), i, k;

	NEED(TABLE);
	ASSERT_GT(n, 0);
	for (k = 0; k < nr_zones; k++) {
		unsigned long at = zones[k].start_pfn, end = at + zones[k].spanned;

		if (!zones[k].present)
			continue;
		for (i = 0; i < n; i++) {
			if (rows[i].node != zones[k].node || strcmp(rows[i].zone, zones[k].name))
				continue;
			/* Where there is no memory, there need be no row */
			ASSERT_GE(rows[i].start_pfn, at);
			at = rows[i].start_pfn + rows[i].pages;
		}
		ASSERT_LE(at, end);
		ASSERT_GT(at, zones[k].start_pfn) TH_LOG("zone %s has no row", zones[k].name);
	}
}

SPB_TEST(table_counts_pageblocks)
{
	int i, n = read_table();

	NEED(TABLE);
	ASSERT_GT(n, 0);
	for (i = 0; i < n; i++) {
		struct row *r = &rows[i];

		EXPECT_LE(r->free_b, r->usable);
		EXPECT_LE(r->free, r->pages);
		EXPECT_LE(r->nonmovable, r->usable + r->reserved);
		EXPECT_LE(r->movable, r->usable + r->reserved);
		EXPECT_EQ(!strcmp(r->category, "tainted"), !!r->nonmovable);
		if (!strcmp(r->category, "empty"))
			EXPECT_EQ(r->free_b, r->usable);
	}
}

static bool states_agree(void)
{
	struct zone_info zones[MAX_ZONES];
	int nr_zones = read_zones(zones), n = read_table(), i, k, s;

	for (i = 0; i < n; i++) {
		for (k = 0; k < nr_zones; k++) {
			if (rows[i].node != zones[k].node || strcmp(rows[i].zone, zones[k].name))
				continue;
			for (s = 0; s < 5; s++)
				zones[k].nr_state[s] -= !strcmp(rows[i].category, states[s]);
		}
	}
	for (k = 0; k < nr_zones; k++) {
		for (s = 0; s < 5; s++) {
			if (zones[k].nr_state[s])
				return false;
		}
	}

	return n > 0;
}

SPB_TEST(zoneinfo_counts_superpageblocks)
{
	int tries = TRIES;

	NEED(TABLE);
	while (!states_agree() && --tries)
		usleep(100000);
	EXPECT_GT(tries, 0);
}

static bool output_has(const char *command, const char *text)
{
	FILE *f = popen(command, "re");
	bool found = false;
	char line[4096];

	while (f && fgets(line, sizeof(line), f))
		found |= !!strstr(line, text);
	if (f)
		pclose(f);

	return found;
}

SPB_TEST(bad_boot_parameter_is_told_what_is_right)
{
	const char *told = "superpageblock: \"sideways\" is neither \"on\" nor \"off\"";

	if (!output_has("cat /proc/cmdline", "superpageblock=sideways"))
		SKIP(return, "needs superpageblock=sideways on the command line");
	EXPECT_TRUE(output_has("dmesg", told));
}

SPB_TEST(recount_finds_no_difference)
{
	NEED(RECOUNT);
	EXPECT_EQ(recount(), 0);
}

SPB_TEST(content_of_whole_pageblocks)
{
	unsigned long before, with;
	struct st_alloc a;
	int tries;

	NEED(TABLE);
	for (tries = 0; tries < TRIES; tries++) {
		ASSERT_EQ(get_block(self->fd, &a, 0, ST_UNMOVABLE, 10), 0);
		ASSERT_NE(row_of(a.pfn), NULL);
		with = row_of(a.pfn)->nonmovable;
		ASSERT_EQ(ioctl(self->fd, ST_IOC_FREE, 0), 0);
		before = row_of(a.pfn)->nonmovable;
		if (with == before + 2)
			break;
	}
	EXPECT_LT(tries, TRIES) TH_LOG("%lu with two pageblocks, %lu without", with, before);
}

SPB_TEST(content_stays_until_all_is_free)
{
	unsigned long all, rest, none;
	struct st_alloc a;
	int tries;

	NEED(TABLE);
	for (tries = 0; tries < TRIES; tries++) {
		ASSERT_EQ(get_block(self->fd, &a, 0, ST_UNMOVABLE, 10), 0);
		all = row_of(a.pfn)->nonmovable;
		ASSERT_EQ(ioctl(self->fd, ST_IOC_FREE_ALL_BUT_PART, 0), 0);
		rest = row_of(a.pfn)->nonmovable;
		ASSERT_EQ(ioctl(self->fd, ST_IOC_FREE, 0), 0);
		none = row_of(a.pfn)->nonmovable;
		if (rest >= all - 1 && none < rest)
			break;
	}
	EXPECT_LT(tries, TRIES) TH_LOG("%lu, with a part of it %lu, without %lu", all, rest, none);
}

SPB_TEST(movable_blocks_do_not_taint)
{
	unsigned long before;
	struct st_alloc a;
	int tries;

	NEED(TABLE);
	for (tries = 0; tries < TRIES; tries++) {
		ASSERT_EQ(get_block(self->fd, &a, 0, ST_MOVABLE, 10), 0);
		before = row_of(a.pfn)->nonmovable;
		ASSERT_GE(row_of(a.pfn)->movable, 2);
		ASSERT_EQ(ioctl(self->fd, ST_IOC_FREE, 0), 0);
		if (row_of(a.pfn)->nonmovable == before)
			break;
	}
	EXPECT_LT(tries, TRIES);
}

SPB_TEST(random_operations)
{
	pid_t child = fork();
	int status;

	ASSERT_GE(child, 0);
	if (!child)
		_exit(!!churn(self->fd, 2, ST_SLOTS / 2));
	EXPECT_EQ(churn(self->fd, 1, 0), 0);
	ASSERT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	if (!access(TABLE, F_OK))
		EXPECT_EQ(recount(), 0);
}

/* Fill an eighth of memory, so that pages of all kinds are mixed, and free half of it */
SPB_TEST(fragmented_and_compacted)
{
	size_t page = getpagesize(), i;
	size_t size = sysconf(_SC_PHYS_PAGES) / 8 * page;
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long wrong = 0;

	ASSERT_NE(mem, MAP_FAILED);
	madvise(mem, size, MADV_NOHUGEPAGE);
	for (i = 0; i < size; i += page)
		*(size_t *)(mem + i) = i + 1;
	for (i = 0; i < size; i += 2 * page)
		madvise(mem + i, page, MADV_DONTNEED);
	ASSERT_TRUE(write_file("/proc/sys/vm/compact_memory", "1"));
	for (i = page; i < size; i += 2 * page)
		wrong += *(size_t *)(mem + i) != i + 1;
	EXPECT_EQ(wrong, 0);
	if (!access(TABLE, F_OK))
		EXPECT_EQ(recount(), 0);
	munmap(mem, size);
	if (!access(TABLE, F_OK))
		EXPECT_EQ(recount(), 0);
}

SPB_TEST(table_read_while_pages_move)
{
	int status = 0, reads = 0, i, n;
	pid_t child;

	NEED(TABLE);
	child = fork();
	ASSERT_GE(child, 0);
	if (!child)
		_exit(!!churn(self->fd, 3, 0));
	do {
		n = read_table();
		ASSERT_GT(n, 0);
		for (i = 0; i < n; i++) {
			ASSERT_LE(rows[i].free, rows[i].pages);
			ASSERT_LE(rows[i].free_b, rows[i].usable);
		}
		reads++;
	} while (waitpid(child, &status, WNOHANG) == 0);
	EXPECT_EQ(status, 0);
	EXPECT_GT(reads, 1);
}

/* Freed while another context has zone->lock, a page waits on the zone's llist */
SPB_TEST(freed_while_zone_is_locked)
{
	unsigned long before, after = 0;
	struct st_alloc a, other;
	int tries;

	NEED(TABLE);
	NEED(RECOUNT);
	for (tries = 0; tries < TRIES; tries++) {
		ASSERT_EQ(get_block(self->fd, &a, 0, ST_UNMOVABLE, 10), 0);
		before = row_of(a.pfn)->free;
		ASSERT_EQ(ioctl(self->fd, ST_IOC_FREE_LOCKED, 0), 0);
		/* The next to free something takes those that wait along */
		ASSERT_EQ(get_block(self->fd, &other, 0, ST_UNMOVABLE, 10), 0);
		ASSERT_EQ(ioctl(self->fd, ST_IOC_FREE, 0), 0);
		after = row_of(a.pfn)->free;
		if (after >= before + 1024)
			break;
	}
	EXPECT_LT(tries, TRIES) TH_LOG("%lu pages free before, %lu after", before, after);
	EXPECT_EQ(recount(), 0);
}

static unsigned long read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long value = 0;

	if (f) {
		if (fscanf(f, "%lu", &value) != 1)
			value = 0;
		fclose(f);
	}

	return value;
}

/* What CMA hands out can be migrated: it taints nothing */
SPB_TEST(cma_area_is_not_tainted)
{
	unsigned long pfn = read_number(CMA "/base_pfn");
	unsigned long nonmovable, movable;

	NEED(TABLE);
	NEED(RECOUNT);
	NEED(CMA "/alloc");
	ASSERT_NE(pfn, 0) TH_LOG("no CMA area; boot with cma=64M and CONFIG_CMA_DEBUGFS");
	ASSERT_NE(row_of(pfn), NULL);
	nonmovable = row_of(pfn)->nonmovable;
	ASSERT_TRUE(write_file(CMA "/alloc", "4096"));
	movable = row_of(pfn)->movable;
	EXPECT_GE(movable, 8);
	EXPECT_LE(row_of(pfn)->nonmovable, nonmovable + 1);
	EXPECT_EQ(recount(), 0);
	ASSERT_TRUE(write_file(CMA "/free", "4096"));
	EXPECT_EQ(recount(), 0);
}

SPB_TEST(dump_of_cma_page_ends)
{
	unsigned long pfn = read_number(CMA "/base_pfn");

	NEED(CMA "/base_pfn");
	ASSERT_NE(pfn, 0);
	EXPECT_EQ(ioctl(self->fd, ST_IOC_DUMP, pfn), 0);
}

/* The notes of the running kernel, vmcoreinfo among them; the caller frees them */
static char *read_notes(size_t *bytes)
{
	FILE *f = fopen("/proc/kcore", "re");
	char *notes = NULL;
	Elf64_Phdr part;
	Elf64_Ehdr head;

	if (!f)
		return NULL;
	/* They are the first part */
	if (fread(&head, sizeof(head), 1, f) == 1 && !fseek(f, head.e_phoff, SEEK_SET) &&
	    fread(&part, sizeof(part), 1, f) == 1 && part.p_type == PT_NOTE &&
	    !fseek(f, part.p_offset, SEEK_SET))
		notes = malloc(part.p_filesz);
	if (notes)
		*bytes = fread(notes, 1, part.p_filesz, f);
	fclose(f);

	return notes;
}

/* Readers of crash dumps go by it */
SPB_TEST(vmcoreinfo_is_true)
{
	struct st_layout layout;
	char *line, *end, *notes;
	size_t bytes;

	NEED("/proc/kcore");
	ASSERT_EQ(ioctl(self->fd, ST_IOC_LAYOUT, &layout), 0);
	notes = read_notes(&bytes);
	ASSERT_NE(notes, NULL);
	for (line = layout.lines; (end = strchr(line, '\n')); line = end + 1)
		EXPECT_NE(memmem(notes, bytes, line, end + 1 - line), NULL)
			TH_LOG("not in vmcoreinfo: %.*s", (int)(end - line), line);
	EXPECT_GT(line, &layout.lines[0]);
	free(notes);
}

static bool poison(unsigned long pfn)
{
	char text[32];

	snprintf(text, sizeof(text), "%#lx", pfn * getpagesize());

	return write_file(HARD_OFFLINE, text);
}

static bool unpoison(unsigned long pfn)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", pfn);

	return write_file(UNPOISON, text);
}

static bool is_poisoned(unsigned long pfn)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t flags = 0;

	if (fd < 0 || pread(fd, &flags, sizeof(flags), pfn * sizeof(flags)) != sizeof(flags))
		flags = 0;
	close(fd);

	return flags >> KPF_HWPOISON & 1;
}

/* memory_failure() takes a free page off its list, and unpoisoning puts it back */
SPB_TEST(poisoned_and_recovered)
{
	struct st_alloc a;

	NEED(TABLE);
	NEED(RECOUNT);
	NEED(HARD_OFFLINE);
	NEED(UNPOISON);
	ASSERT_EQ(get_block(self->fd, &a, 0, ST_MOVABLE, 10), 0);
	ASSERT_EQ(ioctl(self->fd, ST_IOC_FREE, 0), 0);
	ASSERT_TRUE(poison(a.pfn + 5));
	EXPECT_TRUE(is_poisoned(a.pfn + 5));
	EXPECT_EQ(recount(), 0);
	ASSERT_TRUE(unpoison(a.pfn + 5));
	EXPECT_FALSE(is_poisoned(a.pfn + 5));
	EXPECT_EQ(recount(), 0);
}

/* The number between these words in the last line of the kernel log that has both, or 0 */
static unsigned long last_logged(const char *before, const char *behind)
{
	FILE *f = popen("dmesg", "re");
	unsigned long value = 0;
	char line[512], *at;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		at = strstr(line, before);
		if (at && strstr(at, behind))
			value = strtoul(at + strlen(before), NULL, 10);
	}
	pclose(f);

	return value;
}

/* It goes through the free lists. Ends before it would suspend anything. */
SPB_TEST(hibernation_leaves_out_free_pages)
{
	unsigned long pages;

	NEED("/sys/power/disk");
	NEED("/sys/power/pm_test");
	ASSERT_TRUE(write_file("/sys/power/pm_test", "freezer"));
	write_file("/sys/module/suspend/parameters/pm_test_delay", "0");
	ASSERT_TRUE(write_file("/sys/power/disk", "shutdown"));
	ASSERT_TRUE(write_file("/sys/power/state", "disk"));
	ASSERT_TRUE(write_file("/sys/power/pm_test", "none"));
	pages = last_logged("PM: hibernation: Allocated ", " pages for snapshot");
	EXPECT_GT(pages, 0);
	EXPECT_LT(pages, sysconf(_SC_PHYS_PAGES) / 3)
		TH_LOG("an image of %lu pages, of %ld in all", pages, sysconf(_SC_PHYS_PAGES));
}

/* Take memory blocks away and give them back; those with kernel memory stay */
SPB_TEST(memory_offline_and_online)
{
	unsigned int block, done = 0;

	NEED("/sys/devices/system/memory");
	for (block = 0; block < 64 && done < 8; block++) {
		if (!set_memory_state(block, "offline"))
			continue;
		if (!access(TABLE, F_OK))
			EXPECT_EQ(recount(), 0);
		done++;
		ASSERT_TRUE(set_memory_state(block, "online"));
	}
	EXPECT_GT(done, 0);
	if (!access(TABLE, F_OK))
		EXPECT_EQ(recount(), 0);
}

TEST_HARNESS_MAIN
