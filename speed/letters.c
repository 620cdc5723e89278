#include "speed/letters.h"

#include "speed/limits.h"

#include <inttypes.h>
#include <stdlib.h>

struct ab_held_letter {
    struct ab_letter_place place;
    uint8_t *text; /* owned, charged */
    size_t bytes;
};

/* < 0 when a is older. */
static int place_compare(const struct ab_letter_place *a, const struct ab_letter_place *b)
{
    if (a->time_us != b->time_us) {
        return a->time_us < b->time_us ? -1 : 1;
    }
    if (a->partition != b->partition) {
        return a->partition < b->partition ? -1 : 1;
    }
    if (a->offset != b->offset) {
        return a->offset < b->offset ? -1 : 1;
    }
    return (a->row > b->row) - (a->row < b->row);
}

static int newest_first(const void *left, const void *right)
{
    const struct ab_held_letter *a = left;
    const struct ab_held_letter *b = right;
    return place_compare(&b->place, &a->place);
}

void ab_letters_init(struct ab_letters *letters, size_t limit, struct ab_memory *memory)
{
    *letters = (struct ab_letters){.memory = memory, .limit = limit};
    letters->top = ab_new_array(struct ab_held_letter, limit + 1);
}

void ab_letters_fini(struct ab_letters *letters)
{
    for (size_t i = 0; i < letters->count; i++) {
        ab_memory_free(letters->memory, letters->top[i].text, letters->top[i].bytes);
    }
    ab_delete(letters->top);
    *letters = (struct ab_letters){0};
}

bool ab_letters_wants(const struct ab_letters *letters, const struct ab_letter_place *place)
{
    if (letters->has_gone && place_compare(place, &letters->newest_gone) < 0) {
        return false;
    }
    return letters->count < letters->limit || place_compare(place, &letters->top[0].place) > 0;
}

static void swap(struct ab_held_letter *a, struct ab_held_letter *b)
{
    struct ab_held_letter held = *a;
    *a = *b;
    *b = held;
}

static void heap_rise(struct ab_held_letter *heap, size_t at)
{
    for (; at > 0 && place_compare(&heap[at].place, &heap[(at - 1) / 2].place) < 0; at = (at - 1) / 2) {
        swap(&heap[at], &heap[(at - 1) / 2]);
    }
}

static void heap_sink(struct ab_held_letter *heap, size_t count)
{
    for (size_t at = 0, child = 1; child < count; child = 2 * at + 1) {
        child += child + 1 < count && place_compare(&heap[child + 1].place, &heap[child].place) < 0;
        if (place_compare(&heap[at].place, &heap[child].place) <= 0) {
            return;
        }
        swap(&heap[at], &heap[child]);
        at = child;
    }
}

static void oldest_remove(struct ab_letters *letters)
{
    struct ab_held_letter *oldest = &letters->top[0];
    letters->has_gone = true;
    letters->newest_gone = oldest->place;
    letters->bytes -= oldest->bytes;
    ab_memory_free(letters->memory, oldest->text, oldest->bytes);
    *oldest = letters->top[--letters->count];
    heap_sink(letters->top, letters->count);
}

static struct ab_json *text_or_null(struct ab_bytes text)
{
    return text.bytes == 0 ? ab_json_null() : ab_json_text_of(text);
}

/* Takes `values`. */
static void letter_write(const struct ab_letter *letter, struct ab_json *values, struct ab_buffer *out)
{
    char time[AB_TIME_TEXT_BYTES];
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "time", ab_json_text(ab_time_format(letter->place.time_us, time)));
    ab_json_set(json, "stream", ab_json_text_of(letter->stream));
    ab_json_set(json, "partition", ab_json_integer(letter->place.partition));
    ab_json_set(json, "offset", ab_json_integer((int64_t)letter->place.offset));
    ab_json_set(json, "row", ab_json_integer(letter->place.row));
    ab_json_set(json, "source", text_or_null(letter->source));
    ab_json_set(json, "line", letter->has_line ? ab_json_integer(letter->line) : ab_json_null());
    ab_json_set(json, "reason", ab_json_text_of(letter->reason));
    ab_json_set(json, values == NULL ? "raw" : "values", values == NULL ? ab_json_text_of(letter->raw) : values);
    ab_json_write(json, 0, out);
    ab_json_destroy(json);
}

ab_err ab_letters_add(struct ab_letters *letters, const struct ab_letter *letter, struct ab_json *values)
{
    if (!ab_letters_wants(letters, &letter->place)) {
        ab_json_destroy(values);
        return AB_OK;
    }
    struct ab_buffer text = {0};
    letter_write(letter, values, &text);
    struct ab_held_letter held = {.place = letter->place, .bytes = text.bytes};
    held.text = ab_memory_alloc(letters->memory, text.bytes);
    if (held.text != NULL) {
        memcpy(held.text, text.data, text.bytes);
    }
    ab_buffer_fini(&text);
    if (held.text == NULL) {
        return AB_FULL;
    }
    letters->bytes += held.bytes;
    letters->top[letters->count++] = held;
    heap_rise(letters->top, letters->count - 1);
    while (letters->count > letters->limit || (letters->count > 1 && letters->bytes > AB_DEAD_LETTERS_BYTES_MAX)) {
        oldest_remove(letters);
    }
    return AB_OK;
}

void ab_letters_write(struct ab_letters *letters, struct ab_buffer *out)
{
    qsort(letters->top, letters->count, sizeof letters->top[0], newest_first);
    ab_buffer_put_format(out, "{\"rows\":[");
    for (size_t i = 0; i < letters->count; i++) {
        ab_buffer_put_format(out, i == 0 ? "" : ",");
        ab_buffer_put(out, letters->top[i].text, letters->top[i].bytes);
    }
    ab_buffer_put_format(out, "],\"total\":%" PRIu64 "}", letters->total);
}
