#include "common/log/recover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const uint8_t cluster_id[16] = "0123456789abcdef";

static struct ab_recover_facts torn_facts(void)
{
    return (struct ab_recover_facts){
        .file_bytes = 1000, .valid_bytes = 900, .next_offset = 20, .durable_offset = 18, .is_last_segment = true};
}

static void test_classify_whole_segment_is_clean(void **state)
{
    (void)state;
    struct ab_recover_facts facts = torn_facts();
    facts.valid_bytes = facts.file_bytes;
    assert_int_equal(ab_recover_classify(&facts), AB_RECOVER_CLEAN);
    facts.is_last_segment = false;
    assert_int_equal(ab_recover_classify(&facts), AB_RECOVER_CLEAN);
}

static void test_classify_bad_end_with_nothing_after_is_torn(void **state)
{
    (void)state;
    struct ab_recover_facts facts = torn_facts();
    assert_int_equal(ab_recover_classify(&facts), AB_RECOVER_TORN);
    facts.durable_offset = 20;
    assert_int_equal(ab_recover_classify(&facts), AB_RECOVER_TORN);
}

static void test_classify_anything_else_is_corrupt(void **state)
{
    (void)state;
    struct ab_recover_facts facts = torn_facts();
    facts.has_valid_after = true;
    assert_int_equal(ab_recover_classify(&facts), AB_RECOVER_CORRUPT);
    facts = torn_facts();
    facts.is_last_segment = false;
    assert_int_equal(ab_recover_classify(&facts), AB_RECOVER_CORRUPT);
    facts = torn_facts();
    facts.durable_offset = 21;
    assert_int_equal(ab_recover_classify(&facts), AB_RECOVER_CORRUPT);
    facts.valid_bytes = facts.file_bytes;
    assert_int_equal(ab_recover_classify(&facts), AB_RECOVER_CORRUPT);
}

static bool is_found(struct ab_bytes bytes, const uint8_t *cluster, uint32_t partition, uint64_t offset_min)
{
    struct ab_recover_search search = {
        .cluster_id = cluster, .partition = partition, .offset_min = offset_min, .offset_max = UINT64_MAX};
    ab_recover_find(&search, bytes);
    assert_int_equal(search.highest, search.is_found ? 10 : 0);
    return search.is_found;
}

static void test_find_gives_the_highest_offset_that_may_be(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    for (uint64_t i = 0; i < 4; i++) {
        static const uint64_t offsets[] = {12, 30, 14, 5000};
        struct ab_record record = {.header = {.kind = AB_RECORD_BLOCK, .partition = 4, .offset = offsets[i]}};
        memcpy(record.header.cluster_id, cluster_id, 16);
        ab_record_encode(&record, &buffer);
    }
    struct ab_recover_search search = {.cluster_id = cluster_id, .partition = 4, .offset_min = 10, .offset_max = 100};
    ab_recover_find(&search, ab_buffer_view(&buffer));
    assert_true(search.is_found);
    assert_int_equal(search.highest, 30);
    ab_buffer_fini(&buffer);
}

static void test_find_sees_only_later_records_of_this_log(void **state)
{
    (void)state;
    struct ab_record record = {.header = {.kind = AB_RECORD_BLOCK, .partition = 4, .offset = 10}};
    memcpy(record.header.cluster_id, cluster_id, 16);
    struct ab_buffer buffer = {0};
    ab_buffer_put_u64(&buffer, 0x3152424131524241); /* the magic, twice, and no record behind it */
    ab_buffer_put_u64(&buffer, 0);
    ab_record_encode(&record, &buffer);
    struct ab_bytes bytes = ab_buffer_view(&buffer);
    assert_true(is_found(bytes, cluster_id, 4, 9));
    assert_false(is_found(bytes, cluster_id, 4, 10));
    assert_false(is_found(bytes, cluster_id, 5, 9));
    assert_false(is_found(bytes, (const uint8_t *)"another cluster!", 4, 9));
    assert_false(is_found(ab_bytes_of(bytes.data, bytes.bytes - 1), cluster_id, 4, 9));
    assert_false(is_found((struct ab_bytes){0}, cluster_id, 4, 9));
    ab_buffer_fini(&buffer);
}

static void test_search_starts_behind_a_record_whose_header_is_good(void **state)
{
    (void)state;
    struct ab_record record = {.header = {.kind = AB_RECORD_BLOCK}, .body = ab_bytes_of_text("a body of some length")};
    struct ab_buffer buffer = {0};
    ab_record_encode(&record, &buffer);
    struct ab_bytes front = ab_bytes_of(buffer.data, AB_RECORD_HEADER_BYTES);
    assert_int_equal(ab_recover_search_start(front, 800), 800 + buffer.bytes);
    buffer.data[9] ^= 1;
    assert_int_equal(ab_recover_search_start(front, 800), 808);
    assert_int_equal(ab_recover_search_start(ab_bytes_of(buffer.data, 5), 800), 808);
    ab_buffer_fini(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classify_whole_segment_is_clean),
        cmocka_unit_test(test_classify_bad_end_with_nothing_after_is_torn),
        cmocka_unit_test(test_classify_anything_else_is_corrupt),
        cmocka_unit_test(test_find_gives_the_highest_offset_that_may_be),
        cmocka_unit_test(test_find_sees_only_later_records_of_this_log),
        cmocka_unit_test(test_search_starts_behind_a_record_whose_header_is_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
