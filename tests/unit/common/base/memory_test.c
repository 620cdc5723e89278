#include "common/base/memory.h"

#include "tests/support/test.h"

static void test_memory_reserve_counts_in_parents_and_undoes(void **state)
{
    (void)state;
    struct ab_memory parent;
    struct ab_memory child;
    ab_memory_init(&parent, 100, NULL);
    ab_memory_init(&child, 0, &parent);
    assert_true(ab_memory_reserve(&child, 60));
    assert_int_equal(ab_memory_used(&parent), 60);
    assert_false(ab_memory_reserve(&child, 41));
    assert_int_equal(ab_memory_used(&child), 60);
    assert_int_equal(ab_memory_used(&parent), 60);
    assert_true(ab_memory_reserve(&child, 40));
    assert_false(ab_memory_reserve(&child, SIZE_MAX));
    ab_memory_uncharge(&child, 100);
    assert_int_equal(ab_memory_used(&parent), 0);
}

static void test_memory_charge_passes_the_limit_and_shows(void **state)
{
    (void)state;
    struct ab_memory parent;
    struct ab_memory child;
    ab_memory_init(&parent, 10, NULL);
    ab_memory_init(&child, 0, &parent);
    assert_false(ab_memory_is_over(&child));
    ab_memory_charge(&child, 11);
    assert_true(ab_memory_is_over(&child));
    assert_false(ab_memory_reserve(&child, 1));
    ab_memory_uncharge(&child, 11);
    assert_false(ab_memory_is_over(&child));
}

static void test_memory_alloc_is_zeroed_and_refused(void **state)
{
    (void)state;
    struct ab_memory memory;
    ab_memory_init(&memory, 64, NULL);
    uint8_t *block = ab_memory_alloc(&memory, 64);
    assert_non_null(block);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(block[i], 0);
    }
    assert_int_equal((uintptr_t)block % 16, 0);
    assert_null(ab_memory_alloc(&memory, 1));
    uint8_t *past = ab_memory_alloc_total(&memory, 1000);
    assert_non_null(past);
    assert_int_equal(past[999], 0);
    assert_true(ab_memory_is_over(&memory));
    ab_memory_free(&memory, past, 1000);
    ab_memory_free(&memory, block, 64);
    ab_memory_free(&memory, NULL, 64);
    assert_int_equal(ab_memory_used(&memory), 0);
}

static void test_memory_resize_keeps_the_block_when_refused(void **state)
{
    (void)state;
    struct ab_memory memory;
    ab_memory_init(&memory, 100, NULL);
    char *block = ab_memory_alloc(&memory, 10);
    memcpy(block, "123456789", 10);
    assert_null(ab_memory_resize(&memory, block, 10, 101));
    assert_string_equal(block, "123456789");
    block = ab_memory_resize(&memory, block, 10, 100);
    assert_string_equal(block, "123456789");
    assert_int_equal(ab_memory_used(&memory), 100);
    block = ab_memory_resize(&memory, block, 100, 5);
    assert_int_equal(ab_memory_used(&memory), 5);
    ab_memory_free(&memory, block, 5);
    void *fresh = ab_memory_resize(NULL, NULL, 0, 8);
    assert_non_null(fresh);
    ab_memory_free(NULL, fresh, 8);
}

static void test_new_texts(void **state)
{
    (void)state;
    char *text = ab_new_text("abc");
    char *part = ab_new_text_of(ab_bytes_of("abc", 2));
    char *empty = ab_new_text_of(ab_bytes_of(NULL, 0));
    char *format = ab_new_format("%d-%s", 7, text);
    assert_string_equal(text, "abc");
    assert_string_equal(part, "ab");
    assert_string_equal(empty, "");
    assert_string_equal(format, "7-abc");
    uint64_t *numbers = ab_new_array(uint64_t, 4);
    assert_int_equal(numbers[3], 0);
    ab_delete(numbers);
    ab_delete(format);
    ab_delete(empty);
    ab_delete(part);
    ab_delete(text);
    ab_delete(NULL);
}

static void test_arena_hands_out_aligned_memory_and_resets(void **state)
{
    (void)state;
    struct ab_memory memory;
    struct ab_arena arena;
    ab_memory_init(&memory, 0, NULL);
    ab_arena_init(&arena, &memory, 256);
    for (size_t i = 0; i < 1000; i++) {
        uint8_t *block = ab_arena_zalloc(&arena, i % 37);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        if (i % 37 > 0) {
            assert_int_equal(block[i % 37 - 1], 0);
            memset(block, 0xff, i % 37);
        }
    }
    size_t before = ab_memory_used(&memory);
    assert_true(arena.used_bytes > 0 && before >= arena.used_bytes);
    ab_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_true(ab_memory_used(&memory) > 0 && ab_memory_used(&memory) < before);
    assert_non_null(ab_arena_alloc(&arena, 100000));
    ab_arena_fini(&arena);
    ab_arena_fini(&arena);
    assert_int_equal(ab_memory_used(&memory), 0);
}

static void test_arena_refuses_past_the_budget(void **state)
{
    (void)state;
    struct ab_memory memory;
    struct ab_arena arena;
    ab_memory_init(&memory, 4096, NULL);
    ab_arena_init(&arena, &memory, 0);
    assert_non_null(ab_arena_alloc(&arena, 100)); /* a chunk of the usual size is refused, a small one is not */
    assert_null(ab_arena_alloc(&arena, 4096));
    assert_null(ab_arena_alloc(&arena, SIZE_MAX));
    assert_null(ab_arena_alloc(&arena, SIZE_MAX - 8));
    assert_null(ab_arena_copy(&arena, ab_bytes_of(&memory, 5000)).data);
    ab_arena_fini(&arena);
}

static void test_arena_zeroed_is_valid_and_copies(void **state)
{
    (void)state;
    struct ab_arena arena = {0};
    struct ab_bytes copy = ab_arena_copy(&arena, bytes_of("text"));
    assert_string_equal((const char *)copy.data, "text");
    assert_int_equal(copy.bytes, 4);
    assert_non_null(ab_arena_copy(&arena, ab_bytes_of(NULL, 0)).data);
    ab_arena_fini(&arena);
    struct ab_arena never = {0};
    ab_arena_reset(&never);
    ab_arena_fini(&never);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_reserve_counts_in_parents_and_undoes),
        cmocka_unit_test(test_memory_charge_passes_the_limit_and_shows),
        cmocka_unit_test(test_memory_alloc_is_zeroed_and_refused),
        cmocka_unit_test(test_memory_resize_keeps_the_block_when_refused),
        cmocka_unit_test(test_new_texts),
        cmocka_unit_test(test_arena_hands_out_aligned_memory_and_resets),
        cmocka_unit_test(test_arena_refuses_past_the_budget),
        cmocka_unit_test(test_arena_zeroed_is_valid_and_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
