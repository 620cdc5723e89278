#ifndef ANABRANCH_COMMON_LOG_EPOCHS_H
#define ANABRANCH_COMMON_LOG_EPOCHS_H
#include <stdint.h>
struct ab_log_epoch {
    uint64_t epoch;
    uint64_t offset;
};
#endif
