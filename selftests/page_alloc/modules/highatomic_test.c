// SPDX-License-Identifier: GPL-2.0
/*
 * Drives the page allocator's highatomic reserve on behalf of the highatomic
 * kselftest: bursts of one kind of request, with or without memory pressure,
 * and a network device that receives into page fragments as drivers do.
 *
 * Pressure lasts only as long as one ioctl, so that user space never runs in
 * a zone below its watermarks.
 */
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/if_arp.h>
#include <linux/ip.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>
#include <net/sock.h>

#include "highatomic_test.h"

/* Rx header kept linear; the payload goes into fragments */
#define HA_RX_HEADER	128

/*
 * Takes memory without waking anybody. As a blocking request it has no access
 * to the highatomic reserve; the caller is marked PF_MEMALLOC, so that it does
 * not block either and may go below the min watermark.
 */
#define HA_FILL_GFP	(__GFP_NOWARN | __GFP_NORETRY | __GFP_DIRECT_RECLAIM)
/* The same down to the min watermark, for the zones below */
#define HA_LOWER_GFP	(__GFP_NOWARN | __GFP_NORETRY | __GFP_NOMEMALLOC)

/* 16 MiB, given away in pieces of 256 KiB */
#define HA_CUSHION_ORDER	6
#define HA_CUSHION_BLOCKS	64

struct ha_set {
	struct mutex lock;	/* protects pages */
	struct list_head pages;	/* linked by page->lru, page->private is the order */
};

static struct ha_set ha_sets[HA_SETS];
static struct zone *ha_zone;

static const gfp_t ha_gfp[HA_SHAPES] = {
	[HA_ATOMIC]		= GFP_ATOMIC | __GFP_NOWARN,
	[HA_ATOMIC_NOMEMALLOC]	= GFP_ATOMIC | __GFP_NOWARN | __GFP_NOMEMALLOC,
	[HA_NOWAIT]		= __GFP_NOWARN | __GFP_NOMEMALLOC,
	[HA_KERNEL]		= GFP_KERNEL | __GFP_NOWARN,
};

static unsigned long ha_zone_free(void)
{
	return zone_page_state(ha_zone, NR_FREE_PAGES);
}

static void ha_keep(struct list_head *pages, struct page *page, unsigned int order)
{
	set_page_private(page, order);
	list_add_tail(&page->lru, pages);
}

static void ha_free_list(struct list_head *pages)
{
	struct page *page, *next;
	unsigned int order;

	list_for_each_entry_safe(page, next, pages, lru) {
		order = page_private(page);
		set_page_private(page, 0);
		list_del(&page->lru);
		__free_pages(page, order);
		cond_resched();
	}
}

/*
 * Somebody else ran out of memory while the test held all of it: hand out a
 * cushion instead of having a task killed. Topped up before every ioctl.
 */
static DEFINE_MUTEX(ha_cushion_lock);
static LIST_HEAD(ha_cushion);
static unsigned int ha_cushion_blocks;

/* While the test holds nearly all memory, for a moment, nobody may be killed */
static atomic_t ha_filling = ATOMIC_INIT(0);

static int ha_oom(struct notifier_block *nb, unsigned long unused, void *freed)
{
	struct page *page;

	/* Memory comes back soon: let the caller try again */
	if (atomic_read(&ha_filling)) {
		*(unsigned long *)freed += 1;
		return NOTIFY_OK;
	}

	guard(mutex)(&ha_cushion_lock);
	page = list_first_entry_or_null(&ha_cushion, struct page, lru);
	if (!page)
		return NOTIFY_OK;
	list_del(&page->lru);
	set_page_private(page, 0);
	__free_pages(page, HA_CUSHION_ORDER);
	ha_cushion_blocks--;
	*(unsigned long *)freed += 1UL << HA_CUSHION_ORDER;
	return NOTIFY_OK;
}

static struct notifier_block ha_oom_nb = { .notifier_call = ha_oom };

static void ha_cushion_fill(void)
{
	struct page *page;

	guard(mutex)(&ha_cushion_lock);
	for (; ha_cushion_blocks < HA_CUSHION_BLOCKS; ha_cushion_blocks++) {
		page = alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN,
				   HA_CUSHION_ORDER);
		if (!page)
			break;
		ha_keep(&ha_cushion, page, HA_CUSHION_ORDER);
	}
}

