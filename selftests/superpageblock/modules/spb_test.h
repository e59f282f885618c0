/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef SPB_TEST_H
#define SPB_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define ST_DEVICE	"/dev/spb_test"
#define ST_SLOTS	4096
#define ST_PART_ORDER	4

/* The lines of vmcoreinfo by which a reader of a crash dump finds free blocks */
struct st_layout {
	char lines[512];
};

/* Which gfp mask a request uses, and so which pageblocks serve it */
enum st_shape {
	ST_UNMOVABLE,
	ST_MOVABLE,
	ST_RECLAIMABLE,
	ST_SHAPES
};

/* Allocate a block into @slot, which must be free. It is filled with a pattern. */
struct st_alloc {
	__u32 slot;
	__u32 shape;
	__u32 order;
	__u32 unused;
	__u64 pfn;		/* result: of its first page */
};

#define ST_IOC_ALLOC	_IOWR('s', 1, struct st_alloc)
/* Free the block in slot N: fails with EILSEQ if somebody has written to it */
#define ST_IOC_FREE	_IO('s', 2)
/* Free all but the first ST_PART_ORDER block of the one in slot N, a larger one */
#define ST_IOC_FREE_ALL_BUT_PART	_IO('s', 3)
/* Free the block in slot N, of an order without per-CPU lists, as if in an NMI that
 * came while zone->lock was held
 */
#define ST_IOC_FREE_LOCKED	_IO('s', 4)
/* Dump page N */
#define ST_IOC_DUMP		_IO('s', 5)
/* Take the memory block at physical address N offline and remove it */
#define ST_IOC_REMOVE		_IO('s', 6)
/* Those lines as they should be for this kernel */
#define ST_IOC_LAYOUT		_IOR('s', 7, struct st_layout)

#endif /* SPB_TEST_H */
