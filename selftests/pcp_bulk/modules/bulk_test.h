/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef BULK_TEST_H
#define BULK_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define BT_DEVICE	"/dev/bulk_test"
#define BT_BLOCKS	8	/* blocks of an arena at most */
#define BT_ORDERS	16	/* room for all orders of the buddy allocator */
#define BT_TYPES	8	/* and for all migratetypes */

/* Which gfp mask a request uses, and so which pageblocks serve it */
enum bt_shape {
	BT_UNMOVABLE,
	BT_MOVABLE,
	BT_RECLAIMABLE,
	BT_SHAPES
};

enum bt_set {
	BT_ARENA,	/* the arena's pieces, in order of block and address */
	BT_BURST,	/* what the last burst got, in the order it got it */
	BT_SETS
};

/*
 * A free block of the arena, at its first page: its order plus one, and the
 * migratetype whose list it is on. Other pages have 0.
 */
#define BT_MAP(order, type)	((type) << 8 | ((order) + 1))

/* Orders to ask for by name: not cut up, and cut up into pageblocks */
#define BT_WHOLE	(~0U)
#define BT_PAGEBLOCK	(~0U - 1)

/* Blocks of the highest order, held in pieces of @order */
struct bt_arena {
	__u32 order;			/* the real one, where asked for by name */
	__u32 blocks;
	__u32 shape[BT_BLOCKS];
	/* results */
	__u32 max_order;
	__u32 block_order;		/* of a pageblock */
	__u32 node;
	__u32 traced;			/* refills and drains can be counted */
	__u64 pfn[BT_BLOCKS];
	char zone[16];
};

/*
 * Pages of the arena that a tracepoint of refill or drain reported under
 * zone->lock, and in how many steps they changed the zone's free pages
 */
struct bt_steps {
	__u64 pages;
	__u64 steps;
};

/* Allocate up to @count pages of @order, empty the per-CPU lists, draw the map */
struct bt_burst {
	__u32 shape;
	__u32 order;
	__u32 count;
	__u32 done;			/* result */
	__u64 pfns;			/* pointer to __u64[count], or 0 */
	__u64 map;			/* pointer to __u16 for each page of the arena, or 0 */
	struct bt_steps refill;		/* result */
};

/* Free entries of a set in the order of @index, then the same */
struct bt_free {
	__u32 set;
	__u32 count;
	__u64 index;			/* pointer to __u32[count]; 0: all, in order */
	__u64 map;			/* pointer to __u16 for each page of the arena, or 0 */
	struct bt_steps drain;		/* result */
};

/* The arena's zone: free lists and per-CPU lists counted, and their accounts */
struct bt_count {
	__u64 listed[BT_TYPES][BT_ORDERS];
	__u64 nr_free[BT_ORDERS];
	__u64 free;
	__u64 free_blocks;		/* in blocks of a pageblock and more */
	__u64 free_cma;
	__u64 free_highatomic;
	__u64 pcp_listed;
	__u64 pcp_count;
	__u32 isolate;			/* the migratetypes with an account of */
	__u32 cma;			/* their own, BT_TYPES if there is none */
	__u32 highatomic;
};

#define BT_IOC_ARENA	_IOWR('b', 1, struct bt_arena)
#define BT_IOC_BURST	_IOWR('b', 2, struct bt_burst)
#define BT_IOC_FREE	_IOWR('b', 3, struct bt_free)
#define BT_IOC_COUNT	_IOR('b', 4, struct bt_count)
/* Free block N of the arena in pieces and allocate it as one contiguous range */
#define BT_IOC_CONTIG	_IO('b', 5)

#endif /* BULK_TEST_H */
