/* wires: TCP proxies between the nodes of a cluster and to its ZooKeeper, which a test makes faulty.
 *
 *   wires ADDRESS:PORT ...
 *
 * prints a line "PORT", for each of them, where connections to it can be made instead, at the same address. Commands
 * on the standard input, until it ends; each is answered with "done":
 *
 *   MODE INDEX MS     MODE: forward, hold, drop-replies, drop-requests, hold-replies, delay (at most MS), corrupt
 *   cut INDEX 0       the connections of now are closed
 *   refuse INDEX 0    and new ones, until `accept INDEX 0`
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/test.h"

#include "tests/support/proxy.h"

enum { WIRES_MAX = 32 };

static const char *const modes[] = {
    [PROXY_FORWARD] = "forward",
    [PROXY_HOLD] = "hold",
    [PROXY_DROP_REPLIES] = "drop-replies",
    [PROXY_DROP_REQUESTS] = "drop-requests",
    [PROXY_HOLD_REPLIES] = "hold-replies",
    [PROXY_DELAY] = "delay",
    [PROXY_CORRUPT] = "corrupt",
};

static bool wire_start(struct proxy *wire, const char *target)
{
    char address[64];
    unsigned port = 0;
    struct in_addr at;
    if (sscanf(target, "%63[0-9.]:%u", address, &port) != 2 || port > UINT16_MAX ||
        inet_pton(AF_INET, address, &at) != 1) {
        fprintf(stderr, "wires: %s is not ADDRESS:PORT\n", target);
        return false;
    }
    proxy_start_at(wire, ntohl(at.s_addr), (uint16_t)port);
    printf("%u\n", wire->port);
    return true;
}

static bool command_run(struct proxy *wire, const char *word, int ms)
{
    if (strcmp(word, "cut") == 0) {
        proxy_cut(wire);
        return true;
    }
    if (strcmp(word, "refuse") == 0 || strcmp(word, "accept") == 0) {
        atomic_store(&wire->is_closed, word[0] == 'r');
        return true;
    }
    for (size_t mode = 0; mode < sizeof modes / sizeof modes[0]; mode++) {
        if (strcmp(word, modes[mode]) == 0) {
            atomic_store(&wire->delay_ms, ms);
            proxy_set(wire, (enum proxy_mode)mode);
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    static struct proxy wires[WIRES_MAX];
    char word[32];
    int index = 0;
    int ms = 0;
    int count = argc - 1;
    if (count < 1 || count > WIRES_MAX) {
        fprintf(stderr, "usage: wires ADDRESS:PORT ... (at most %d)\n", WIRES_MAX);
        return 2;
    }
    for (int i = 0; i < count; i++) {
        if (!wire_start(&wires[i], argv[1 + i])) {
            return 2;
        }
    }
    (void)fflush(stdout);
    while (scanf("%31s %d %d", word, &index, &ms) == 3) {
        if (index < 0 || index >= count || !command_run(&wires[index], word, ms)) {
            fprintf(stderr, "wires: %s %d %d is no command\n", word, index, ms);
            return EXIT_FAILURE;
        }
        printf("done\n");
        (void)fflush(stdout);
    }
    for (int i = 0; i < count; i++) {
        proxy_stop(&wires[i]);
    }
    return EXIT_SUCCESS;
}
