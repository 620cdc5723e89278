#include "common/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

#define CAPACITY_BYTES_FIRST 64

void ab_buffer_init(struct ab_buffer *buffer, struct ab_memory *memory, size_t bytes_max)
{
    *buffer = (struct ab_buffer){.memory = memory, .bytes_max = bytes_max};
}

void ab_buffer_fini(struct ab_buffer *buffer)
{
    ab_memory_free(buffer->memory, buffer->data, buffer->capacity);
    buffer->data = NULL;
    buffer->bytes = 0;
    buffer->capacity = 0;
    buffer->has_failed = false;
}

void ab_buffer_clear(struct ab_buffer *buffer)
{
    buffer->bytes = 0;
    buffer->has_failed = false;
}

/* Makes the capacity at least `needed`: doubled, or exact when the maximum or the budget refuses the double. */
static bool buffer_grow(struct ab_buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity < CAPACITY_BYTES_FIRST ? CAPACITY_BYTES_FIRST : buffer->capacity;
    while (capacity < needed) {
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    }
    if (buffer->bytes_max != 0 && capacity > buffer->bytes_max) {
        capacity = needed > buffer->bytes_max ? needed : buffer->bytes_max;
    }
    uint8_t *data = ab_memory_resize(buffer->memory, buffer->data, buffer->capacity, capacity);
    if (data == NULL && capacity > needed) {
        capacity = needed;
        data = ab_memory_resize(buffer->memory, buffer->data, buffer->capacity, capacity);
    }
    if (data == NULL) {
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *ab_buffer_extend(struct ab_buffer *buffer, size_t bytes)
{
    if (buffer->has_failed) {
        return NULL;
    }
    size_t limit = buffer->bytes_max == 0 ? SIZE_MAX / 2 : buffer->bytes_max;
    bool has_room = buffer->bytes <= limit && bytes <= limit - buffer->bytes;
    size_t needed = buffer->bytes + bytes;
    if (!has_room || ((needed > buffer->capacity || buffer->data == NULL) && !buffer_grow(buffer, needed))) {
        buffer->has_failed = true;
        return NULL;
    }
    uint8_t *at = buffer->data + buffer->bytes;
    buffer->bytes = needed;
    return at;
}

void ab_buffer_put(struct ab_buffer *buffer, const void *data, size_t bytes)
{
    uint8_t *at = bytes == 0 ? NULL : ab_buffer_extend(buffer, bytes);
    if (at != NULL) {
        memcpy(at, data, bytes);
    }
}

void ab_buffer_put_bytes(struct ab_buffer *buffer, struct ab_bytes bytes)
{
    ab_buffer_put(buffer, bytes.data, bytes.bytes);
}

static void put_number(struct ab_buffer *buffer, uint64_t value, size_t bytes)
{
    uint8_t *at = ab_buffer_extend(buffer, bytes);
    for (size_t i = 0; at != NULL && i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

void ab_buffer_put_u8(struct ab_buffer *buffer, uint8_t value)
{
    put_number(buffer, value, 1);
}

void ab_buffer_put_u16(struct ab_buffer *buffer, uint16_t value)
{
    put_number(buffer, value, 2);
}

void ab_buffer_put_u32(struct ab_buffer *buffer, uint32_t value)
{
    put_number(buffer, value, 4);
}

void ab_buffer_put_u64(struct ab_buffer *buffer, uint64_t value)
{
    put_number(buffer, value, 8);
}

void ab_buffer_put_varint(struct ab_buffer *buffer, uint64_t value)
{
    uint8_t text[10];
    size_t bytes = 0;
    while (value >= 0x80) {
        text[bytes++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    text[bytes++] = (uint8_t)value;
    ab_buffer_put(buffer, text, bytes);
}

void ab_buffer_put_blob(struct ab_buffer *buffer, struct ab_bytes bytes)
{
    ab_buffer_put_varint(buffer, bytes.bytes);
    ab_buffer_put_bytes(buffer, bytes);
}

/* Makes room for one byte past the end, which does not count: the NUL of text. */
static bool buffer_reserve_nul(struct ab_buffer *buffer)
{
    return buffer->bytes < buffer->capacity || buffer_grow(buffer, buffer->bytes + 1);
}

void ab_buffer_put_format(struct ab_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    uint8_t *at = length > 0 ? ab_buffer_extend(buffer, (size_t)length) : NULL;
    if (at != NULL) {
        if (buffer_reserve_nul(buffer)) {
            at = buffer->data + buffer->bytes - (size_t)length;
            vsnprintf((char *)at, (size_t)length + 1, format, again);
        } else {
            buffer->has_failed = true;
        }
    }
    va_end(again);
}

const char *ab_buffer_text(struct ab_buffer *buffer)
{
    if (buffer->has_failed || !buffer_reserve_nul(buffer)) {
        return "";
    }
    buffer->data[buffer->bytes] = 0;
    return (const char *)buffer->data;
}

ab_err ab_buffer_finish(const struct ab_buffer *buffer)
{
    return buffer->has_failed ? AB_FULL : AB_OK;
}

void ab_buffer_put_as_hex(struct ab_buffer *buffer, struct ab_bytes bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.bytes; i++) {
        ab_buffer_put_u8(buffer, (uint8_t)digits[bytes.data[i] >> 4]);
        ab_buffer_put_u8(buffer, (uint8_t)digits[bytes.data[i] & 15]);
    }
}

static int hex_digit(uint8_t character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    uint8_t lower = character | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

ab_err ab_buffer_put_from_hex(struct ab_buffer *buffer, struct ab_bytes text)
{
    if (text.bytes % 2 != 0) {
        return AB_INVALID;
    }
    for (size_t i = 0; i < text.bytes; i += 2) {
        int high = hex_digit(text.data[i]);
        int low = hex_digit(text.data[i + 1]);
        if (high < 0 || low < 0) {
            return AB_INVALID;
        }
        ab_buffer_put_u8(buffer, (uint8_t)(high << 4 | low));
    }
    return AB_OK;
}
