#include "common/wire/wake.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

ab_err ab_wake_init(struct ab_wake *wake, struct ab_error *error)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        return ab_error_set(error, ab_err_from_errno(errno), "eventfd: %s", strerror(errno));
    }
    wake->fd = fd;
    wake->is_open = true;
    return AB_OK;
}

void ab_wake_fini(struct ab_wake *wake)
{
    if (wake->is_open) {
        close(wake->fd);
        wake->is_open = false;
    }
}

void ab_wake_ring(struct ab_wake *wake)
{
    const uint64_t one = 1;
    if (!atomic_exchange(&wake->is_rung, true)) {
        ssize_t written = write(wake->fd, &one, sizeof one);
        (void)written; /* an eventfd at its maximum is readable all the same */
    }
}

void ab_wake_clear(struct ab_wake *wake)
{
    uint64_t count;
    ssize_t bytes = read(wake->fd, &count, sizeof count);
    (void)bytes; /* only empties it */
    atomic_store(&wake->is_rung, false);
}
