/*
 * Who asks: from the Authorization header to a credential. Authentication is per
 * request, whatever came before on the connection. Schemes: Basic (RFC 7617). Whether
 * the password is right is the IMAP server's to say.
 */
#ifndef GP_API_AUTH_H
#define GP_API_AUTH_H

#include "api/exchange.h"
#include "imap/credential.h"

/* The value of WWW-Authenticate on every 401. */
#define API_CHALLENGE "Basic realm=\"gatepost\", charset=\"UTF-8\""

/* GP_AUTH: no or no usable credential, and `error` says why without repeating any of
 * it; GP_NO_MEMORY. The caller owns the reference. */
enum gp_status api_auth_credential(struct api_exchange *exchange, struct imap_credential **credential_out,
				   struct gp_error *error) GP_MUST_USE;

/* The last look before anything of an account goes out: ends the program unless `credential`
 * is what the exchange's own header says, whatever became of either in between. */
void api_auth_check_owner(struct api_exchange *exchange, const struct imap_credential *credential);

/* The pure part: an Authorization value to user name and password, which are spans of
 * `buffer` (wiped by the caller). */
#define API_AUTH_MAX 2304
enum gp_status api_auth_parse_basic(struct span authorization, char buffer[API_AUTH_MAX], struct span *username_out,
				    struct span *password_out, struct gp_error *error) GP_MUST_USE;

#endif
