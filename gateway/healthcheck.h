/* --healthcheck: asks the gateway that listens on an address whether it lives. A
 * blocking program of its own, for HEALTHCHECK in a container image. */
#ifndef GP_GATEWAY_HEALTHCHECK_H
#define GP_GATEWAY_HEALTHCHECK_H

#include "gateway/address.h"

/* GET /healthz answers 200 within some seconds. The certificate is not verified under
 * TLS: it is made for another name than the address that is asked. */
enum gp_status gateway_healthcheck(const struct gateway_address *address, bool is_tls,
				   struct gp_error *error) GP_MUST_USE;

#endif
