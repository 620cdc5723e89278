#include "common/log/recent.h"

#include "common/log/log_private.h"

static void marks_fini(struct ab_recent_marks *marks)
{
    ab_delete(marks->items);
    *marks = (struct ab_recent_marks){0};
}

static struct ab_recent_group *group_at(struct ab_recent *recent, size_t index)
{
    return &recent->groups[(recent->first + index) % AB_RECENT_GROUPS_MAX];
}

static void oldest_drop(struct ab_recent *recent)
{
    struct ab_recent_group *oldest = group_at(recent, 0);
    recent->bytes -= oldest->bytes.capacity;
    ab_buffer_fini(&oldest->bytes);
    marks_fini(&oldest->marks);
    recent->first = (recent->first + 1) % AB_RECENT_GROUPS_MAX;
    recent->count--;
}

void ab_recent_clear(struct ab_recent *recent)
{
    while (recent->count > 0) {
        oldest_drop(recent);
    }
}

void ab_recent_fini(struct ab_recent *recent)
{
    ab_recent_clear(recent);
    marks_fini(&recent->staged);
    recent->bytes_max = 0;
}

void ab_recent_note(struct ab_recent *recent, size_t at, struct ab_hash128 chain)
{
    struct ab_recent_marks *marks = &recent->staged;
    if (recent->bytes_max == 0) {
        return;
    }
    if (marks->count == marks->capacity) {
        marks->capacity = marks->capacity == 0 ? 16 : 2 * marks->capacity;
        marks->items = ab_renew_bytes(marks->items, marks->capacity * sizeof *marks->items);
    }
    marks->items[marks->count++] = (struct ab_recent_mark){.at = at, .chain = chain};
}

void ab_recent_forget_staged(struct ab_recent *recent, size_t count)
{
    recent->staged.count = count < recent->staged.count ? count : recent->staged.count;
}

/* Makes room for a group; the oldest one's memory is kept for the next when there is enough of it. */
static void room_make(struct ab_recent *recent, size_t bytes, struct ab_recent_group *spare)
{
    while (recent->count > 0 && (recent->count == AB_RECENT_GROUPS_MAX || recent->bytes + bytes > recent->bytes_max)) {
        struct ab_recent_group *oldest = group_at(recent, 0);
        if (oldest->bytes.capacity > spare->bytes.capacity) {
            struct ab_recent_group larger = *oldest;
            recent->bytes -= larger.bytes.capacity;
            *oldest = *spare;
            recent->bytes += oldest->bytes.capacity;
            *spare = larger;
        }
        oldest_drop(recent);
    }
}

void ab_recent_take(struct ab_recent *recent, uint64_t first_offset, struct ab_buffer *staging)
{
    if (staging->capacity > recent->bytes_max) {
        ab_recent_clear(recent); /* what is kept ends where the log does */
        recent->staged.count = 0;
        ab_buffer_clear(staging);
        return;
    }
    struct ab_recent_group spare = {0};
    ab_buffer_init(&spare.bytes, staging->memory, staging->bytes_max);
    room_make(recent, staging->capacity, &spare);
    *group_at(recent, recent->count++) =
        (struct ab_recent_group){.first_offset = first_offset, .bytes = *staging, .marks = recent->staged};
    recent->bytes += staging->capacity;
    ab_buffer_clear(&spare.bytes);
    spare.marks.count = 0;
    *staging = spare.bytes;
    recent->staged = spare.marks;
}

const struct ab_recent_group *ab_recent_find(const struct ab_recent *recent, uint64_t offset)
{
    for (size_t i = recent->count; i > 0; i--) {
        const struct ab_recent_group *group = &recent->groups[(recent->first + i - 1) % AB_RECENT_GROUPS_MAX];
        if (group->first_offset <= offset) {
            return offset - group->first_offset < group->marks.count ? group : NULL;
        }
    }
    return NULL;
}

/* ---- of a log ---- */

static struct ab_bytes group_from(const struct ab_recent_group *group, size_t index)
{
    size_t at = group->marks.items[index].at;
    return ab_bytes_of(group->bytes.data + at, group->bytes.bytes - at);
}

ab_err ab_log_recent(
    const struct ab_log *log, uint64_t offset, size_t bytes_max, struct ab_bytes *records, uint64_t *end_offset)
{
    const struct ab_recent_group *group = ab_recent_find(&log->recent, offset);
    if (group == NULL) {
        return AB_NOT_FOUND;
    }
    size_t first = (size_t)(offset - group->first_offset);
    size_t behind = first + 1;
    struct ab_bytes found = group_from(group, first);
    while (behind < group->marks.count && group->marks.items[behind].at - group->marks.items[first].at < bytes_max) {
        behind++;
    }
    if (behind < group->marks.count) {
        found.bytes = group->marks.items[behind].at - group->marks.items[first].at;
    }
    *records = found;
    *end_offset = group->first_offset + behind;
    return AB_OK;
}

ab_err ab_log_recent_record(const struct ab_log *log, uint64_t offset, struct ab_record *record)
{
    const struct ab_recent_group *group = ab_recent_find(&log->recent, offset);
    if (group == NULL) {
        return AB_NOT_FOUND;
    }
    size_t index = (size_t)(offset - group->first_offset);
    return ab_record_view(group_from(group, index), group->marks.items[index].chain, record);
}
