// SPDX-License-Identifier: GPL-2.0
/*
 * Cost of page allocations, in nanoseconds of ktime_get_ns(). In a guest whose
 * clock counts instructions (QEMU -icount shift=0,sleep=off), a nanosecond is
 * an instruction. Results are read from page_alloc_bench in debugfs.
 *
 * Every case runs with interrupts off. A burst reports the mean of its repeats,
 * as it meets free lists in many states; a warm list the cheapest.
 */
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>

#define PAB_REPEATS	8
#define PAB_LOOPS	5000000UL	/* two instructions each */
/* Blocks held at once: far more than the per-CPU lists, and at most 1 GiB */
#define PAB_BURST_MAX	131072U
#define PAB_BURST_PAGES	262144U

enum pab_kind {
	PAB_WARM,	/* allocate and free in turn, one block at a time */
	PAB_IN_ORDER,	/* the others: a burst, freed in this order */
	PAB_REVERSE,
	PAB_RANDOM,
};

static const char * const pab_kinds[] = {
	[PAB_WARM]	= "warm per-CPU list",
	[PAB_IN_ORDER]	= "burst, freed in order",
	[PAB_REVERSE]	= "burst, freed in reverse",
	[PAB_RANDOM]	= "burst, freed at random",
};

struct pab_case {
	const char *gfp_name;
	gfp_t gfp;
	unsigned int order;
	enum pab_kind kind;
	u64 alloc;	/* thousandths of a nanosecond per block; with the free if warm */
	u64 free;
	bool failed;
};

#define PAB_CASE(gfp, order, kind)	{ #gfp, gfp, order, kind }

static struct pab_case pab_cases[] = {
	PAB_CASE(GFP_KERNEL, 0, PAB_WARM),
	PAB_CASE(GFP_KERNEL, 0, PAB_IN_ORDER),
	PAB_CASE(GFP_KERNEL, 0, PAB_REVERSE),
	PAB_CASE(GFP_KERNEL, 0, PAB_RANDOM),
	PAB_CASE(GFP_HIGHUSER_MOVABLE, 0, PAB_IN_ORDER),
	PAB_CASE(GFP_HIGHUSER_MOVABLE, 0, PAB_REVERSE),
	PAB_CASE(GFP_HIGHUSER_MOVABLE, 0, PAB_RANDOM),
	PAB_CASE(GFP_KERNEL, 1, PAB_IN_ORDER),
	PAB_CASE(GFP_KERNEL, 1, PAB_RANDOM),
	PAB_CASE(GFP_KERNEL, 3, PAB_IN_ORDER),
	PAB_CASE(GFP_KERNEL, 3, PAB_RANDOM),
	PAB_CASE(GFP_KERNEL, 4, PAB_IN_ORDER),
	PAB_CASE(GFP_KERNEL, 5, PAB_IN_ORDER),
	PAB_CASE(GFP_KERNEL, 6, PAB_IN_ORDER),
	PAB_CASE(GFP_KERNEL, 7, PAB_IN_ORDER),
	PAB_CASE(GFP_KERNEL, 8, PAB_IN_ORDER),
	PAB_CASE(GFP_HIGHUSER_MOVABLE, 9, PAB_IN_ORDER),
	PAB_CASE(GFP_ATOMIC, 0, PAB_IN_ORDER),
	PAB_CASE(GFP_ATOMIC, 1, PAB_WARM),
	PAB_CASE(GFP_ATOMIC, 1, PAB_IN_ORDER),
	PAB_CASE(GFP_ATOMIC, 3, PAB_IN_ORDER),
	PAB_CASE(GFP_ATOMIC, 4, PAB_IN_ORDER),
};

static bool with_reserve;
module_param(with_reserve, bool, 0400);
MODULE_PARM_DESC(with_reserve, "Measure only what a highatomic reserve can change");

static u64 pab_calibration;	/* nanoseconds per 1000 instructions */
static struct page **pab_pages;

/* High-order atomic requests */
static bool pab_selected(const struct pab_case *c)
{
	return !with_reserve || (c->order && c->gfp == GFP_ATOMIC);
}

static unsigned int pab_count(const struct pab_case *c)
{
	return min(PAB_BURST_MAX, PAB_BURST_PAGES >> c->order);
}

static unsigned int pab_alloc(const struct pab_case *c)
{
	unsigned int i;

	for (i = 0; i < pab_count(c); i++) {
		pab_pages[i] = alloc_pages(c->gfp | __GFP_NOWARN, c->order);
		if (!pab_pages[i])
			break;
	}
	return i;
}

static void pab_free(const struct pab_case *c, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		__free_pages(pab_pages[i], c->order);
}

