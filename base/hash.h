/*
 * FNV-1a, 64 bits: spread, not secret, so never of what an attacker may choose where a
 * collision would hurt. Numbers are hashed as eight octets, the lowest first: some hashes
 * go to clients, and come back to another machine.
 */
#ifndef GP_BASE_HASH_H
#define GP_BASE_HASH_H

#include "base/span.h"

#define GP_HASH_START 0xcbf29ce484222325u

static inline uint64_t gp_hash_octet(uint64_t hash, unsigned char octet)
{
	return (hash ^ octet) * 0x100000001b3u;
}

static inline uint64_t gp_hash_span(uint64_t hash, struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		hash = gp_hash_octet(hash, (unsigned char)bytes.ptr[i]);
	}
	return hash;
}

static inline uint64_t gp_hash_number(uint64_t hash, uint64_t number)
{
	for (int shift = 0; shift < 64; shift += 8) {
		hash = gp_hash_octet(hash, (unsigned char)(number >> shift));
	}
	return hash;
}

#endif
