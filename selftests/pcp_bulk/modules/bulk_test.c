// SPDX-License-Identifier: GPL-2.0
/*
 * Refills and drains per-CPU lists of the page allocator on behalf of the bulk
 * kselftest.
 *
 * The arena is a few blocks of the highest order. Whatever part of them is free
 * once the per-CPU lists are empty has one right place on the free lists, which
 * the test works out and compares with a map of what is there. The map is drawn
 * in the same ioctl, before anybody else can take some of it.
 */
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "bulk_test.h"

struct bt_pages {
	struct page **page;
	unsigned int count;
	unsigned int order;
};

/* Serialises the ioctls */
static DEFINE_MUTEX(bt_lock);
static struct bt_pages bt_sets[BT_SETS];
static u16 *bt_map;
/* Allocated before the arena: later, it would come from what is free there */
static u32 *bt_index;

/* Where the arena is. Changes under its zone's lock, as the probes read it. */
static struct zone *bt_zone;
static unsigned long bt_pfn[BT_BLOCKS];
static unsigned int bt_blocks;

static const gfp_t bt_gfp[BT_SHAPES] = {
	[BT_UNMOVABLE]		= GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN,
	[BT_MOVABLE]		= GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN,
	[BT_RECLAIMABLE]	= GFP_KERNEL | __GFP_RECLAIMABLE | __GFP_NORETRY |
				  __GFP_NOWARN,
};

/* The offset of @pfn in the arena, in pages; negative if it is not in there */
static long bt_offset(unsigned long pfn)
{
	unsigned int i;

	for (i = 0; i < bt_blocks; i++) {
		if (pfn >= bt_pfn[i] && pfn < bt_pfn[i] + MAX_ORDER_NR_PAGES)
			return i * MAX_ORDER_NR_PAGES + pfn - bt_pfn[i];
	}
	return -1;
}

/*
 * How much happens in one go? Both tracepoints report each entry of a per-CPU
 * list, under zone->lock: the free pages change between two reports unless both
 * entries belong to one block.
 */
static struct bt_steps bt_refill, bt_drain;
static bool bt_traced;

#ifdef CONFIG_TRACEPOINTS
static unsigned long bt_last_free;

static void bt_step(struct bt_steps *steps, struct page *page, unsigned int nr_pages)
{
	unsigned long free = 0;
	unsigned int order;
	bool changed;

	if (!bt_zone || page_zone(page) != bt_zone)
		return;
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		free += bt_zone->free_area[order].nr_free << order;
	changed = free != bt_last_free;
	bt_last_free = free;

	if (bt_offset(page_to_pfn(page)) < 0)
		return;
	steps->pages += nr_pages;
	steps->steps += changed;
}

static void bt_probe_refill(void *unused, struct page *page, unsigned int order,
			    int migratetype, int percpu_refill)
{
	if (percpu_refill)
		bt_step(&bt_refill, page, 1 << order);
}

static void bt_probe_drain(void *unused, struct page *page, unsigned int order,
			   int migratetype)
{
	bt_step(&bt_drain, page, 1 << order);
}

static struct bt_probe {
	const char *name;
	void *func;
	struct tracepoint *tp;
} bt_probes[] = {
	{ "mm_page_alloc_zone_locked", bt_probe_refill },
	{ "mm_page_pcpu_drain", bt_probe_drain },
};

static void bt_find(struct tracepoint *tp, void *unused)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bt_probes); i++) {
		if (!strcmp(tp->name, bt_probes[i].name))
			bt_probes[i].tp = tp;
	}
}

static void bt_trace(void)
{
	unsigned int i;

	for_each_kernel_tracepoint(bt_find, NULL);
	bt_traced = true;
	for (i = 0; i < ARRAY_SIZE(bt_probes); i++) {
		struct bt_probe *p = &bt_probes[i];

		if (p->tp && tracepoint_probe_register(p->tp, p->func, NULL))
			p->tp = NULL;
		bt_traced &= !!p->tp;
	}
}

