/* anabranch-speed --data DIR: the speed layer's daemon. */
#include "speed/daemon.h"
#include "common/base/logging.h"
#include "common/base/memory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "--data") != 0) {
        (void)fprintf(stderr, "usage: anabranch-speed --data DIR\n");
        return 2;
    }
    ab_memory_return_large_pieces();
    ab_logging_init("anabranch-speed", AB_LOG_INFO, STDERR_FILENO);
    struct ab_error error = {0};
    ab_err err = ab_speed_run(argv[2], &error);
    if (err != AB_OK) {
        ab_error_log("cannot go on", "%s: %s", ab_err_name(err), error.text);
        (void)fprintf(stderr, "anabranch-speed: %s\n", error.text);
        return 1;
    }
    return 0;
}
