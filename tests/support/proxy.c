#include "tests/support/proxy.h"

#include "common/base/time.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
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
    struct sockaddr_in address = loopback(proxy->target);
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
}

/* Moves what has come from one side to the other, or loses it; false when the connection is over. */
static bool bytes_move(int from, int to, bool is_lost)
{
    char bytes[65536];
    ssize_t got = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    for (ssize_t sent = 0; !is_lost && sent < got;) {
        ssize_t more = send(to, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (more <= 0) {
            return false;
        }
        sent += more;
    }
    return got > 0;
}

static void proxy_run(void *context)
{
    struct proxy *proxy = context;
    while (!atomic_load(&proxy->is_ending)) {
        struct pollfd polled[1 + 2 * PROXY_CONNECTIONS_MAX] = {{.fd = proxy->listener, .events = POLLIN}};
        int mode = atomic_load(&proxy->mode);
        for (int i = 0; i < PROXY_CONNECTIONS_MAX; i++) {
            bool is_read = proxy->clients[i] >= 0 && mode != PROXY_HOLD;
            polled[1 + 2 * i] = (struct pollfd){.fd = is_read ? proxy->clients[i] : -1, .events = POLLIN};
            polled[2 + 2 * i] = (struct pollfd){.fd = is_read ? proxy->servers[i] : -1, .events = POLLIN};
        }
        (void)poll(polled, 1 + 2 * PROXY_CONNECTIONS_MAX, 5);
        bool is_cut = atomic_load(&proxy->is_cut);
        mode = atomic_load(&proxy->mode);
        for (int i = 0; i < PROXY_CONNECTIONS_MAX; i++) {
            bool is_alive = !is_cut;
            if (is_alive && mode != PROXY_HOLD && polled[1 + 2 * i].revents != 0) {
                is_alive = bytes_move(proxy->clients[i], proxy->servers[i], false);
            }
            if (is_alive && mode != PROXY_HOLD && polled[2 + 2 * i].revents != 0) {
                is_alive = bytes_move(proxy->servers[i], proxy->clients[i], mode == PROXY_DROP_REPLIES);
            }
            if (!is_alive) {
                connection_close(proxy, i);
            }
        }
        if (is_cut) {
            atomic_store(&proxy->is_cut, false);
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
    struct sockaddr_in address = loopback(0);
    socklen_t bytes = sizeof address;
    *proxy = (struct proxy){.target = target, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    for (int i = 0; i < PROXY_CONNECTIONS_MAX; i++) {
        proxy->clients[i] = -1;
    }
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(proxy->listener, 16), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&address, &bytes), 0);
    proxy->port = ntohs(address.sin_port);
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
