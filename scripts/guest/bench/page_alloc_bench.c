// SPDX-License-Identifier: GPL-2.0
/*
 * Cost of page allocations, in nanoseconds of ktime_get_ns(). In a guest whose
 * clock counts instructions (QEMU -icount shift=0,sleep=off), a nanosecond is
 * an instruction. Results are read from page_alloc_bench in debugfs.
 *
 * Every case runs with interrupts off and reports the cheapest of its repeats.
 */
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#define PAB_REPEATS	5
#define PAB_LOOPS	5000000UL	/* two instructions each */

struct pab_case {
	const char *name;
	gfp_t gfp;
	unsigned int order;
	unsigned int count;	/* blocks, all held at once in a burst */
	bool warm;		/* allocate and free in turn, one block at a time */
	u64 alloc_ns;		/* per block, in thousandths; with the free if warm */
	u64 free_ns;
	bool failed;
};

/* Bursts hold 1 GiB at most, far more than the per-CPU lists */
static struct pab_case pab_cases[] = {
	{ "order-0 GFP_KERNEL, warm per-CPU list", GFP_KERNEL, 0, 100000, true },
	{ "order-0 GFP_KERNEL, burst", GFP_KERNEL, 0, 131072 },
	{ "order-0 GFP_HIGHUSER_MOVABLE, burst", GFP_HIGHUSER_MOVABLE, 0, 131072 },
	{ "order-1 GFP_KERNEL, burst", GFP_KERNEL, 1, 131072 },
	{ "order-3 GFP_KERNEL, burst", GFP_KERNEL, 3, 32768 },
	{ "order-4 GFP_KERNEL, burst", GFP_KERNEL, 4, 16384 },
	{ "order-9 GFP_HIGHUSER_MOVABLE, burst", GFP_HIGHUSER_MOVABLE, 9, 512 },
	{ "order-0 GFP_ATOMIC, burst", GFP_ATOMIC, 0, 131072 },
	{ "order-1 GFP_ATOMIC, warm per-CPU list", GFP_ATOMIC, 1, 100000, true },
	{ "order-1 GFP_ATOMIC, burst", GFP_ATOMIC, 1, 131072 },
	{ "order-3 GFP_ATOMIC, burst", GFP_ATOMIC, 3, 32768 },
	{ "order-4 GFP_ATOMIC, burst", GFP_ATOMIC, 4, 16384 },
};

static bool with_reserve;
module_param(with_reserve, bool, 0400);
MODULE_PARM_DESC(with_reserve, "Measure only what a highatomic reserve can change");

static u64 pab_calibration;	/* nanoseconds per 1000 instructions */

/* High-order atomic requests */
static bool pab_selected(const struct pab_case *c)
{
	return !with_reserve || (c->order && c->gfp == GFP_ATOMIC);
}

static bool pab_alloc(const struct pab_case *c, struct list_head *pages)
{
	struct page *page;
	unsigned int i;

	for (i = 0; i < c->count; i++) {
		page = alloc_pages(c->gfp | __GFP_NOWARN, c->order);
		if (!page)
			return false;
		list_add_tail(&page->lru, pages);
	}
	return true;
}

static void pab_free(const struct pab_case *c, struct list_head *pages)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, pages, lru)
		__free_pages(page, c->order);
	INIT_LIST_HEAD(pages);
}

static bool pab_alloc_free(const struct pab_case *c)
{
	struct page *page;
	unsigned int i;

	for (i = 0; i < c->count; i++) {
		page = alloc_pages(c->gfp | __GFP_NOWARN, c->order);
		if (!page)
			return false;
		__free_pages(page, c->order);
	}
	return true;
}

static void pab_time(struct pab_case *c, u64 *alloc_ns, u64 *free_ns)
{
	u64 start, middle, end;
	unsigned long flags;
	LIST_HEAD(pages);

	local_irq_save(flags);
	start = ktime_get_ns();
	c->failed |= c->warm ? !pab_alloc_free(c) : !pab_alloc(c, &pages);
	middle = ktime_get_ns();
	pab_free(c, &pages);
	end = ktime_get_ns();
	local_irq_restore(flags);

	*alloc_ns = middle - start;
	*free_ns = c->warm ? 0 : end - middle;
}

static void pab_run(struct pab_case *c)
{
	u64 alloc_ns, free_ns;
	int i;

	c->alloc_ns = U64_MAX;
	c->free_ns = U64_MAX;
	for (i = 0; i < PAB_REPEATS; i++) {
		pab_time(c, &alloc_ns, &free_ns);
		c->alloc_ns = min(c->alloc_ns, alloc_ns * 1000 / c->count);
		c->free_ns = min(c->free_ns, free_ns * 1000 / c->count);
		cond_resched();
	}
}

static void pab_calibrate(void)
{
	unsigned long loops = PAB_LOOPS;
	unsigned long flags;
	u64 start;

	local_irq_save(flags);
	start = ktime_get_ns();
	asm volatile("1: dec %0\n\tjnz 1b" : "+r" (loops) : : "cc");
	pab_calibration = (ktime_get_ns() - start) / (2 * PAB_LOOPS / 1000);
	local_irq_restore(flags);
}

static int pab_show(struct seq_file *m, void *unused)
{
	int i;

	seq_printf(m, "calibration\t%llu\tns per 1000 instructions\n", pab_calibration);
	for (i = 0; i < ARRAY_SIZE(pab_cases); i++) {
		const struct pab_case *c = &pab_cases[i];

		if (!pab_selected(c))
			continue;
		seq_printf(m, "case\t%s%s\t", c->name, with_reserve ? ", free reserve" : "");
		if (c->failed)
			seq_puts(m, "failed\tfailed\n");
		else
			seq_printf(m, "%llu.%03llu\t%llu.%03llu\n",
				   c->alloc_ns / 1000, c->alloc_ns % 1000,
				   c->free_ns / 1000, c->free_ns % 1000);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pab);

static struct dentry *pab_file;

static int __init pab_init(void)
{
	int i;

	pab_calibrate();
	for (i = 0; i < ARRAY_SIZE(pab_cases); i++) {
		if (pab_selected(&pab_cases[i]))
			pab_run(&pab_cases[i]);
	}
	pab_file = debugfs_create_file("page_alloc_bench", 0400, NULL, NULL, &pab_fops);
	return 0;
}

static void __exit pab_exit(void)
{
	debugfs_remove(pab_file);
}

module_init(pab_init);
module_exit(pab_exit);
MODULE_DESCRIPTION("Cost of page allocations by order and gfp mask");
MODULE_LICENSE("GPL");