static void bt_untrace(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bt_probes); i++) {
		if (bt_probes[i].tp)
			tracepoint_probe_unregister(bt_probes[i].tp, bt_probes[i].func, NULL);
	}
	tracepoint_synchronize_unregister();
}
#else
static void bt_trace(void) {}
static void bt_untrace(void) {}
#endif

/*
 * Isolating a range of the zone empties its per-CPU lists. The range is a block
 * outside the arena, free only for that moment.
 */
static struct page *bt_spare;

static int bt_get_spare(void)
{
	bt_spare = alloc_pages(bt_gfp[BT_RECLAIMABLE], MAX_PAGE_ORDER);
	return bt_spare ? 0 : -ENOMEM;
}

static int bt_drain_once(void)
{
	unsigned long pfn = page_to_pfn(bt_spare);
	unsigned int i;
	int ret;

	__free_pages(bt_spare, MAX_PAGE_ORDER);
	ret = alloc_contig_range(pfn, pfn + MAX_ORDER_NR_PAGES, ACR_FLAGS_NONE, GFP_KERNEL);
	if (ret)
		return bt_get_spare() ?: -EAGAIN;
	/* It comes as single pages */
	for (i = 1; i < MAX_ORDER_NR_PAGES; i++)
		set_page_count(bt_spare + i, 0);
	return 0;
}

static int bt_drain_pcp(void)
{
	int tries, ret = -EAGAIN;

	for (tries = 0; tries < 10 && ret == -EAGAIN; tries++)
		ret = bt_drain_once();
	return ret;
}

/* Each free area with such blocks, under zone->lock; the first one after NULL */
static struct free_area *bt_next_area(unsigned int order, unsigned int type,
				      struct free_area *area)
{
#ifdef for_each_free_area
	return next_free_area(bt_zone, order, type, area);
#else
	return area ? NULL : &bt_zone->free_area[order];
#endif
}

static void bt_draw_list(unsigned int order, unsigned int type)
{
	struct free_area *area = NULL;
	struct page *page;
	long offset;

	while ((area = bt_next_area(order, type, area))) {
		list_for_each_entry(page, &area->free_list[type], buddy_list) {
			offset = bt_offset(page_to_pfn(page));
			if (offset >= 0)
				bt_map[offset] = BT_MAP(order, type);
		}
	}
}

static void bt_draw_map(void)
{
	unsigned int order, type;

	memset(bt_map, 0, bt_blocks * MAX_ORDER_NR_PAGES * sizeof(*bt_map));
	guard(spinlock_irqsave)(&bt_zone->lock);
	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		for (type = 0; type < MIGRATE_TYPES; type++)
			bt_draw_list(order, type);
	}
}

static int bt_put_map(u64 map)
{
	size_t size = bt_blocks * MAX_ORDER_NR_PAGES * sizeof(*bt_map);

	if (map && copy_to_user(u64_to_user_ptr(map), bt_map, size))
		return -EFAULT;
	return 0;
}

static void bt_free_entry(struct bt_pages *set, unsigned int i)
{
	struct page *page = set->page[i];

	set->page[i] = NULL;
	if (page)
		__free_pages(page, set->order);
}

static void bt_free_set(struct bt_pages *set)
{
	unsigned int i;

	for (i = 0; i < set->count; i++)
		bt_free_entry(set, i);
	kvfree(set->page);
	memset(set, 0, sizeof(*set));
}

static void bt_watch(struct zone *zone, const struct bt_arena *a)
{
	unsigned int i;

	guard(spinlock_irqsave)(&zone->lock);
	for (i = 0; i < a->blocks; i++)
		bt_pfn[i] = a->pfn[i];
	bt_blocks = a->blocks;
	bt_zone = zone;
}

static void bt_unwatch(void)
{
	if (!bt_zone)
		return;
	guard(spinlock_irqsave)(&bt_zone->lock);
	bt_blocks = 0;
}