/*
 * Isolating a page of the zone empties its per-CPU lists. One in a block that is free,
 * of an order without such lists: alloc_contig_pages() would try in vain, for a long
 * time each, every tail page of the blocks that the tests hold. Two callers must not
 * isolate the same pageblock.
 */
static DEFINE_MUTEX(ha_drain_lock);

static void ha_drain_pcp(void)
{
	int tries, ret = -EBUSY;
	struct page *page;
	unsigned long pfn;

	guard(mutex)(&ha_drain_lock);
	for (tries = 0; ret && tries < 3; tries++) {
		page = alloc_pages(GFP_NOWAIT | __GFP_MOVABLE | __GFP_NOWARN, MAX_PAGE_ORDER);
		if (!page)
			return;
		pfn = page_to_pfn(page);
		__free_pages(page, MAX_PAGE_ORDER);
		ret = alloc_contig_range(pfn, pfn + 1, ACR_FLAGS_NONE, GFP_KERNEL);
	}
	if (!ret)
		free_contig_range(pfn, 1);
}

/* Empty the zones that ha_zone's requests would fall back to */
static void ha_fill_lower_zones(struct list_head *pages)
{
	static const gfp_t lower[] = { __GFP_DMA32, __GFP_DMA };
	struct page *page;
	int i, order;

	for (i = 0; i < ARRAY_SIZE(lower); i++) {
		for (order = MAX_PAGE_ORDER; order >= 0; order--) {
			while ((page = alloc_pages(HA_LOWER_GFP | lower[i], order))) {
				if (page_zone(page) == ha_zone) {
					__free_pages(page, order);
					break;
				}
				ha_keep(pages, page, order);
			}
		}
	}
}

/*
 * Take blocks of @max_order down to @min_order while more than @leave pages
 * are free. Not of pageblock_order: freed, they linger on the per-CPU lists.
 */
static void ha_take(struct list_head *pages, unsigned long leave, int max_order,
		    int min_order)
{
	unsigned int noreclaim = memalloc_noreclaim_save();
	struct page *page;
	int order;

	for (order = max_order; order >= min_order; order--) {
		if (order == pageblock_order)
			continue;
		while (ha_zone_free() >= leave + (1UL << order)) {
			if (fatal_signal_pending(current))
				break;
			page = alloc_pages(HA_FILL_GFP, order);
			if (!page)
				break;
			ha_keep(pages, page, order);
			cond_resched();
		}
	}
	memalloc_noreclaim_restore(noreclaim);
}

/*
 * Give back large blocks until @leave pages are free. Not those taken first,
 * with which the kernel's own pages may share a memory block.
 */
static void ha_give(struct list_head *pages, unsigned long leave)
{
	struct page *page, *next;
	unsigned int skip = 0;
	LIST_HEAD(back);

	list_for_each_entry(page, pages, lru)
		skip += page_private(page) == MAX_PAGE_ORDER;
	skip /= 2;

	list_for_each_entry_safe(page, next, pages, lru) {
		if (ha_zone_free() >= leave)
			break;
		if (skip) {
			skip--;
			continue;
		}
		list_move(&page->lru, &back);
		ha_free_list(&back);
	}
}

/*
 * Leave @leave pages free. While nothing is reserved, leave them in pageblocks
 * that hold nothing else, for a clean reserve: take what there is, fragments
 * too, then give back large blocks. An existing reserve would not survive
 * that, as any task that then reclaims takes some of it back.
 */
static void ha_fill(struct list_head *pages, unsigned long leave)
{
	LIST_HEAD(lower);

	ha_fill_lower_zones(&lower);
	if (!ha_zone->nr_reserved_highatomic) {
		ha_take(pages, 0, MAX_PAGE_ORDER, PAGE_ALLOC_COSTLY_ORDER + 1);
		ha_give(pages, leave);
	}
	ha_take(pages, leave, MAX_PAGE_ORDER, 0);
	list_splice_tail(&lower, pages);
}

