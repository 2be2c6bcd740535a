/*
 * Faults on purpose: the n-th time that the program under test asks for memory, opens a
 * connection, writes or is sent something, it fails; once, or from then on.
 *
 * The stand-ins say whose code runs: fault_enter() and fault_leave() around each call into
 * the program, fault_pause() and fault_resume() in the operations that it calls. Only what
 * the program itself does is counted and can fail. Without fault_arm() nothing ever fails.
 *
 * Memory: tests/wire/fault_memory.c stands between the program and the allocator.
 */
#ifndef GP_TESTS_SUPPORT_FAULT_H
#define GP_TESTS_SUPPORT_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What can fail, and what it is called. */
#define FAULT_MAP(X)                                                                                                   \
	X(ALLOCATION, "allocation")   /* malloc() and its like, of the program and of Jansson */                       \
	X(ROOM, "room")               /* a piece of an arena or buffer, whether or not it needs memory */              \
	X(OPEN, "open")               /* the network has no memory for one more connection */                          \
	X(CONNECT, "connect")         /* the connection is refused */                                                  \
	X(NAME, "name")               /* the server's name is not found */                                             \
	X(HANDSHAKE, "handshake")     /* TLS fails */                                                                  \
	X(SLOW_CONNECT, "no connect") /* the connection is not there in time */                                        \
	X(WRITE, "write")             /* what is written goes nowhere, and the connection ends */                      \
	X(READ, "read")               /* the connection ends in place of what was sent */                              \
	X(CUT_UP, "byte up")          /* the connection ends behind the n-th byte to the server */                     \
	X(CUT_DOWN, "byte down")      /* the connection ends behind the n-th byte from the server */

enum fault_kind {
#define X(name, text) FAULT_##name,
	FAULT_MAP(X)
#undef X
		FAULT_N_KINDS
};

const char *fault_name(enum fault_kind kind);

/* ---- the plan ---- */

/* From now on counted from 1; n 0: only counted. */
void fault_arm(enum fault_kind kind, size_t n, bool is_lasting);
/* Nothing fails any more; what was counted and whether it struck stays. */
void fault_disarm(void);
bool fault_has_struck(void);
/* Of this kind, since fault_arm(). */
size_t fault_count(enum fault_kind kind);
/* Called when it strikes; for a stack trace. */
void fault_on_strike(void (*fn)(void));

/* ---- whose code runs ---- */

void fault_enter(void);
void fault_leave(void);
/* In an operation that the program calls: what the stand-in does is not the program's. */
unsigned fault_pause(void);
void fault_resume(unsigned depth);
bool fault_is_in_program(void);

/* ---- the moments ---- */

/* One more of this kind: true when it is to fail. */
bool fault_strikes(enum fault_kind kind);
/* `len` more bytes. True when the connection is to end among them, behind so many. */
bool fault_cuts(enum fault_kind kind, size_t len, size_t *passes_out);

#endif
