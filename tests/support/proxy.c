#include "tests/support/proxy.h"

#include "common/base/time.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address_of(const struct proxy *proxy, uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(proxy->address)};
}

static void connection_close(struct proxy *proxy, int i)
{
    if (proxy->clients[i] >= 0) {
        (void)close(proxy->clients[i]);
        (void)close(proxy->servers[i]);
        proxy->clients[i] = -1;
    }
}

static void connection_accept(struct proxy *proxy)
{
    struct sockaddr_in address = address_of(proxy, proxy->target);
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int i = 0;
    while (i < PROXY_CONNECTIONS_MAX && proxy->clients[i] >= 0) {
        i++;
    }
    bool is_fine = client >= 0 && server >= 0 && i < PROXY_CONNECTIONS_MAX && !atomic_load(&proxy->is_closed) &&
                   connect(server, (struct sockaddr *)&address, sizeof address) == 0;
    if (!is_fine) {
        (void)close(client);
        (void)close(server);
        return;
    }
    proxy->clients[i] = client;
    proxy->servers[i] = server;
    proxy->due_us[i][0] = 0;
    proxy->due_us[i][1] = 0;
}

/* What becomes of the bytes of one direction. */
enum fate { MOVED, LOST, CORRUPTED };

/* Moves what has come from one side to the other, or loses it; false when the connection is over. */
static bool bytes_move(struct proxy *proxy, int from, int to, enum fate fate)
{
    char bytes[65536];
    ssize_t got = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    if (got > 0 && fate == CORRUPTED && ab_random_below(&proxy->random, 8) == 0) {
        bytes[ab_random_below(&proxy->random, (uint64_t)got)] ^= 0x10;
    }
    for (ssize_t sent = 0; fate != LOST && sent < got;) {
        ssize_t more = send(to, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (more <= 0) {
            return false;
        }
        sent += more;
    }
    return got > 0;
}

static enum fate fate_of(int mode, bool is_reply)
{
    if (mode == (is_reply ? PROXY_DROP_REPLIES : PROXY_DROP_REQUESTS)) {
        return LOST;
    }
    return mode == PROXY_CORRUPT ? CORRUPTED : MOVED;
}

/* True when nothing is read in this direction. */
static bool is_held(const struct proxy *proxy, int mode, int i, bool is_reply, int64_t now_us)
{
    return proxy->clients[i] < 0 || mode == PROXY_HOLD || (mode == PROXY_HOLD_REPLIES && is_reply) ||
           (mode == PROXY_DELAY && proxy->due_us[i][is_reply] > now_us);
}

/* Moves what there is in one direction when it is its time; false when the connection is over. */
static bool direction_run(struct proxy *proxy, int mode, int i, bool is_reply)
{
    int64_t *due_us = &proxy->due_us[i][is_reply];
    if (mode == PROXY_DELAY && *due_us == 0) { /* the first byte of a burst */
        uint64_t most = (uint64_t)atomic_load(&proxy->delay_ms) * AB_US_PER_MS + 1;
        *due_us = ab_time_monotonic_us() + (int64_t)ab_random_below(&proxy->random, most);
        return true;
    }
    *due_us = 0;
    int from = is_reply ? proxy->servers[i] : proxy->clients[i];
    int to = is_reply ? proxy->clients[i] : proxy->servers[i];
    return bytes_move(proxy, from, to, fate_of(mode, is_reply));
}

static void connections_run(struct proxy *proxy, const struct pollfd *polled, int mode)
{
    bool is_cut = atomic_load(&proxy->is_cut);
    for (int i = 0; i < PROXY_CONNECTIONS_MAX; i++) {
        bool is_alive = !is_cut;
        for (int d = 0; d < 2 && is_alive; d++) {
            bool is_ready = polled[2 * i + d].fd >= 0 && polled[2 * i + d].revents != 0;
            is_alive = !is_ready || direction_run(proxy, mode, i, d == 1);
        }
        if (!is_alive) {
            connection_close(proxy, i);
        }
    }
    if (is_cut) {
        atomic_store(&proxy->is_cut, false);
    }
}

static void proxy_run(void *context)
{
    struct proxy *proxy = context;
    while (!atomic_load(&proxy->is_ending)) {
        struct pollfd polled[1 + 2 * PROXY_CONNECTIONS_MAX] = {{.fd = proxy->listener, .events = POLLIN}};
        int mode = atomic_load(&proxy->mode);
        int64_t now_us = ab_time_monotonic_us();
        for (int i = 0; i < PROXY_CONNECTIONS_MAX; i++) {
            int client = is_held(proxy, mode, i, false, now_us) ? -1 : proxy->clients[i];
            int server = is_held(proxy, mode, i, true, now_us) ? -1 : proxy->servers[i];
            polled[1 + 2 * i] = (struct pollfd){.fd = client, .events = POLLIN};
            polled[2 + 2 * i] = (struct pollfd){.fd = server, .events = POLLIN};
        }
        (void)poll(polled, 1 + 2 * PROXY_CONNECTIONS_MAX, 5);
        if (atomic_load(&proxy->mode) == mode) {
            connections_run(proxy, polled + 1, mode);
        }
        if (polled[0].revents != 0) {
            connection_accept(proxy);
        }
    }
    for (int i = 0; i < PROXY_CONNECTIONS_MAX; i++) {
        connection_close(proxy, i);
    }
}

void proxy_start(struct proxy *proxy, uint16_t target)
{
    proxy_start_at(proxy, INADDR_LOOPBACK, target);
}

void proxy_start_at(struct proxy *proxy, uint32_t at, uint16_t target)
{
    *proxy =
        (struct proxy){.address = at, .target = target, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = address_of(proxy, 0);
    socklen_t bytes = sizeof address;
    for (int i = 0; i < PROXY_CONNECTIONS_MAX; i++) {
        proxy->clients[i] = -1;
    }
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(proxy->listener, 16), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&address, &bytes), 0);
    proxy->port = ntohs(address.sin_port);
    ab_random_init(&proxy->random, proxy->port);
    ab_thread_start(&proxy->thread, "proxy", proxy_run, proxy);
}

void proxy_stop(struct proxy *proxy)
{
    atomic_store(&proxy->is_ending, true);
    ab_thread_join(&proxy->thread);
    (void)close(proxy->listener);
}

void proxy_set(struct proxy *proxy, enum proxy_mode mode)
{
    atomic_store(&proxy->mode, (int)mode);
    ab_time_sleep_us(20 * AB_US_PER_MS); /* what was being moved has been */
}

void proxy_cut(struct proxy *proxy)
{
    atomic_store(&proxy->is_cut, true);
    while (atomic_load(&proxy->is_cut)) {
        ab_time_sleep_us(AB_US_PER_MS);
    }
}
