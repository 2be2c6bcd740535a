/*
 * The log: one line for each event, to standard error, as text or JSON. Lines
 * never hold credentials, Authorization headers or message content: callers give
 * facts (statuses, counts, timings, tags), and the writer escapes what is not
 * printable. A log that cannot be written is dropped, never waited for: the program goes on
 * when its pipe is full or closed, or its disk is. How many lines were dropped is told when
 * there is room again.
 *
 * error: someone must act. warn: degraded. info: life of the program and one line
 * for each HTTP exchange. debug: by category.
 */
#ifndef GP_BASE_LOG_H
#define GP_BASE_LOG_H

#include "base/status.h"

enum gp_log_level { GP_LOG_ERROR, GP_LOG_WARN, GP_LOG_INFO, GP_LOG_DEBUG };
enum gp_log_format { GP_LOG_TEXT, GP_LOG_JSON };

void gp_log_setup(enum gp_log_level level, enum gp_log_format format);
bool gp_log_enabled(enum gp_log_level level);
/* `category` is a room or part: "http", "imap", "pool", "program". The message is
 * one line of `key=value` words and prose, at most 1024 bytes. */
void gp_log(enum gp_log_level level, const char *category, const char *format, ...) GP_PRINTF(3, 4);

#endif
