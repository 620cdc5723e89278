/* anabranch-controller --data DIR: runs in the foreground until SIGTERM or VERB_SHUTDOWN. `anabranch up` starts it. */
#include "cluster/controller/controller.h"

#include "common/base/logging.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *directory = getenv("ANABRANCH_DATA");
    if (argc == 3 && strcmp(argv[1], "--data") == 0) {
        directory = argv[2];
    } else if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("anabranch-controller %s\n", AB_VERSION);
        return 0;
    } else if (argc != 1) {
        directory = NULL;
    }
    if (directory == NULL) {
        (void)fprintf(stderr, "usage: anabranch-controller --data DIR\n");
        return 2;
    }
    if (getenv("ANABRANCH_FOREGROUND") != NULL) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* of `anabranch up --foreground`: ends with it */
    }
    ab_logging_init("anabranch-controller", AB_LOG_INFO, STDERR_FILENO);
    struct ab_controller controller;
    struct ab_error error = {0};
    ab_err err = ab_controller_open(directory, &controller, &error);
    if (err == AB_OK) {
        err = ab_controller_run(&controller, &error);
    }
    ab_controller_close(&controller);
    if (err != AB_OK) {
        ab_error_log("controller failed", "%s", error.text);
    }
    return err == AB_OK ? 0 : 1;
}
