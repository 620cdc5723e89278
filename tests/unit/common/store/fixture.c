#include "tests/unit/common/store/fixture.h"

#include "common/base/file.h"
#include "common/store/operand_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct ab_bytes offset_key = {.data = (const uint8_t *)"\0offset", .bytes = 7};

static ab_err number_add(struct ab_bytes bytes, uint64_t *sum)
{
    struct ab_reader reader = ab_reader_of(bytes);
    *sum += ab_reader_u64(&reader);
    return ab_reader_finish(&reader);
}

ab_err fixture_merge(struct ab_bytes existing, const struct ab_bytes *operands, size_t operands_count,
    struct ab_buffer *out, void *context)
{
    (void)context;
    uint64_t sum = 0;
    if (existing.data != NULL) {
        AB_TRY(number_add(existing, &sum));
    }
    for (size_t i = 0; i < operands_count; i++) {
        AB_TRY(number_add(operands[i], &sum));
    }
    ab_buffer_put_u64(out, sum);
    return AB_OK;
}

ab_err fixture_try_open(const char *directory, struct ab_store_cache *cache, struct ab_partition_state **state)
{
    struct ab_partition_state_options options = {.cache = cache, .merge = fixture_merge};
    struct ab_error error = {0};
    ab_err err = ab_partition_state_open(directory, &options, state, &error);
    if (err != AB_OK) {
        print_message("%s\n", error.text);
    }
    return err;
}

struct ab_partition_state *fixture_open(const char *directory, struct ab_store_cache *cache)
{
    struct ab_partition_state *state = NULL;
    assert_int_equal(fixture_try_open(directory, cache, &state), AB_OK);
    return state;
}

struct ab_bytes fixture_key(uint64_t key, uint8_t bytes[9])
{
    bytes[0] = 1;
    for (int i = 0; i < 8; i++) {
        bytes[1 + i] = (uint8_t)(key >> (56 - 8 * i));
    }
    return ab_bytes_of(bytes, 9);
}

static struct ab_bytes number_bytes(struct ab_buffer *buffer, uint64_t number)
{
    ab_buffer_clear(buffer);
    ab_buffer_put_u64(buffer, number);
    return ab_buffer_view(buffer);
}

ab_err fixture_flush(struct ab_partition_state *state, uint64_t span, uint64_t offset, uint64_t first, uint64_t count)
{
    char *path = ab_partition_state_stage(state);
    struct ab_operand_file *file = NULL;
    struct ab_buffer number = {0};
    uint64_t bytes = 0;
    uint8_t key[9];
    assert_int_equal(ab_operand_file_create(path, &file, NULL), AB_OK);
    assert_int_equal(ab_operand_file_put(file, offset_key, number_bytes(&number, offset)), AB_OK);
    for (uint64_t k = first; k < first + count; k++) {
        assert_int_equal(ab_operand_file_merge(file, fixture_key(k, key), number_bytes(&number, k + offset)), AB_OK);
    }
    assert_int_equal(ab_operand_file_finish(file, &bytes, NULL), AB_OK);
    assert_true(bytes > 0);
    ab_err err = ab_partition_state_ingest(state, span, path, NULL);
    ab_buffer_fini(&number);
    ab_delete(path);
    return err;
}

static ab_err number_get(struct ab_partition_state *state, uint64_t span, struct ab_bytes key, uint64_t *number)
{
    struct ab_buffer out = {0};
    struct ab_error error = {0};
    ab_err err = ab_partition_state_get(state, span, key, &out, &error);
    if (err == AB_OK) {
        *number = 0;
        assert_int_equal(number_add(ab_buffer_view(&out), number), AB_OK);
    } else if (err != AB_NOT_FOUND) {
        print_message("%s\n", error.text);
    }
    ab_buffer_fini(&out);
    return err;
}

uint64_t fixture_number(struct ab_partition_state *state, uint64_t span, uint64_t key)
{
    uint8_t bytes[9];
    uint64_t number = 0;
    assert_int_equal(number_get(state, span, fixture_key(key, bytes), &number), AB_OK);
    return number;
}

uint64_t fixture_offset(struct ab_partition_state *state, uint64_t span)
{
    uint64_t number = 0;
    ab_err err = number_get(state, span, offset_key, &number);
    assert_true(err == AB_OK || err == AB_NOT_FOUND);
    return number;
}
