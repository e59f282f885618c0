// SPDX-License-Identifier: GPL-2.0
/*
 * Zones that grow and shrink: memory from 4 GiB on, which the kernel has not been
 * told of at boot, is added, taken offline, removed and added again, while pages of
 * all kinds come and go.
 *
 * Needs root, CONFIG_ARCH_MEMORY_PROBE, 4 GiB of memory from 4 GiB on that mem= hides,
 * and superpageblocks of 1 GiB. The tests run in the order they stand here: each
 * finds what the one before has left.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include <signal.h>
#include "table.h"

#define FIRST		(4ULL << 30)
#define BLOCK		(128ULL << 20)
#define BLOCKS		32
#define SPB_BLOCKS	8

#define HOTPLUG_TEST(name)	TEST_F_TIMEOUT(hotplug, name, 300)

static unsigned long block_pfn(unsigned int block)
{
	return (FIRST + block * BLOCK) / getpagesize();
}

static bool add_block(unsigned int block)
{
	char text[32];

	snprintf(text, sizeof(text), "%#llx", FIRST + block * BLOCK);

	return write_file("/sys/devices/system/memory/probe", text);
}

static bool set_state(unsigned int block, const char *state)
{
	return set_memory_state(FIRST / BLOCK + block, state);
}

static bool remove_block(int fd, unsigned int block)
{
	bool ok;

	interrupt_after(OFFLINE_SECONDS);
	ok = !ioctl(fd, ST_IOC_REMOVE, FIRST + block * BLOCK);
	interrupt_after(0);

	return ok;
}

FIXTURE(hotplug)
{
	int fd;
	pid_t load;
};

/* Under load from here on */
FIXTURE_SETUP(hotplug)
{
	NEED("/sys/devices/system/memory/probe");
	NEED(TABLE);
	NEED(RECOUNT);
	OPEN_DEVICE();
	self->load = fork();
	ASSERT_GE(self->load, 0);
	while (!self->load) {
		if (churn(self->fd, 1, 0))
			_exit(1);
	}
}

FIXTURE_TEARDOWN(hotplug)
{
	int status;

	kill(self->load, SIGTERM);
	EXPECT_EQ(waitpid(self->load, &status, 0), self->load);
	EXPECT_TRUE(WIFSIGNALED(status)) TH_LOG("somebody has written to pages of the load");
	/* What the load still had */
	close(self->fd);
}

/* The third of the superpageblocks to come, so that the table grows at both ends */
HOTPLUG_TEST(empty_zone_gets_memory)
{
	ASSERT_EQ(row_of(block_pfn(0)), NULL) TH_LOG("zone Normal is not empty: boot with mem=2G");
	ASSERT_TRUE(add_block(2 * SPB_BLOCKS));
	ASSERT_TRUE(set_state(2 * SPB_BLOCKS, "online_kernel"));
	ASSERT_NE(row_of(block_pfn(2 * SPB_BLOCKS)), NULL);
	EXPECT_EQ(row_of(block_pfn(2 * SPB_BLOCKS))->pages, BLOCK / getpagesize());
	EXPECT_EQ(rows_of_zone(block_pfn(2 * SPB_BLOCKS)), 1);
	EXPECT_EQ(recount(), 0);
}

HOTPLUG_TEST(zone_grows_at_both_ends)
{
	unsigned int block;

	for (block = BLOCKS; block-- > 0;) {
		if (block == 2 * SPB_BLOCKS)
			continue;
		ASSERT_TRUE(add_block(block));
		ASSERT_TRUE(set_state(block, "online_kernel"));
		EXPECT_EQ(recount(), 0) TH_LOG("memory block %u", block);
	}
	EXPECT_EQ(rows_of_zone(block_pfn(0)), BLOCKS / SPB_BLOCKS);
	for (block = 0; block < BLOCKS; block++)
		EXPECT_EQ(row_of(block_pfn(block))->pages, SPB_BLOCKS * BLOCK / getpagesize());
}

/* Kernel memory of the load keeps some from leaving */
HOTPLUG_TEST(blocks_offline_and_online)
{
	unsigned int block, done = 0;

	for (block = 0; block < BLOCKS && done < 8; block++) {
		if (!set_state(block, "offline"))
			continue;
		done++;
		EXPECT_EQ(recount(), 0);
		ASSERT_TRUE(set_state(block, "online_kernel"));
	}
	EXPECT_GT(done, 0);
	EXPECT_EQ(recount(), 0);
}

static bool remove_superpageblock(int fd, unsigned int block)
{
	unsigned int tries, i, done = 0;

	for (tries = 0; tries < 20 && done < SPB_BLOCKS; tries++) {
		for (i = done; i < SPB_BLOCKS && remove_block(fd, block + i); i++)
			done++;
		usleep(50000);
	}

	return done == SPB_BLOCKS;
}

HOTPLUG_TEST(superpageblock_removed_and_added_again)
{
	unsigned int first, i;

	/* Pages of the load come and go, and no longer do so */
	kill(self->load, SIGSTOP);
	for (first = BLOCKS - SPB_BLOCKS; first; first -= SPB_BLOCKS) {
		if (remove_superpageblock(self->fd, first))
			break;
	}
	kill(self->load, SIGCONT);
	ASSERT_NE(first, 0) TH_LOG("none could be removed");
	EXPECT_EQ(recount(), 0);
	if (row_of(block_pfn(first)))
		EXPECT_STREQ(row_of(block_pfn(first))->category, "absent");
	for (i = 0; i < SPB_BLOCKS; i++) {
		ASSERT_TRUE(add_block(first + i));
		ASSERT_TRUE(set_state(first + i, "online_kernel"));
	}
	EXPECT_EQ(recount(), 0);
	EXPECT_EQ(rows_of_zone(block_pfn(0)), BLOCKS / SPB_BLOCKS);
	EXPECT_STRNE(row_of(block_pfn(first))->category, "absent");
	EXPECT_GT(row_of(block_pfn(first))->free, 0);
}

TEST_HARNESS_MAIN
