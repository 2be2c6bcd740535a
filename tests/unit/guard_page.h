/*
 * Memory whose last byte is followed by a page that cannot be read: one byte too far
 * is a crash, with sanitizers or without.
 */
#ifndef GP_TESTS_GUARD_PAGE_H
#define GP_TESTS_GUARD_PAGE_H

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/span.h"

struct guard_page {
	char *base;  /* own: mapped */
	size_t size; /* with the guard */
	char *end;   /* borrow: where the guard begins */
};

/* Room for `len` bytes at most. */
static inline void guard_page_init(struct guard_page *page, size_t len)
{
	size_t unit = (size_t)sysconf(_SC_PAGESIZE);
	size_t usable = (len + unit - 1) / unit * unit;

	page->size = usable + unit;
	page->base = mmap(NULL, page->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page->base == MAP_FAILED) {
		abort();
	}
	page->end = page->base + usable;
	if (mprotect(page->end, unit, PROT_NONE) != 0) {
		abort();
	}
}

static inline void guard_page_deinit(struct guard_page *page)
{
	munmap(page->base, page->size);
}

/* A copy that ends at the guard; valid until the next one. */
static inline struct span guard_page_put(struct guard_page *page, struct span bytes)
{
	if (bytes.len > (size_t)(page->end - page->base)) {
		abort();
	}
	if (bytes.len > 0) {
		memcpy(page->end - bytes.len, bytes.ptr, bytes.len);
	}
	return span_make(page->end - bytes.len, bytes.len);
}

#endif