static unsigned int pab_alloc_free(const struct pab_case *c)
{
	struct page *page;
	unsigned int i;

	for (i = 0; i < pab_count(c); i++) {
		page = alloc_pages(c->gfp | __GFP_NOWARN, c->order);
		if (!page)
			break;
		__free_pages(page, c->order);
	}
	return i;
}

static int pab_ascending(const void *a, const void *b)
{
	const struct page *x = *(const struct page **)a, *y = *(const struct page **)b;

	return x < y ? -1 : x > y;
}

/* The same shuffle every time, from the same ascending start */
static void pab_shuffle(unsigned int nr)
{
	u32 random = 1;
	unsigned int i;

	for (i = nr - 1; i; i--) {
		random = random * 1664525 + 1013904223;
		swap(pab_pages[i], pab_pages[mul_u64_u64_shr(random, i + 1, 32)]);
	}
}

static void pab_arrange(const struct pab_case *c, unsigned int nr)
{
	unsigned int i;

	if (c->kind == PAB_WARM || nr < 2)
		return;
	sort(pab_pages, nr, sizeof(*pab_pages), pab_ascending, NULL);
	if (c->kind == PAB_RANDOM)
		pab_shuffle(nr);
	for (i = 0; c->kind == PAB_REVERSE && i < nr / 2; i++)
		swap(pab_pages[i], pab_pages[nr - 1 - i]);
}

/* Nanoseconds for a burst or a warm run; @nr is how many blocks it got */
static u64 pab_time_alloc(const struct pab_case *c, unsigned int *nr)
{
	unsigned long flags;
	u64 start;

	local_irq_save(flags);
	start = ktime_get_ns();
	*nr = c->kind == PAB_WARM ? pab_alloc_free(c) : pab_alloc(c);
	start = ktime_get_ns() - start;
	local_irq_restore(flags);
	return start;
}

static u64 pab_time_free(const struct pab_case *c, unsigned int nr)
{
	unsigned long flags;
	u64 start;

	if (c->kind == PAB_WARM)
		return 0;
	local_irq_save(flags);
	start = ktime_get_ns();
	pab_free(c, nr);
	start = ktime_get_ns() - start;
	local_irq_restore(flags);
	return start;
}

static void pab_run(struct pab_case *c)
{
	u64 alloc = 0, free = 0, least = U64_MAX, ns;
	unsigned int nr;
	int i;

	/* The first only brings the lists into the state that the others find */
	for (i = -1; i < PAB_REPEATS; i++) {
		ns = pab_time_alloc(c, &nr);
		c->failed |= nr != pab_count(c);
		if (i >= 0)
			alloc += ns;
		least = min(least, ns);
		pab_arrange(c, nr);
		ns = pab_time_free(c, nr);
		if (i >= 0)
			free += ns;
		cond_resched();
	}
	if (c->kind == PAB_WARM)
		alloc = least * PAB_REPEATS;
	c->alloc = div_u64(alloc * 1000, PAB_REPEATS * pab_count(c));
	c->free = div_u64(free * 1000, PAB_REPEATS * pab_count(c));
}

static void pab_calibrate(void)
{
	unsigned long loops = PAB_LOOPS;
	unsigned long flags;
	u64 start;

	local_irq_save(flags);
	start = ktime_get_ns();
	asm volatile("1: dec %0\n\tjnz 1b" : "+r" (loops) : : "cc");
	pab_calibration = div_u64((ktime_get_ns() - start) * 1000, 2 * PAB_LOOPS / 1000);
	local_irq_restore(flags);
}

static int pab_show(struct seq_file *m, void *unused)
{
	int i;

	seq_printf(m, "calibration\t%llu.%03llu\tns per 1000 instructions\n",
		   pab_calibration / 1000, pab_calibration % 1000);
	for (i = 0; i < ARRAY_SIZE(pab_cases); i++) {
		const struct pab_case *c = &pab_cases[i];

		if (!pab_selected(c))
			continue;
		seq_printf(m, "case\torder-%u %s, %s%s\t", c->order, c->gfp_name,
			   pab_kinds[c->kind], with_reserve ? ", free reserve" : "");
		if (c->failed)
			seq_puts(m, "failed\tfailed\n");
		else
			seq_printf(m, "%llu.%03llu\t%llu.%03llu\n", c->alloc / 1000,
				   c->alloc % 1000, c->free / 1000, c->free % 1000);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pab);

static struct dentry *pab_file;

static int __init pab_init(void)
{
	int i;

	pab_pages = vmalloc_array(PAB_BURST_MAX, sizeof(*pab_pages));
	if (!pab_pages)
		return -ENOMEM;
	pab_calibrate();
	for (i = 0; i < ARRAY_SIZE(pab_cases); i++) {
		if (pab_selected(&pab_cases[i]))
			pab_run(&pab_cases[i]);
	}
	vfree(pab_pages);
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
