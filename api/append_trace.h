/*
 * How a message that was appended is known again: by its size, and by how it begins.
 * Noted while it passes, in constant memory.
 */
#ifndef GP_API_APPEND_TRACE_H
#define GP_API_APPEND_TRACE_H

#include "base/limits.h"
#include "base/span.h"

#define API_TRACE_HEAD (4 * GP_KIB)

/* Plain bytes: may be copied, and kept after the request. */
struct api_append_trace {
	uint32_t uidvalidity, uidnext; /* of the mailbox before the message came; 0: not known */
	uint64_t size;                 /* octets noted */
	uint64_t n_bare_lf;            /* those that some servers store as CRLF */
	size_t n_head;
	bool ends_in_cr;
	char head[API_TRACE_HEAD]; /* the first octets */
};

/* The next octets of the message. */
void api_trace_note(struct api_append_trace *trace, struct span octets);
/* Forgets the message, not the mailbox. */
void api_trace_begin(struct api_append_trace *trace);

enum api_trace_match {
	API_TRACE_OTHER,
	API_TRACE_LIKELY, /* the same Message-ID: a server that rewrites what it stores */
	API_TRACE_SAME,   /* the same size and the same beginning */
};

/* A message on the server: its RFC822.SIZE and its first octets, API_TRACE_HEAD at most.
 * Line ends may differ. */
enum api_trace_match api_trace_compare(const struct api_append_trace *trace, uint64_t size, struct span head);

#endif
