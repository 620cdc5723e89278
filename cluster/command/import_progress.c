#include "cluster/command/import_progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void ab_number_format(uint64_t number, char text[32])
{
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *out = text;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) {
            *out++ = ',';
        }
        *out++ = digits[i];
    }
    *out = '\0';
}

void ab_import_progress_format(const struct ab_import_moment *moment, char *text, size_t room)
{
    char rows[32];
    char rate[32];
    double seconds = (double)moment->recent_us / 1e6;
    ab_number_format(moment->rows, rows);
    ab_number_format(seconds > 0 ? (uint64_t)((double)moment->recent_rows / seconds) : 0, rate);
    int used = snprintf(text, room, "%s rows, %s rows/s", rows, rate);
    if (moment->raw_bytes_total == 0 || used < 0 || (size_t)used >= room) {
        return;
    }
    uint64_t read = moment->raw_bytes < moment->raw_bytes_total ? moment->raw_bytes : moment->raw_bytes_total;
    double share = (double)read / (double)moment->raw_bytes_total;
    uint64_t left = share > 0 ? (uint64_t)((double)moment->elapsed_us / 1e6 * (1 - share) / share + 0.5) : 0;
    used += snprintf(text + used, room - (size_t)used, ", %d %%", (int)(share * 100));
    if (share > 0 && (size_t)used < room) {
        (void)snprintf(text + used, room - (size_t)used, ", %" PRIu64 ":%02" PRIu64 " left", left / 60, left % 60);
    }
}
