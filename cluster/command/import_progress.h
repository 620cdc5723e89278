/* import_progress: how far an import is, in words. Pure. */
#ifndef ANABRANCH_CLUSTER_COMMAND_IMPORT_PROGRESS_H
#define ANABRANCH_CLUSTER_COMMAND_IMPORT_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

/* What is known at a moment. */
struct ab_import_moment {
    uint64_t rows;
    uint64_t raw_bytes;       /* read of the input */
    uint64_t raw_bytes_total; /* 0 = not known (a pipe) */
    int64_t elapsed_us;       /* since the start */
    uint64_t recent_rows;     /* within recent_us, for the rate */
    int64_t recent_us;
};

/* Writes "1,234,567 rows, 412,000 rows/s, 37 %, 0:12 left"; the last two only when the size of the input is known. */
void ab_import_progress_format(const struct ab_import_moment *moment, char *text, size_t room);

/* Writes a number with commas between thousands. */
void ab_number_format(uint64_t number, char text[32]);

#endif
