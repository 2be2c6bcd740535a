/*
 * The text of body parts, fetched for one or many messages: `bodyValues` and, where
 * the server makes none, `preview`.
 *
 * Wants are gathered while rows arrive, then fetched: messages that want the same
 * sections share one UID FETCH. Values are cut at `max_bytes` of UTF-8.
 *
 * What was made is kept as JSON text until api_body_values_write() puts it behind the
 * message's other members.
 */
#ifndef GP_API_BODY_VALUES_H
#define GP_API_BODY_VALUES_H

#include "api/job.h"
#include "api/json_writer.h"
#include "mail/parts.h"

#define API_BODY_VALUE_DEFAULT (256 * GP_KIB)
#define API_BODY_VALUE_MOST GP_MIB
#define API_BODY_VALUE_LIST (16 * GP_KIB) /* default and most in a list */
/* Encoded bytes fetched for one message; what is beyond comes as an empty, truncated value. */
#define API_BODY_VALUES_MESSAGE (8 * GP_MIB)
#define API_BODY_VALUES_LIST_MESSAGE (128 * GP_KIB)
/* Parts fetched for one message, in one command; the rest likewise. */
#define API_BODY_VALUES_PARTS 100

struct api_body_want;
struct api_body_message;

struct api_body_values {
	struct api_job *job;         /* borrow */
	struct api_body_want *wants; /* own */
	size_t n_wants, size;
	struct api_body_message *messages; /* own: in the order in which they were added */
	size_t n_messages, messages_size;
	size_t write_at; /* where api_body_values_write() looks first */
	unsigned depth;
	bool is_out_of_memory; /* a value that came could not be kept */
	size_t max_bytes;
	uint64_t budget, left;             /* encoded bytes for one message, and what is left for the last one */
	size_t n_left;                     /* parts, likewise */
	size_t group_first, group_end;     /* the wants of the first message of the FETCH under way */
	void (*done)(struct api_job *job); /* all are there; on failure the job has ended instead */
};

/* `depth` is that of the messages' members in the reply, for the writer. */
void api_body_values_init(struct api_body_values *values, struct api_job *job, size_t max_bytes, uint64_t budget,
			  unsigned depth, void (*done)(struct api_job *job));
void api_body_values_deinit(struct api_body_values *values);

/* The message is given `bodyValues[partId]` for each text part of the list; it is given the
 * member (an empty object) in any case. Parts live as long as the job's arena. What is
 * added for one message is added without another in between. */
enum gp_status api_body_values_add(struct api_body_values *values, uint32_t uid,
				   const struct mail_part_list *parts) GP_MUST_USE;
/* The message is given `preview` from the first text part of the choice. */
enum gp_status api_body_values_add_preview(struct api_body_values *values, uint32_t uid,
					   const struct mail_choice *choice) GP_MUST_USE;
/* Fetches what was added; done comes in any case, at once when nothing was. */
void api_body_values_run(struct api_body_values *values);
/* When done: the message's members `bodyValues` and `preview`, those that were added. */
void api_body_values_write(struct api_body_values *values, uint32_t uid, struct api_json_writer *writer);

#endif
