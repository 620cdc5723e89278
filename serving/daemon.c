#include "serving/daemon.h"

#include "serving/service.h"

#include "common/base/logging.h"

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Blocks the signals that end a daemon in every thread and waits for one of them. */
static int signals_block(void)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* the controller supervises: no serving without it */
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

static void signals_wait(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    while (poll(&poll_fd, 1, -1) <= 0) {
    }
}

static int usage(FILE *out, int status)
{
    fprintf(out, "usage: anabranch-serving --data DIR\n\n"
                 "The serving layer of a cluster: answers queries over ZeroMQ. Started and supervised by "
                 "anabranch-controller.\n\n"
                 "  --data DIR   the cluster's directory\n"
                 "  --help       this text\n"
                 "  --version    the version\n");
    return status;
}

int ab_serving_run(int argc, char **argv)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'}, {0}};
    const char *directory = NULL;
    for (int option = 0; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'd':
            directory = optarg;
            break;
        case 'h':
            return usage(stdout, 0);
        case 'v':
            printf("anabranch-serving %s\n", AB_VERSION);
            return 0;
        default:
            return usage(stderr, 2);
        }
    }
    if (directory == NULL || optind != argc) {
        return usage(stderr, 2);
    }
    ab_logging_init("anabranch-serving", AB_LOG_INFO, STDERR_FILENO);
    int signals = signals_block();
    struct ab_node node = {0};
    struct ab_service *service = NULL;
    struct ab_error error = {0};
    struct ab_node_options node_options = {
        .directory = directory, .role = "node", .name = "anabranch-serving", .is_server = true};
    ab_err err = ab_node_open(&node_options, &node, &error);
    if (err == AB_OK) {
        err = ab_service_open(&node, &service, &error);
    }
    if (err == AB_OK) {
        ab_info("serving", "%s", ab_service_address(service));
        signals_wait(signals);
        ab_info("stopping", "asked to");
    } else {
        ab_error_log("cannot start", "%s", error.text);
    }
    ab_service_close(service);
    ab_node_close(&node);
    (void)close(signals);
    return err == AB_OK ? 0 : 1;
}
