// SPDX-License-Identifier: GPL-2.0
/*
 * Zones that are not divided, because they are too small or for superpageblock=off,
 * have a single superpageblock, and all that is counted is counted all the same.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "table.h"

FIXTURE(undivided)
{
	int fd;
};

FIXTURE_SETUP(undivided)
{
	NEED(TABLE);
	NEED(RECOUNT);
	OPEN_DEVICE();
}

FIXTURE_TEARDOWN(undivided)
{
	close(self->fd);
}

TEST_F(undivided, zone_has_one_row)
{
	struct zone_info zones[MAX_ZONES];
	int nr_zones = read_zones(zones), n = read_table(), i, k, nr;

	ASSERT_GT(n, 0);
	for (k = 0; k < nr_zones; k++) {
		if (!zones[k].present)
			continue;
		nr = 0;
		for (i = 0; i < n; i++) {
			if (rows[i].node != zones[k].node || strcmp(rows[i].zone, zones[k].name))
				continue;
			nr++;
			EXPECT_EQ(rows[i].start_pfn, zones[k].start_pfn);
			EXPECT_EQ(rows[i].pages, zones[k].spanned);
		}
		EXPECT_EQ(nr, 1) TH_LOG("zone %s", zones[k].name);
	}
}

TEST_F_TIMEOUT(undivided, recount_finds_no_difference, 300)
{
	EXPECT_EQ(churn(self->fd, 1, 0), 0);
	EXPECT_EQ(recount(), 0);
}

TEST_HARNESS_MAIN