static void bt_arena_free(void)
{
	bt_unwatch();
	bt_free_set(&bt_sets[BT_BURST]);
	bt_free_set(&bt_sets[BT_ARENA]);
	if (bt_spare)
		__free_pages(bt_spare, MAX_PAGE_ORDER);
	bt_spare = NULL;
	kvfree(bt_map);
	bt_map = NULL;
	kvfree(bt_index);
	bt_index = NULL;
}

/* The pieces of a block, each with a reference of its own */
static void bt_cut(struct bt_pages *set, struct page *block)
{
	unsigned long i;

	for (i = 0; i < MAX_ORDER_NR_PAGES; i += 1UL << set->order) {
		set_page_count(block + i, 1);
		set->page[set->count++] = block + i;
	}
}

static int bt_arena_blocks(struct bt_arena *a)
{
	struct bt_pages *set = &bt_sets[BT_ARENA];
	struct zone *zone = page_zone(bt_spare);
	struct page *block;
	unsigned int i;

	for (i = 0; i < a->blocks; i++) {
		block = alloc_pages(bt_gfp[a->shape[i]], MAX_PAGE_ORDER);
		if (!block)
			return -ENOMEM;
		a->pfn[i] = page_to_pfn(block);
		bt_cut(set, block);
		if (page_zone(block) != zone)
			return -EXDEV;
	}
	bt_watch(zone, a);
	a->node = zone_to_nid(zone);
	strscpy(a->zone, zone->name);
	return 0;
}

static int bt_arena_alloc(struct bt_arena *a)
{
	struct bt_pages *set = &bt_sets[BT_ARENA];
	int ret;

	bt_arena_free();
	set->order = a->order;
	set->page = kvcalloc(a->blocks * MAX_ORDER_NR_PAGES, sizeof(*set->page), GFP_KERNEL);
	bt_map = kvcalloc(a->blocks * MAX_ORDER_NR_PAGES, sizeof(*bt_map), GFP_KERNEL);
	bt_index = kvcalloc(a->blocks * MAX_ORDER_NR_PAGES, sizeof(*bt_index), GFP_KERNEL);
	if (!set->page || !bt_map || !bt_index)
		return -ENOMEM;
	ret = bt_get_spare();
	return ret ?: bt_arena_blocks(a);
}

static long bt_ioctl_arena(void __user *arg)
{
	struct bt_arena a;
	unsigned int i;
	long ret;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if (a.order == BT_WHOLE)
		a.order = MAX_PAGE_ORDER;
	if (a.order == BT_PAGEBLOCK)
		a.order = pageblock_order;
	if (a.order > MAX_PAGE_ORDER || !a.blocks || a.blocks > BT_BLOCKS)
		return -EINVAL;
	for (i = 0; i < a.blocks; i++) {
		if (a.shape[i] >= BT_SHAPES)
			return -EINVAL;
	}
	a.max_order = MAX_PAGE_ORDER;
	a.block_order = pageblock_order;
	a.traced = bt_traced;
	ret = bt_arena_alloc(&a);
	if (!ret)
		ret = bt_drain_pcp();
	if (ret)
		bt_arena_free();
	else if (copy_to_user(arg, &a, sizeof(a)))
		ret = -EFAULT;
	return ret;
}

static void bt_burst(struct bt_burst *b, struct bt_pages *set)
{
	memset(&bt_refill, 0, sizeof(bt_refill));
	for (b->done = 0; b->done < b->count; b->done++) {
		set->page[b->done] = alloc_pages(bt_gfp[b->shape], b->order);
		if (!set->page[b->done] || fatal_signal_pending(current))
			break;
	}
	set->count = b->done;
	b->refill = bt_refill;
}

static int bt_put_pfns(u64 to, const struct bt_pages *set)
{
	u64 __user *pfns = u64_to_user_ptr(to);
	unsigned int i;

	for (i = 0; to && i < set->count; i++) {
		if (put_user((u64)page_to_pfn(set->page[i]), &pfns[i]))
			return -EFAULT;
	}
	return 0;
}

