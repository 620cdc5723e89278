/* proxy: a TCP proxy on loopback that a test makes faulty: what comes through, and what does not, is said by its mode.
 *
 * Threads: one of its own moves the bytes; the test's thread sets modes.
 */
#ifndef ANABRANCH_TESTS_SUPPORT_PROXY_H
#define ANABRANCH_TESTS_SUPPORT_PROXY_H

#include "common/base/random.h"
#include "common/base/thread.h"

#include <stdatomic.h>

enum { PROXY_CONNECTIONS_MAX = 32 };

enum proxy_mode {
    PROXY_FORWARD,       /* a wire */
    PROXY_HOLD,          /* connections are accepted and stay, no byte moves */
    PROXY_DROP_REPLIES,  /* what the client sends arrives, what the server answers does not */
    PROXY_DROP_REQUESTS, /* the other way round */
    PROXY_HOLD_REPLIES,  /* what the server answers waits, and comes later */
    PROXY_DELAY,         /* bytes come in bursts, each connection's and direction's at times of its own */
    PROXY_CORRUPT,       /* a byte in what is moved is another one, sometimes */
};

struct proxy {
    uint32_t address; /* of both, in the order of the host */
    uint16_t port;    /* where clients connect */
    uint16_t target;  /* where the server listens */
    int listener;
    atomic_int mode;       /* atomic */
    atomic_int delay_ms;   /* atomic: the longest wait of PROXY_DELAY */
    atomic_bool is_cut;    /* atomic: close all connections now, with what they hold; the proxy's thread resets it */
    atomic_bool is_closed; /* atomic: new connections are closed at once */
    atomic_bool is_ending; /* atomic */
    struct ab_thread thread;
    int clients[PROXY_CONNECTIONS_MAX];       /* proxy's thread; -1 = free */
    int servers[PROXY_CONNECTIONS_MAX];       /* proxy's thread */
    struct ab_random random;                  /* proxy's thread */
    int64_t due_us[PROXY_CONNECTIONS_MAX][2]; /* proxy's thread: when a burst moves, of requests and replies; 0 = now */
};

/* Starts a proxy to a port of loopback; ends with proxy_stop. */
void proxy_start(struct proxy *proxy, uint16_t target);

/* The same at another address of this machine, for both sides. */
void proxy_start_at(struct proxy *proxy, uint32_t address, uint16_t target);
void proxy_stop(struct proxy *proxy);

/* Changes the mode for all bytes from now on. */
void proxy_set(struct proxy *proxy, enum proxy_mode mode);

/* Closes all connections, and waits until it is done; bytes on their way are lost. */
void proxy_cut(struct proxy *proxy);

#endif