/* Stands beside kswapd in its queue and counts */
static int ha_count_wakeup(struct wait_queue_entry *wait, unsigned int mode, int sync,
			   void *key)
{
	atomic_inc(wait->private);
	return 0;
}

/* How often does one allocation wake kswapd? */
static struct page *ha_watch_kswapd(struct ha_burst *b)
{
	pg_data_t *pgdat = ha_zone->zone_pgdat;
	atomic_t wakeups = ATOMIC_INIT(0);
	struct wait_queue_entry wait;
	struct page *page;

	init_waitqueue_func_entry(&wait, ha_count_wakeup);
	wait.private = &wakeups;
	/* A kswapd that found nothing to reclaim before would be left alone */
	atomic_set(&pgdat->kswapd_failures, 0);

	add_wait_queue(&pgdat->kswapd_wait, &wait);
	page = alloc_pages(ha_gfp[b->shape], b->order);
	remove_wait_queue(&pgdat->kswapd_wait, &wait);

	b->kswapd_woken = atomic_read(&wakeups);
	return page;
}

static void ha_allocate(struct ha_burst *b, struct list_head *pages)
{
	unsigned long reserved = ha_zone->nr_reserved_highatomic;
	unsigned long free = ha_zone->nr_free_highatomic;
	struct page *page;

	b->free_before = ha_zone_free();
	for (b->done = 0; b->done < b->count; b->done++) {
		if (fatal_signal_pending(current))
			break;
		if (!b->done)
			page = ha_watch_kswapd(b);
		else
			page = alloc_pages(ha_gfp[b->shape], b->order);
		if (!page)
			break;
		if (!b->done)
			b->pfn = page_to_pfn(page);
		ha_keep(pages, page, b->order);
	}
	b->free_after = ha_zone_free();
	b->reserve_grown = ha_zone->nr_reserved_highatomic - reserved;
	b->reserve_used = free + b->reserve_grown;
	b->reserve_used -= min(b->reserve_used, ha_zone->nr_free_highatomic);
}

/* Free each block of a set and ask for it again: hits of the per-CPU lists */
static void ha_recycle(struct ha_burst *b, struct list_head *pages)
{
	unsigned long reserved = ha_zone->nr_reserved_highatomic;
	struct page *page, *next;
	LIST_HEAD(old);

	list_splice_init(pages, &old);
	b->done = 0;
	list_for_each_entry_safe(page, next, &old, lru) {
		list_del(&page->lru);
		if (page_private(page) != b->order) {
			list_add(&page->lru, pages);
			continue;
		}
		set_page_private(page, 0);
		__free_pages(page, b->order);
		page = alloc_pages(ha_gfp[b->shape], b->order);
		if (!page)
			continue;
		ha_keep(pages, page, b->order);
		b->done++;
	}
	b->reserve_grown = ha_zone->nr_reserved_highatomic - reserved;
}

static long ha_burst(struct ha_burst *b, void (*run)(struct ha_burst *, struct list_head *))
{
	LIST_HEAD(fill);

	if (b->set >= HA_SETS || b->shape >= HA_SHAPES || b->order > MAX_PAGE_ORDER)
		return -EINVAL;

	guard(mutex)(&ha_sets[b->set].lock);
	atomic_inc(&ha_filling);
	if (b->leave)
		ha_fill(&fill, b->leave);
	run(b, &ha_sets[b->set].pages);
	ha_free_list(&fill);
	atomic_dec(&ha_filling);
	return 0;
}

static long ha_ioctl_burst(void __user *arg,
			   void (*run)(struct ha_burst *, struct list_head *))
{
	struct ha_burst b;
	long ret;

	if (copy_from_user(&b, arg, sizeof(b)))
		return -EFAULT;
	ret = ha_burst(&b, run);
	if (!ret && copy_to_user(arg, &b, sizeof(b)))
		return -EFAULT;
	return ret;
}

static long ha_ioctl_zone(void __user *arg)
{
	struct ha_zone z = {
		.managed = zone_managed_pages(ha_zone),
		.free = ha_zone_free(),
		.wmark_min = min_wmark_pages(ha_zone),
		.wmark_low = low_wmark_pages(ha_zone),
		.wmark_high = high_wmark_pages(ha_zone),
		.reserved_highatomic = ha_zone->nr_reserved_highatomic,
		.free_highatomic = ha_zone->nr_free_highatomic,
		.pageblock_pages = pageblock_nr_pages,
		.node = zone_to_nid(ha_zone),
	};

	strscpy(z.name, ha_zone->name);
	return copy_to_user(arg, &z, sizeof(z)) ? -EFAULT : 0;
}