static long bt_ioctl_burst(void __user *arg)
{
	struct bt_pages *set = &bt_sets[BT_BURST];
	struct bt_burst b;
	long ret;

	if (copy_from_user(&b, arg, sizeof(b)))
		return -EFAULT;
	if (b.shape >= BT_SHAPES || b.order > MAX_PAGE_ORDER || !bt_spare)
		return -EINVAL;
	bt_free_set(set);
	set->order = b.order;
	set->page = kvcalloc(b.count, sizeof(*set->page), GFP_KERNEL);
	if (!set->page)
		return -ENOMEM;

	bt_burst(&b, set);
	ret = bt_drain_pcp();
	bt_draw_map();
	ret = ret ?: bt_put_map(b.map);
	ret = ret ?: bt_put_pfns(b.pfns, set);
	if (!ret && copy_to_user(arg, &b, sizeof(b)))
		ret = -EFAULT;
	return ret;
}

static int bt_free_indexed(struct bt_pages *set, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (bt_index[i] >= set->count || !set->page[bt_index[i]])
			return -EINVAL;
	}
	for (i = 0; i < count; i++)
		bt_free_entry(set, bt_index[i]);
	return 0;
}

/* Without an index all that is left of the set */
static int bt_free(struct bt_free *f)
{
	struct bt_pages *set = &bt_sets[f->set];
	unsigned int i;
	int ret = 0;

	memset(&bt_drain, 0, sizeof(bt_drain));
	if (f->index)
		ret = bt_free_indexed(set, f->count);
	for (i = 0; !f->index && i < set->count; i++)
		bt_free_entry(set, i);
	ret = ret ?: bt_drain_pcp();
	bt_draw_map();
	f->drain = bt_drain;
	return ret;
}

static long bt_ioctl_free(void __user *arg)
{
	struct bt_free f;
	long ret;

	if (copy_from_user(&f, arg, sizeof(f)))
		return -EFAULT;
	if (f.set >= BT_SETS || !bt_spare)
		return -EINVAL;
	if (f.index && f.count > bt_blocks * MAX_ORDER_NR_PAGES)
		return -EINVAL;
	if (f.index && copy_from_user(bt_index, u64_to_user_ptr(f.index),
				      f.count * sizeof(*bt_index)))
		return -EFAULT;

	ret = bt_free(&f);
	ret = ret ?: bt_put_map(f.map);
	if (!ret && copy_to_user(arg, &f, sizeof(f)))
		ret = -EFAULT;
	return ret;
}

/*
 * The pieces wait on a per-CPU list when their pageblocks are isolated, and are
 * drained into isolation. Were one of them filed elsewhere, the range would not
 * be found free.
 */
static long bt_ioctl_contig(unsigned long block)
{
	struct bt_pages *set = &bt_sets[BT_ARENA];
	unsigned int pieces = MAX_ORDER_NR_PAGES >> set->order;
	unsigned long i;
	int ret;

	if (block >= bt_blocks)
		return -EINVAL;
	for (i = block * pieces; i < (block + 1) * pieces; i++)
		bt_free_entry(set, i);
	ret = alloc_contig_range(bt_pfn[block], bt_pfn[block] + MAX_ORDER_NR_PAGES,
				 ACR_FLAGS_NONE, GFP_KERNEL);
	if (!ret)
		free_contig_range(bt_pfn[block], MAX_ORDER_NR_PAGES);
	return ret ?: bt_drain_pcp();
}

static unsigned long bt_list_length(unsigned int order, unsigned int type)
{
	struct free_area *area = NULL;
	unsigned long length = 0;

	while ((area = bt_next_area(order, type, area)))
		length += list_count_nodes(&area->free_list[type]);

	return length;
}

