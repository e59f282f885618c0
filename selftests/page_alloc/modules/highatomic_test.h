/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef HIGHATOMIC_TEST_H
#define HIGHATOMIC_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HA_DEVICE	"/dev/highatomic_test"
#define HA_NETDEV	"hatest0"
#define HA_SETS		4

/* Shapes of requests: which gfp mask the burst uses */
enum ha_shape {
	HA_ATOMIC,		/* GFP_ATOMIC */
	HA_ATOMIC_NOMEMALLOC,	/* GFP_ATOMIC | __GFP_NOMEMALLOC */
	HA_NOWAIT,		/* no reclaim, no kswapd, no right to any reserve */
	HA_KERNEL,		/* GFP_KERNEL */
	HA_SHAPES
};

/* Allocate up to @count blocks of @order into a set; stop at the first failure */
struct ha_burst {
	__u32 set;
	__u32 shape;
	__u32 order;
	__u32 count;
	__u64 leave;		/* pages to leave free first; 0: no pressure */
	/* results */
	__u32 done;		/* blocks allocated */
	__u32 kswapd_woken;	/* wake-ups of kswapd by the first allocation */
	__u64 pfn;		/* of the first block */
	__u64 reserve_used;	/* pages by which free highatomic pages fell */
	__s64 reserve_grown;	/* pages by which the reserve grew */
	__u64 free_before;	/* free pages of the zone after the fill */
	__u64 free_after;	/* free pages of the zone after the burst */
};

/* The zone that serves GFP_ATOMIC first; counts in pages */
struct ha_zone {
	__u64 managed;
	__u64 free;
	__u64 wmark_min;
	__u64 wmark_low;
	__u64 wmark_high;
	__u64 reserved_highatomic;
	__u64 free_highatomic;
	__u32 pageblock_pages;
	__u32 node;
	char name[16];
};

/* Page fragments that the test network device refilled on receive */
struct ha_net {
	__u64 refills;
	__u64 demoted;		/* order 0 instead of a high order */
	__u64 failed;
};

#define HA_IOC_ZONE	_IOR('h', 1, struct ha_zone)
#define HA_IOC_BURST	_IOWR('h', 2, struct ha_burst)
#define HA_IOC_FREE	_IO('h', 3)		/* argument: set */
#define HA_IOC_SQUEEZE	_IO('h', 4)		/* reclaim until nothing is left, then free */
#define HA_IOC_RECYCLE	_IOWR('h', 5, struct ha_burst)	/* free and reallocate a set */
#define HA_IOC_NET	_IOR('h', 6, struct ha_net)

#endif /* HIGHATOMIC_TEST_H */
