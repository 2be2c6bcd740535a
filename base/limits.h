/*
 * Every cap of the program that is not an option. 0 never means unlimited.
 * docs/limits.md lists them with their reasons. Sizes are bytes, times
 * milliseconds.
 */
#ifndef GP_BASE_LIMITS_H
#define GP_BASE_LIMITS_H

#define GP_KIB ((size_t)1024)
#define GP_MIB (1024 * GP_KIB)

/* from the IMAP server */
#define GP_MAX_IMAP_LINE (8 * GP_MIB)            /* one line of a response, literals not counted */
#define GP_MAX_IMAP_RESPONSE (16 * GP_MIB)       /* one response, literals counted */
#define GP_MAX_IMAP_LITERAL (2 * GP_MIB)         /* a longer literal is passed over and its item lost */
#define GP_MAX_IMAP_NESTING 100                  /* parentheses */
#define GP_MAX_IMAP_PARTS 10000                  /* parts of one body structure */
#define GP_MAX_IMAP_ADDRESSES 10000              /* addresses of one envelope */
#define GP_MAX_IMAP_UID_RANGES ((size_t)1000000) /* ranges of one UID set: 8 bytes each */
#define GP_MAX_IMAP_LIST_ENTRIES 100000          /* mailboxes of one account */
#define GP_MAX_IMAP_PARSE_ARENA (32 * GP_MIB)

/* to the IMAP server */
#define GP_MAX_IMAP_COMMAND (256 * GP_KIB) /* one command, literals counted */
#define GP_MAX_IMAP_SET_BYTES 7000         /* one UID set in a command: longer ones are split */
#define GP_MAX_IMAP_UNSENT (512 * GP_KIB)  /* of a streamed literal, not yet taken by the network */
#define GP_STREAM_WINDOW (256 * GP_KIB)    /* one partial FETCH of a streamed body */

/* from the HTTP client */
#define GP_MAX_TARGET (8 * GP_KIB)
#define GP_MAX_QUERY_PARAMETERS 200
#define GP_MAX_JSON_BODY GP_MIB
#define GP_MAX_JSON_DEPTH 32
#define GP_MAX_JSON_VALUES 20000
#define GP_MAX_HELD_MESSAGE GP_MIB /* a message whose length is not known before it is there */
#define GP_MAX_HELD (256 * GP_MIB) /* bodies and messages that all requests together hold in memory */
#define GP_HEADER_DEADLINE_MS 20000
#define GP_MAX_MBOX_MESSAGE (32 * GP_MIB) /* one message of an mbox file that is uploaded */
#define GP_MAX_MBOX_MESSAGES 50000

/* to the HTTP client */
#define GP_MAX_JSON_REPLY (64 * GP_MIB)
#define GP_MAX_REQUEST_ARENA (64 * GP_MIB)
#define GP_MAX_TEXT_PARTS 1000 /* of one message, that are made into one text or HTML */

/* Idempotency-Keys */
#define GP_MAX_IDEMPOTENCY_KEYS ((size_t)20000)
#define GP_MAX_IDEMPOTENCY_BYTES (16 * GP_MIB)
/* User names, addresses and credentials whose logins are remembered: some 130 bytes each. */
#define GP_MAX_THROTTLED ((size_t)50000)
#define GP_IDEMPOTENCY_MS (24ull * 60 * 60 * 1000)

/* pool */
#define GP_MAX_WAITING_PER_ACCOUNT 1000
#define GP_MAX_SESSION_AGE_MS (15 * 60 * 1000) /* then it logs in anew: a changed password takes hold */
#define GP_SESSION_KEEPALIVE_MS (2 * 60 * 1000)
#define GP_DRAIN_MS 30000

/* watches */
#define GP_WATCH_SESSIONS 2                  /* of one watch, with IDLE */
#define GP_WATCH_RENEW_MS (9 * 60 * 1000)    /* something is sent, before a NAT forgets the connection */
#define GP_WATCH_MIN_RENEW_MS 20000          /* of what is learned of a server that closes sooner, */
#define GP_WATCH_LEARNED_MS (60 * 60 * 1000) /* for so long */
#define GP_WATCH_SILENT_MS (5 * 60 * 1000)   /* and when nothing came for so long */
#define GP_WATCH_POLL_MS 30000               /* STATUS of what no server tells of */
#define GP_WATCH_POLL_FACTOR 20              /* and at most this part of the time is spent with it */
#define GP_WATCH_BLIND_MS (5 * 60 * 1000)    /* a mailbox without mod-sequences is named this often */
#define GP_WATCH_RETRY_MS (5 * 60 * 1000)    /* a watch without a session asks for one again */
#define GP_WATCH_BACKOFF_MS 1000             /* the first, doubled each time; a random part of it is waited */
#define GP_WATCH_MAX_BACKOFF_MS (2 * 60 * 1000)
#define GP_WATCH_STEADY_MS 60000  /* up for so long: the back-off begins anew */
#define GP_WATCH_RECONNECT_MS 10  /* between two logins of watches that come back, in one pool */
#define GP_WATCH_LOOK_MS 1000     /* IDLE is begun anew after it; doubled each time, up to GP_WATCH_POLL_MS */
#define GP_WATCH_FRESH_MS 3000    /* after a beginning, */
#define GP_WATCH_LIVELY_MS 60000  /* and after a change that was told: the server is asked for more, */
#define GP_WATCH_PROBE_MS 120     /* this often, */
#define GP_WATCH_PROBES_S 400     /* at most so many times a second in one pool, */
#define GP_WATCH_MAX_PROBE_MS 400 /* and not at all where that would be seldomer than this */

#endif
