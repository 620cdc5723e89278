#include "common/log/index.h"

#include "common/base/memory.h"

#include <string.h>

enum { INDEX_CAPACITY_MIN = 64 };

void ab_log_index_fini(struct ab_log_index *index)
{
    ab_delete(index->marks);
    *index = (struct ab_log_index){0};
}

/* How many marks lie below an offset. */
static size_t marks_below(const struct ab_log_index *index, uint64_t offset)
{
    size_t low = 0;
    size_t high = index->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->marks[middle].offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void ab_log_index_note(struct ab_log_index *index, uint64_t offset, uint64_t position)
{
    uint64_t last = index->count == 0 ? 0 : index->marks[index->count - 1].position;
    last = position < last ? 0 : last; /* another segment has begun */
    if (position - last < AB_LOG_INDEX_STRIDE_BYTES) {
        return;
    }
    if (index->count == index->capacity) {
        size_t capacity = index->capacity == 0 ? INDEX_CAPACITY_MIN : 2 * index->capacity;
        index->marks = ab_renew_bytes(index->marks, capacity * sizeof(*index->marks));
        index->capacity = capacity;
    }
    index->marks[index->count++] = (struct ab_log_mark){.offset = offset, .position = position};
}

void ab_log_index_truncate(struct ab_log_index *index, uint64_t end_offset)
{
    index->count = marks_below(index, end_offset);
}

void ab_log_index_trim(struct ab_log_index *index, uint64_t start_offset)
{
    size_t dropped = marks_below(index, start_offset);
    if (dropped > 0) {
        index->count -= dropped;
        memmove(index->marks, index->marks + dropped, index->count * sizeof(*index->marks));
    }
}

struct ab_log_mark ab_log_index_find(const struct ab_log_index *index, uint64_t first_offset, uint64_t offset)
{
    size_t behind = offset == UINT64_MAX ? index->count : marks_below(index, offset + 1);
    if (behind == 0 || index->marks[behind - 1].offset < first_offset) {
        return (struct ab_log_mark){.offset = first_offset};
    }
    return index->marks[behind - 1];
}
