/* zap: who may connect: the allow list and the thread that answers libzmq's ZAP requests (RFC 27) from it.
 *
 * libzmq asks over inproc://zeromq.zap.01, once per handshake, and all handshakes of the process wait for the answer:
 * so it comes from memory, under a lock that is held for a binary search. A key on the list gets a user id, the
 * hexadecimal text of the key, which libzmq attaches to every message of that connection; what the key may do is looked
 * up per message, so a key taken off the list is powerless at once, also on a live connection (I9).
 *
 * Private to common/wire. Threads: any, after start; the table is guarded by its lock.
 */
#ifndef ANABRANCH_COMMON_WIRE_ZAP_H
#define ANABRANCH_COMMON_WIRE_ZAP_H

#include "common/wire/wire.h"

#define AB_ZAP_DOMAIN "anabranch"

struct ab_zap;

/* An empty allow list: all are refused. */
struct ab_zap *ab_zap_create(void);

/* Frees; the thread must have ended. NULL is legal. */
void ab_zap_destroy(struct ab_zap *zap);

/* Binds the ZAP address in a ZeroMQ context and starts to answer; does nothing when it runs already. AB_BUSY when
 * somebody else answers in this context. */
AB_MUST_USE ab_err ab_zap_start(struct ab_zap *zap, void *zmq_context, struct ab_error *error);

/* Waits for the thread, which ends when its context is shut down. Legal when it never started. */
void ab_zap_join(struct ab_zap *zap);

/* Replaces the list at once; `peers` is copied. */
void ab_zap_allow(struct ab_zap *zap, const struct ab_wire_peer *peers, size_t peers_count);

/* Finds who a message is from by the user id libzmq attached (may be NULL); false when the key is not on the list (any
 * more). */
bool ab_zap_find(struct ab_zap *zap, const char *user_id, struct ab_wire_peer *peer);

#endif
