#include "tests/wire/fault_memory.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "tests/support/fault.h"

#define TABLE_SIZE ((size_t)1 << 16) /* more pieces at once than any case has */

struct piece {
	uintptr_t at; /* 0: free; 1: was taken once */
	size_t size, serial;
};

static struct piece *table; /* own: by address */
static size_t n_live, last_serial, watched_serial;
static void (*watched)(void);

/* The linker's names for the real ones, and for what stands in their place. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *at, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *at);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *at, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *at);

/* ---- what is live ---- */

static size_t slot_of(uintptr_t at)
{
	return (size_t)((at >> 4) * 0x9E3779B97F4A7C15u >> 44) % TABLE_SIZE;
}

static void note_taken(void *at, size_t size)
{
	if (!at || !table) {
		return;
	}
	size_t slot = slot_of((uintptr_t)at);
	while (table[slot].at > 1) {
		slot = (slot + 1) % TABLE_SIZE;
	}
	table[slot] = (struct piece){.at = (uintptr_t)at, .size = size, .serial = ++last_serial};
	n_live++;
	if (last_serial == watched_serial && watched) {
		watched();
	}
}

/* Those that the program did not take are not in the table. */
static void note_given_back(void *at)
{
	if (!at || !table) {
		return;
	}
	for (size_t slot = slot_of((uintptr_t)at); table[slot].at != 0; slot = (slot + 1) % TABLE_SIZE) {
		if (table[slot].at == (uintptr_t)at) {
			table[slot].at = 1;
			n_live--;
			return;
		}
	}
}

size_t fault_memory_n_live(void)
{
	return n_live;
}

void fault_memory_forget(void)
{
	for (size_t i = 0; last_serial > 0 && i < TABLE_SIZE; i++) {
		table[i].at = 0;
	}
	n_live = last_serial = 0;
}

size_t fault_memory_oldest(size_t *size_out)
{
	size_t serial = 0;

	for (size_t i = 0; i < TABLE_SIZE; i++) {
		if (table[i].at > 1 && (serial == 0 || table[i].serial < serial)) {
			serial = table[i].serial;
			*size_out = table[i].size;
		}
	}
	return serial;
}

void fault_memory_watch(size_t serial, void (*fn)(void))
{
	watched_serial = serial;
	watched = fn;
}

/* ---- the program's own ---- */

static bool fails(void)
{
	return fault_is_in_program() && fault_strikes(FAULT_ALLOCATION);
}

void *__wrap_malloc(size_t size)
{
	if (fails()) {
		return NULL;
	}
	void *at = __real_malloc(size);
	if (fault_is_in_program()) {
		note_taken(at, size);
	}
	return at;
}

void *__wrap_calloc(size_t n, size_t size)
{
	if (fails()) {
		return NULL;
	}
	void *at = __real_calloc(n, size);
	if (fault_is_in_program()) {
		note_taken(at, n * size);
	}
	return at;
}

void *__wrap_realloc(void *at, size_t size)
{
	if (fails()) {
		return NULL;
	}
	void *moved = __real_realloc(at, size);
	note_given_back(moved ? at : NULL);
	if (fault_is_in_program()) {
		note_taken(moved, size);
	}
	return moved;
}

char *__wrap_strdup(const char *text)
{
	if (fails()) {
		return NULL;
	}
	char *copy = __real_strdup(text);
	if (fault_is_in_program()) {
		note_taken(copy, strlen(text) + 1);
	}
	return copy;
}

void __wrap_free(void *at)
{
	note_given_back(at);
	__real_free(at);
}

/* ---- arenas and buffers: each piece, not only each block ---- */

void *__real_gp_arena_alloc(struct gp_arena *arena, size_t len);
void *__real_gp_arena_array(struct gp_arena *arena, size_t n, size_t size);
char *__real_gp_arena_strdup(struct gp_arena *arena, struct span text);
bool __real_gp_arena_copy(struct gp_arena *arena, struct span bytes, struct span *copy_out);
enum gp_status __real_gp_buffer_append(struct gp_buffer *buffer, struct span bytes);
enum gp_status __real_gp_buffer_append_char(struct gp_buffer *buffer, char c);
enum gp_status __real_gp_buffer_reserve(struct gp_buffer *buffer, size_t len, char **room_out);
void *__wrap_gp_arena_alloc(struct gp_arena *arena, size_t len);
void *__wrap_gp_arena_array(struct gp_arena *arena, size_t n, size_t size);
char *__wrap_gp_arena_strdup(struct gp_arena *arena, struct span text);
bool __wrap_gp_arena_copy(struct gp_arena *arena, struct span bytes, struct span *copy_out);
enum gp_status __wrap_gp_buffer_append(struct gp_buffer *buffer, struct span bytes);
enum gp_status __wrap_gp_buffer_append_char(struct gp_buffer *buffer, char c);
enum gp_status __wrap_gp_buffer_reserve(struct gp_buffer *buffer, size_t len, char **room_out);

static bool has_no_room(void)
{
	return fault_is_in_program() && fault_strikes(FAULT_ROOM);
}

/* As when there is no memory for a block. */
static bool is_full(struct gp_arena *arena)
{
	bool is_short = has_no_room();

	arena->is_short |= is_short;
	return is_short;
}

void *__wrap_gp_arena_alloc(struct gp_arena *arena, size_t len)
{
	return is_full(arena) ? NULL : __real_gp_arena_alloc(arena, len);
}

void *__wrap_gp_arena_array(struct gp_arena *arena, size_t n, size_t size)
{
	return is_full(arena) ? NULL : __real_gp_arena_array(arena, n, size);
}

char *__wrap_gp_arena_strdup(struct gp_arena *arena, struct span text)
{
	return is_full(arena) ? NULL : __real_gp_arena_strdup(arena, text);
}

bool __wrap_gp_arena_copy(struct gp_arena *arena, struct span bytes, struct span *copy_out)
{
	return !is_full(arena) && __real_gp_arena_copy(arena, bytes, copy_out);
}

enum gp_status __wrap_gp_buffer_append(struct gp_buffer *buffer, struct span bytes)
{
	return has_no_room() ? GP_NO_MEMORY : __real_gp_buffer_append(buffer, bytes);
}

enum gp_status __wrap_gp_buffer_append_char(struct gp_buffer *buffer, char c)
{
	return has_no_room() ? GP_NO_MEMORY : __real_gp_buffer_append_char(buffer, c);
}

enum gp_status __wrap_gp_buffer_reserve(struct gp_buffer *buffer, size_t len, char **room_out)
{
	return has_no_room() ? GP_NO_MEMORY : __real_gp_buffer_reserve(buffer, len, room_out);
}

/* ---- libraries ---- */

/* OpenSSL keeps some of what it takes for good: not counted as live. */
static void *crypto_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : __real_malloc(size);
}

static void *crypto_realloc(void *at, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : __real_realloc(at, size);
}

static void crypto_free(void *at, const char *file, int line)
{
	(void)file;
	(void)line;
	__real_free(at);
}

void fault_memory_init(void)
{
	table = __real_calloc(TABLE_SIZE, sizeof *table);
	if (!table || CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) != 1) {
		fputs("wire_run: OpenSSL has memory already\n", stderr);
		exit(2);
	}
}