static long ha_ioctl_free(unsigned long set)
{
	if (set >= HA_SETS)
		return -EINVAL;
	guard(mutex)(&ha_sets[set].lock);
	ha_free_list(&ha_sets[set].pages);
	ha_drain_pcp();
	return 0;
}

/*
 * Allocate until reclaim has given up, which makes the kernel take back a
 * pageblock of the reserve, until it is all gone. Free everything again.
 * __GFP_RETRY_MAYFAIL keeps the OOM killer out of it.
 */
static long ha_ioctl_squeeze(void)
{
	LIST_HEAD(fill);
	struct page *page;
	/*
	 * At most 1% of the zone is reserved, and one pageblock taken back in a
	 * round. Some rounds find memory elsewhere.
	 */
	unsigned long rounds = 4 * (zone_managed_pages(ha_zone) / 100 / pageblock_nr_pages + 2);

	ha_drain_pcp();
	atomic_inc(&ha_filling);
	for (; rounds && !fatal_signal_pending(current); rounds--) {
		ha_fill(&fill, min_wmark_pages(ha_zone) / 2);
		if (!ha_zone->nr_reserved_highatomic)
			break;
		page = alloc_pages(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN, 0);
		if (page)
			ha_keep(&fill, page, 0);
	}
	ha_free_list(&fill);
	atomic_dec(&ha_filling);
	ha_drain_pcp();
	/* What the squeeze boosted would go at a moment of kswapd's choosing */
	scoped_guard(spinlock_irqsave, &ha_zone->lock)
		ha_zone->watermark_boost = 0;
	return 0;
}

/* The network device: what is sent comes back with the addresses swapped */

static struct net_device *ha_dev;
static struct page_frag ha_frag;
static struct ha_net ha_net;

static bool ha_refill(void)
{
	struct page *page = ha_frag.page;

	if (!skb_page_frag_refill(32U, &ha_frag, GFP_ATOMIC | __GFP_NOWARN)) {
		ha_net.failed++;
		return false;
	}
	if (page == ha_frag.page)
		return true;
	ha_net.refills++;
	if (ha_frag.size == PAGE_SIZE)
		ha_net.demoted++;
	return true;
}

static bool ha_receive_payload(struct sk_buff *rx, const struct sk_buff *tx)
{
	unsigned int done = skb_headlen(rx);
	unsigned int n;
	int i;

	for (i = 0; done < tx->len; i++, done += n) {
		if (i == MAX_SKB_FRAGS || !ha_refill())
			return false;
		n = min(tx->len - done, ha_frag.size - ha_frag.offset);
		if (skb_copy_bits(tx, done, page_address(ha_frag.page) + ha_frag.offset, n))
			return false;
		get_page(ha_frag.page);
		skb_add_rx_frag(rx, i, ha_frag.page, ha_frag.offset, n, n);
		ha_frag.offset += n;
	}
	return true;
}

static struct sk_buff *ha_receive(const struct sk_buff *tx, struct net_device *dev)
{
	unsigned int header = min_t(unsigned int, tx->len, HA_RX_HEADER);
	struct sk_buff *rx = netdev_alloc_skb(dev, header);
	struct iphdr *ip;

	if (!rx)
		return NULL;

	if (skb_copy_bits(tx, 0, skb_put(rx, header), header) ||
	    !ha_receive_payload(rx, tx)) {
		kfree_skb(rx);
		return NULL;
	}

	skb_reset_mac_header(rx);
	skb_reset_network_header(rx);
	ip = ip_hdr(rx);
	swap(ip->saddr, ip->daddr);
	rx->protocol = htons(ETH_P_IP);
	rx->ip_summed = CHECKSUM_UNNECESSARY;
	return rx;
}