static void bt_count_areas(struct bt_count *c)
{
	unsigned int order, type;

	guard(spinlock_irqsave)(&bt_zone->lock);
	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		c->nr_free[order] = bt_zone->free_area[order].nr_free;
		for (type = 0; type < MIGRATE_TYPES; type++)
			c->listed[type][order] = bt_list_length(order, type);
	}
	c->free = zone_page_state_snapshot(bt_zone, NR_FREE_PAGES);
	c->free_blocks = zone_page_state_snapshot(bt_zone, NR_FREE_PAGES_BLOCKS);
	c->free_cma = zone_page_state_snapshot(bt_zone, NR_FREE_CMA_PAGES);
	c->free_highatomic = bt_zone->nr_free_highatomic;
}

/* NR_PCP_LISTS orders by type; those above the costly orders hold huge pages */
static unsigned int bt_list_order(unsigned int list)
{
	if (list >= NR_LOWORDER_PCP_LISTS)
		return pageblock_order;
	return list / MIGRATE_PCPTYPES;
}

static void bt_count_pcp(struct bt_count *c)
{
	struct per_cpu_pages *pcp;
	struct list_head *entry;
	unsigned int list;
	int cpu;

	for_each_online_cpu(cpu) {
		pcp = per_cpu_ptr(bt_zone->per_cpu_pageset, cpu);
		spin_lock(&pcp->lock);
		c->pcp_count += pcp->count;
		for (list = 0; list < NR_PCP_LISTS; list++) {
			list_for_each(entry, &pcp->lists[list])
				c->pcp_listed += 1 << bt_list_order(list);
		}
		spin_unlock(&pcp->lock);
	}
}

static long bt_ioctl_count(void __user *arg)
{
	struct bt_count *c __free(kfree) = kzalloc_obj(*c);

	BUILD_BUG_ON(NR_PAGE_ORDERS > BT_ORDERS || MIGRATE_TYPES > BT_TYPES);
	if (!c)
		return -ENOMEM;
	if (!bt_zone)
		return -EINVAL;
	c->isolate = BT_TYPES;
	c->cma = BT_TYPES;
	c->highatomic = MIGRATE_HIGHATOMIC;
#ifdef CONFIG_MEMORY_ISOLATION
	c->isolate = MIGRATE_ISOLATE;
#endif
#ifdef CONFIG_CMA
	c->cma = MIGRATE_CMA;
#endif
	bt_count_areas(c);
	bt_count_pcp(c);
	return copy_to_user(arg, c, sizeof(*c)) ? -EFAULT : 0;
}

static long bt_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *uarg = (void __user *)arg;

	guard(mutex)(&bt_lock);
	switch (cmd) {
	case BT_IOC_ARENA:
		return bt_ioctl_arena(uarg);
	case BT_IOC_BURST:
		return bt_ioctl_burst(uarg);
	case BT_IOC_FREE:
		return bt_ioctl_free(uarg);
	case BT_IOC_COUNT:
		return bt_ioctl_count(uarg);
	case BT_IOC_CONTIG:
		return bt_ioctl_contig(arg);
	}
	return -ENOTTY;
}

/* A test that was killed leaves nothing allocated */
static int bt_release(struct inode *inode, struct file *file)
{
	guard(mutex)(&bt_lock);
	bt_arena_free();
	return 0;
}

static const struct file_operations bt_fops = {
	.owner = THIS_MODULE,
	.release = bt_release,
	.unlocked_ioctl = bt_ioctl,
};

static struct miscdevice bt_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "bulk_test",
	.mode = 0600,
	.fops = &bt_fops,
};

static int __init bt_init(void)
{
	int ret;

	bt_trace();
	ret = misc_register(&bt_misc);
	if (ret)
		bt_untrace();
	return ret;
}

static void __exit bt_exit(void)
{
	misc_deregister(&bt_misc);
	bt_untrace();
	bt_arena_free();
}

module_init(bt_init);
module_exit(bt_exit);
MODULE_DESCRIPTION("Driver of the bulk kselftest");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
