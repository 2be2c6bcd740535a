/*
 * The mailbox with the role 'trash', to which a DELETE moves messages (RFC 8621 section 2).
 */
#ifndef GP_API_TRASH_H
#define GP_API_TRASH_H

#include "api/job.h"
#include "api/router.h"

/* Zeroed: has not been asked for. A part of the job, and gone with it. */
struct api_trash {
	struct api_job *job;
	void (*found)(struct api_job *job);
	struct span *name_out;
};

/* Of a DELETE: neither is `permanent` asked for, nor is it the trash that is emptied. */
bool api_trash_is_wanted(struct api_request *request);
/* Asks the server which mailbox it is, writes its full name (UTF-8, in the exchange's arena)
 * and calls found() with the job's session. There is none: 409, and the job has ended. */
void api_trash_find(struct api_trash *self, struct api_job *job, struct span *name_out,
		    void (*found)(struct api_job *job));

#endif
