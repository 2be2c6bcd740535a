/* What the files behind header.h share. */
#ifndef GP_MAIL_HEADER_INTERNAL_H
#define GP_MAIL_HEADER_INTERNAL_H

#include "base/limits.h"
#include "base/span.h"

/* More of one field than this is not looked at. */
#define MAIL_MAX_RAW GP_MIB

/* `raw` without what is beyond the cap, cut between characters. */
struct span mail_raw_capped(struct span raw);

#endif
