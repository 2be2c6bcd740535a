/*
 * Between the program and its allocator: see tests/support/fault.h. The linker gives the
 * runner __wrap_malloc() for every malloc() of the program's own files (CMakeLists.txt);
 * Jansson and OpenSSL take their memory here too. GLib does not: it ends the process when
 * there is none, whoever gives it out.
 */
#ifndef GP_TESTS_WIRE_FAULT_MEMORY_H
#define GP_TESTS_WIRE_FAULT_MEMORY_H

#include <stddef.h>

/* Before anything else: OpenSSL asks once. */
void fault_memory_init(void);
/* How many pieces the program has taken and not given back since fault_memory_forget(). */
size_t fault_memory_n_live(void);
void fault_memory_forget(void);
/* The serial number of a piece that was not given back, and its size; 0: there is none. */
size_t fault_memory_oldest(size_t *size_out);
/* Called with each piece of this serial number: who took it? 0: none. */
void fault_memory_watch(size_t serial, void (*fn)(void));

#endif
