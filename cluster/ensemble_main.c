/* anabranch-zookeeper --data DIR: keeps the ZooKeeper servers of a cluster's directory running, until SIGTERM.
 * `anabranch up` starts it. */
#include "cluster/ensemble.h"

#include "common/base/logging.h"

#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("anabranch-zookeeper %s\n", AB_VERSION);
        return 0;
    }
    if (argc != 3 || strcmp(argv[1], "--data") != 0) {
        (void)fprintf(stderr, "usage: anabranch-zookeeper --data DIR\n");
        return 2;
    }
    ab_logging_init("anabranch-zookeeper", AB_LOG_INFO, STDERR_FILENO);
    struct ab_ensemble ensemble;
    struct ab_error error = {0};
    ab_err err = ab_ensemble_open(argv[2], &ensemble, &error);
    if (err == AB_OK) {
        err = ab_ensemble_run(&ensemble, &error);
    }
    ab_ensemble_close(&ensemble);
    if (err != AB_OK) {
        ab_error_log("ZooKeeper is not kept running", "%s", error.text);
    }
    return err == AB_OK ? 0 : 1;
}
