// SPDX-License-Identifier: GPL-2.0
/* Allocates and frees blocks of pages on behalf of the superpageblock kselftest */

#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/kprobes.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmdebug.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/uaccess.h>

#include "spb_test.h"

struct st_block {
	struct page *page;
	unsigned int order;
};

/* Serialises the ioctls */
static DEFINE_MUTEX(st_lock);
static struct st_block st_blocks[ST_SLOTS];

static const gfp_t st_gfp[ST_SHAPES] = {
	[ST_UNMOVABLE]		= GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN,
	[ST_MOVABLE]		= GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN,
	[ST_RECLAIMABLE]	= GFP_KERNEL | __GFP_RECLAIMABLE | __GFP_NORETRY |
				  __GFP_NOWARN,
};

/* At both ends of each page; no two pages have the same */
static unsigned long st_pattern(struct page *page)
{
	return page_to_pfn(page) * 0x9e3779b97f4a7c15UL;
}

static void st_fill(struct page *page)
{
	unsigned long *word = kmap_local_page(page);

	word[0] = st_pattern(page);
	word[PAGE_SIZE / sizeof(*word) - 1] = ~word[0];
	kunmap_local(word);
}

static bool st_intact(struct page *page)
{
	unsigned long *word = kmap_local_page(page);
	bool intact = word[0] == st_pattern(page) &&
		      word[PAGE_SIZE / sizeof(*word) - 1] == ~word[0];

	kunmap_local(word);

	return intact;
}

static long st_alloc(struct st_alloc *a)
{
	struct st_block *block;
	unsigned long i;

	if (a->slot >= ST_SLOTS || a->shape >= ST_SHAPES || a->order > MAX_PAGE_ORDER)
		return -EINVAL;
	block = &st_blocks[a->slot];
	if (block->page)
		return -EBUSY;
	block->page = alloc_pages(st_gfp[a->shape], a->order);
	if (!block->page)
		return -ENOMEM;
	block->order = a->order;
	for (i = 0; i < 1UL << a->order; i++)
		st_fill(block->page + i);
	a->pfn = page_to_pfn(block->page);

	return 0;
}

static long st_free(unsigned long slot)
{
	struct st_block *block;
	unsigned long i;
	long ret = 0;

	if (slot >= ST_SLOTS || !st_blocks[slot].page)
		return -EINVAL;
	block = &st_blocks[slot];
	for (i = 0; i < 1UL << block->order; i++) {
		if (!st_intact(block->page + i))
			ret = -EILSEQ;
	}
	__free_pages(block->page, block->order);
	block->page = NULL;

	return ret;
}

/* What is freed and what is left is too large for the per-CPU lists */
static long st_free_all_but_part(unsigned long slot)
{
	struct st_block *block;
	unsigned int order;

	if (slot >= ST_SLOTS || !st_blocks[slot].page ||
	    st_blocks[slot].order <= ST_PART_ORDER)
		return -EINVAL;
	block = &st_blocks[slot];
	for (order = block->order; order-- > ST_PART_ORDER;) {
		set_page_count(block->page + (1UL << order), 1);
		__free_pages(block->page + (1UL << order), order);
	}
	block->order = ST_PART_ORDER;

	return 0;
}

/* Not exported */
static void (*st_free_pages_nolock)(struct page *page, unsigned int order);

static int st_find_symbol(void)
{
	struct kprobe probe = { .symbol_name = "free_pages_nolock" };
	int ret = register_kprobe(&probe);

	if (ret)
		return ret;
	st_free_pages_nolock = (void *)probe.addr;
	unregister_kprobe(&probe);

	return 0;
}

static long st_free_locked(unsigned long slot)
{
	struct st_block *block;

	if (slot >= ST_SLOTS || !st_blocks[slot].page)
		return -EINVAL;
	if (!st_free_pages_nolock && st_find_symbol())
		return -ENOENT;
	block = &st_blocks[slot];
	scoped_guard(spinlock_irqsave, &page_zone(block->page)->lock)
		st_free_pages_nolock(block->page, block->order);
	block->page = NULL;

	return 0;
}

static long st_layout(void __user *arg)
{
	struct st_layout layout = {};

	snprintf(layout.lines, sizeof(layout.lines),
		 "SIZE(free_area)=%zu\nOFFSET(zone.free_area)=%zu\n"
		 "OFFSET(free_area.free_list)=%zu\nLENGTH(zone.free_area)=%d\n"
		 "LENGTH(free_area.free_list)=%d\nNUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=%d\n",
		 sizeof(struct free_area), offsetof(struct zone, free_area),
		 offsetof(struct free_area, free_list), NR_PAGE_ORDERS, MIGRATE_TYPES,
		 (int)((unsigned int)PGTY_buddy << 24));

	return copy_to_user(arg, &layout, sizeof(layout)) ? -EFAULT : 0;
}

static long st_dump(unsigned long pfn)
{
	if (!pfn_valid(pfn))
		return -EINVAL;
	dump_page(pfn_to_page(pfn), "asked for by the superpageblock kselftest");

	return 0;
}

static long st_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct st_alloc a;
	long ret;

	guard(mutex)(&st_lock);
	switch (cmd) {
	case ST_IOC_ALLOC:
		if (copy_from_user(&a, (void __user *)arg, sizeof(a)))
			return -EFAULT;
		ret = st_alloc(&a);
		if (!ret && copy_to_user((void __user *)arg, &a, sizeof(a)))
			ret = -EFAULT;
		return ret;
	case ST_IOC_FREE:
		return st_free(arg);
	case ST_IOC_FREE_ALL_BUT_PART:
		return st_free_all_but_part(arg);
	case ST_IOC_FREE_LOCKED:
		return st_free_locked(arg);
	case ST_IOC_LAYOUT:
		return st_layout((void __user *)arg);
	case ST_IOC_DUMP:
		return st_dump(arg);
	case ST_IOC_REMOVE:
		return offline_and_remove_memory(arg, memory_block_size_bytes());
	}

	return -ENOTTY;
}

/* A test that failed leaves its blocks behind */
static int st_release(struct inode *inode, struct file *file)
{
	unsigned long slot;

	guard(mutex)(&st_lock);
	for (slot = 0; slot < ST_SLOTS; slot++) {
		if (st_blocks[slot].page)
			st_free(slot);
	}

	return 0;
}

static const struct file_operations st_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= st_ioctl,
	.release	= st_release,
};

static struct miscdevice st_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "spb_test",
	.fops	= &st_fops,
};
module_misc_device(st_device);
MODULE_DESCRIPTION("Blocks of pages for the superpageblock kselftest");
MODULE_LICENSE("GPL");
