// SPDX-License-Identifier: GPL-2.0
/*
 * What the storm needs of the kernel and user space cannot ask for:
 * storm_tool/drain empties the per-CPU lists of free pages, storm_tool/burst
 * allocates and frees as many order-3 blocks with GFP_ATOMIC as are written to
 * it. Read, it says how many were asked for and how many failed. storm_tool/remove
 * takes the memory block at the physical address written to it away.
 */
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>

#define ST_ORDER	3
#define ST_BURST_MAX	65536

static DEFINE_MUTEX(st_lock);	/* protects the two counters */
static u64 st_asked, st_failed;

/* More than the per-CPU lists take, so that the pages do not end up there */
#define ST_DRAIN_PAGES	32

/* Isolating pages empties the lists of their zone */
static bool st_drain_zone(gfp_t zone)
{
	struct page *page = alloc_contig_pages(ST_DRAIN_PAGES, GFP_KERNEL | __GFP_NOWARN | zone,
					       0, NULL);

	if (page)
		free_contig_range(page_to_pfn(page), ST_DRAIN_PAGES);
	return page;
}

static int st_drain(void *unused, u64 value)
{
	guard(mutex)(&st_lock);
	if (!st_drain_zone(__GFP_HIGHMEM | __GFP_MOVABLE) || !st_drain_zone(0) ||
	    !st_drain_zone(__GFP_DMA32))
		return -EBUSY;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(st_drain_fops, NULL, st_drain, "%llu\n");

static ssize_t st_burst(struct file *file, const char __user *user, size_t len, loff_t *pos)
{
	struct page *page, *next;
	unsigned int count, i;
	LIST_HEAD(pages);
	int ret;

	ret = kstrtouint_from_user(user, len, 0, &count);
	if (ret)
		return ret;
	if (count > ST_BURST_MAX)
		return -EINVAL;

	guard(mutex)(&st_lock);
	for (i = 0; i < count; i++) {
		page = alloc_pages(GFP_ATOMIC | __GFP_NOWARN, ST_ORDER);
		st_asked++;
		if (page)
			list_add(&page->lru, &pages);
		else
			st_failed++;
	}
	list_for_each_entry_safe(page, next, &pages, lru)
		__free_pages(page, ST_ORDER);
	return len;
}

static int st_burst_show(struct seq_file *m, void *unused)
{
	guard(mutex)(&st_lock);
	seq_printf(m, "asked %llu\nfailed %llu\n", st_asked, st_failed);
	return 0;
}

static int st_burst_open(struct inode *inode, struct file *file)
{
	return single_open(file, st_burst_show, NULL);
}

static const struct file_operations st_burst_fops = {
	.owner		= THIS_MODULE,
	.open		= st_burst_open,
	.read		= seq_read,
	.write		= st_burst,
	.llseek		= seq_lseek,
	.release	= single_release,
};

static int st_remove(void *unused, u64 start)
{
	return offline_and_remove_memory(start, memory_block_size_bytes());
}
DEFINE_DEBUGFS_ATTRIBUTE(st_remove_fops, NULL, st_remove, "%llu\n");

static struct dentry *st_dir;

static int __init st_init(void)
{
	st_dir = debugfs_create_dir("storm_tool", NULL);
	debugfs_create_file("drain", 0200, st_dir, NULL, &st_drain_fops);
	debugfs_create_file("burst", 0600, st_dir, NULL, &st_burst_fops);
	debugfs_create_file_unsafe("remove", 0200, st_dir, NULL, &st_remove_fops);
	return 0;
}

static void __exit st_exit(void)
{
	debugfs_remove_recursive(st_dir);
}

module_init(st_init);
module_exit(st_exit);
MODULE_DESCRIPTION("Empty per-CPU lists, order-3 GFP_ATOMIC bursts, memory blocks to remove");
MODULE_LICENSE("GPL");
