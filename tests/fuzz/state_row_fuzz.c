/* Encoded rows of states: whatever is accepted has one form, merges with itself, and never crashes or grows out of
 * bounds. */
#include "common/aggregate/state_row.h"
#include "common/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ab_bytes row = ab_bytes_of(data, bytes);
    struct ab_buffer once = {0};
    struct ab_buffer twice = {0};
    struct ab_buffer left = {0};
    ab_err err = ab_state_row_validate(row);
    AB_ASSERT(ab_state_row_merge((struct ab_bytes){0}, &row, 1, &once, NULL) == err);
    if (err == AB_OK) {
        struct ab_bytes three[] = {row, row, row};
        struct ab_digest digest = {0};
        AB_ASSERT(ab_bytes_equal(ab_buffer_view(&once), row));
        AB_ASSERT(ab_state_row_merge((struct ab_bytes){0}, three, 3, &twice, NULL) == AB_OK);
        AB_ASSERT(ab_state_row_merge(row, three, 1, &left, NULL) == AB_OK);
        ab_buffer_clear(&once);
        if (ab_state_row_validate(ab_buffer_view(&left)) == AB_OK) {
            AB_ASSERT(ab_state_row_merge(ab_buffer_view(&left), three, 1, &once, NULL) == AB_OK);
            AB_ASSERT(ab_bytes_equal(ab_buffer_view(&once), ab_buffer_view(&twice)));
        }
        AB_ASSERT(ab_digest_add(&digest, ab_bytes_of("0123456789ab", 12), row) == AB_OK);
    }
    ab_buffer_clear(&once);
    ab_state_row_print(row, &once);
    ab_buffer_fini(&once);
    ab_buffer_fini(&twice);
    ab_buffer_fini(&left);
    return 0;
}
