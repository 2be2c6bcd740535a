/*
 * Names of files made from what messages say, for archives and disks: valid UTF-8, one
 * path component, nothing hidden, nothing that deceives (bidirectional marks) or that
 * some system takes for a device; and unique among each other where case and Unicode's
 * ways to write a character do not count.
 */
#ifndef GP_MAIL_FILENAME_H
#define GP_MAIL_FILENAME_H

#include "base/buffer.h"

/* Appends the name made fit, of 1 to `max` bytes (at least 32): what is unfit becomes
 * "_", or goes; a long one loses its middle and keeps a short extension; nothing left is
 * "unnamed". */
enum gp_status mail_filename_append(struct span name, size_t max, struct gp_buffer *out) GP_MUST_USE;

/* Names that are taken. */
struct mail_filenames;

struct mail_filenames *mail_filenames_new(void);
void mail_filenames_free(struct mail_filenames **names);
/* The same, and "name (2).pdf" where "name.pdf" is taken; `out` is emptied first. */
enum gp_status mail_filenames_add(struct mail_filenames *names, struct span name, size_t max,
				  struct gp_buffer *out) GP_MUST_USE;

#endif