/* Serialised by the device's transmit queue lock, as ha_frag and ha_net need */
static netdev_tx_t ha_xmit(struct sk_buff *tx, struct net_device *dev)
{
	struct sk_buff *rx = NULL;

	if (tx->protocol == htons(ETH_P_IP) && tx->len >= sizeof(struct iphdr))
		rx = ha_receive(tx, dev);
	if (rx)
		netif_rx(rx);
	else
		DEV_STATS_INC(dev, tx_dropped);
	dev_kfree_skb(tx);
	return NETDEV_TX_OK;
}

static const struct net_device_ops ha_netdev_ops = {
	.ndo_start_xmit = ha_xmit,
};

static void ha_netdev_setup(struct net_device *dev)
{
	dev->netdev_ops = &ha_netdev_ops;
	dev->type = ARPHRD_NONE;
	dev->flags = IFF_NOARP | IFF_POINTOPOINT;
	dev->mtu = ETH_MAX_MTU;
	dev->max_mtu = ETH_MAX_MTU;
	dev->tx_queue_len = 1000;
	dev->features = NETIF_F_SG | NETIF_F_HIGHDMA | NETIF_F_HW_CSUM;
	dev->needs_free_netdev = true;
}

static int ha_netdev_add(void)
{
	int ret;

	ha_dev = alloc_netdev(0, HA_NETDEV, NET_NAME_PREDICTABLE, ha_netdev_setup);
	if (!ha_dev)
		return -ENOMEM;
	ret = register_netdev(ha_dev);
	if (ret)
		free_netdev(ha_dev);
	return ret;
}

static long ha_ioctl_net(void __user *arg)
{
	return copy_to_user(arg, &ha_net, sizeof(ha_net)) ? -EFAULT : 0;
}

static long ha_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *uarg = (void __user *)arg;

	ha_cushion_fill();
	switch (cmd) {
	case HA_IOC_ZONE:
		return ha_ioctl_zone(uarg);
	case HA_IOC_BURST:
		return ha_ioctl_burst(uarg, ha_allocate);
	case HA_IOC_RECYCLE:
		return ha_ioctl_burst(uarg, ha_recycle);
	case HA_IOC_FREE:
		return ha_ioctl_free(arg);
	case HA_IOC_SQUEEZE:
		return ha_ioctl_squeeze();
	case HA_IOC_NET:
		return ha_ioctl_net(uarg);
	}
	return -ENOTTY;
}

static void ha_free_sets(void)
{
	int i;

	for (i = 0; i < HA_SETS; i++) {
		guard(mutex)(&ha_sets[i].lock);
		ha_free_list(&ha_sets[i].pages);
	}
}

/* A test that was killed leaves nothing allocated */
static int ha_release(struct inode *inode, struct file *file)
{
	ha_free_sets();
	return 0;
}

static const struct file_operations ha_fops = {
	.owner = THIS_MODULE,
	.release = ha_release,
	.unlocked_ioctl = ha_ioctl,
};

static struct miscdevice ha_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "highatomic_test",
	.mode = 0600,
	.fops = &ha_fops,
};

static int __init ha_init(void)
{
	struct page *page = alloc_page(GFP_ATOMIC);
	int i, ret;

	if (!page)
		return -ENOMEM;
	ha_zone = page_zone(page);
	__free_page(page);

	for (i = 0; i < HA_SETS; i++) {
		mutex_init(&ha_sets[i].lock);
		INIT_LIST_HEAD(&ha_sets[i].pages);
	}

	ret = ha_netdev_add();
	if (ret)
		return ret;
	ret = misc_register(&ha_misc);
	if (ret) {
		unregister_netdev(ha_dev);
		return ret;
	}
	ret = register_oom_notifier(&ha_oom_nb);
	if (ret) {
		misc_deregister(&ha_misc);
		unregister_netdev(ha_dev);
	}
	return ret;
}

static void __exit ha_exit(void)
{
	unregister_oom_notifier(&ha_oom_nb);
	misc_deregister(&ha_misc);
	unregister_netdev(ha_dev);
	if (ha_frag.page)
		put_page(ha_frag.page);
	ha_free_sets();
	ha_free_list(&ha_cushion);
}

module_init(ha_init);
module_exit(ha_exit);
MODULE_DESCRIPTION("Driver of the highatomic kselftest");
MODULE_LICENSE("GPL");
