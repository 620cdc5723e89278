/* Dead letters of several nodes: each once, newest first. */
#include "cluster/command/letters.h"

#include "tests/support/test.h"

/* ---- helpers ---- */

static void add(struct ab_letter_list *list, const char *text)
{
    struct ab_json *answer = NULL;
    assert_ok(ab_json_parse(bytes_of(text), &answer, NULL));
    ab_letter_list_add(list, answer);
}

static void expect_rows(const struct ab_letter_list *list, const int64_t *offsets, size_t count)
{
    assert_int_equal(list->rows_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ab_json_integer_or(ab_json_get(list->rows[i], "offset"), -1), offsets[i]);
    }
}

#define ROW(time, partition, offset)                                                                                   \
    "{\"time\":\"2026-03-01T08:00:00" time "Z\",\"partition\":" partition ",\"offset\":" offset ",\"row\":0}"

/* ---- cases ---- */

static void test_letters_of_several_nodes_are_listed_once_newest_first(void **state)
{
    (void)state;
    static const int64_t offsets[] = {5, 4, 3, 2};
    struct ab_letter_list list = {0};
    add(&list, "{\"rows\":[" ROW(".59521", "1", "4") "," ROW("", "1", "2") "],\"total\":2}");
    add(&list,
        "{\"rows\":[" ROW(".595215", "0", "5") "," ROW(".59521", "1", "4") "," ROW(".5", "2", "3") "],\"total\":3}");
    ab_letter_list_finish(&list, 10);
    expect_rows(&list, offsets, 4);
    assert_int_equal(list.total, 4);
    ab_letter_list_fini(&list);
    ab_letter_list_fini(&list);
}

static void test_letters_above_the_limit_are_the_oldest(void **state)
{
    (void)state;
    static const int64_t offsets[] = {9, 8};
    struct ab_letter_list list = {0};
    add(&list, "{\"rows\":[" ROW(".1", "0", "7") "],\"total\":50}");
    add(&list, "{\"rows\":[" ROW(".3", "1", "9") "," ROW(".2", "1", "8") "],\"total\":40}");
    ab_letter_list_finish(&list, 2);
    expect_rows(&list, offsets, 2);
    assert_int_equal(list.total, 50);
    ab_letter_list_fini(&list);
}

static void test_letters_of_one_node_stay_as_they_are_told(void **state)
{
    (void)state;
    static const int64_t offsets[] = {1, 2};
    struct ab_letter_list list = {0};
    add(&list, "{\"rows\":[" ROW("", "0", "1") "," ROW(".9", "0", "2") "],\"total\":7}");
    ab_letter_list_finish(&list, 10);
    expect_rows(&list, offsets, 2);
    assert_int_equal(list.total, 7);
    ab_letter_list_fini(&list);
}

static void test_letters_answers_without_rows_are_empty(void **state)
{
    (void)state;
    struct ab_letter_list list = {0};
    add(&list, "{}");
    add(&list, "{\"rows\":[{}]}");
    add(&list, "{\"rows\":[{\"time\":\"never\",\"offset\":\"x\"}]}");
    ab_letter_list_finish(&list, 10);
    assert_int_equal(list.rows_count, 1); /* both say nothing of where they are */
    ab_letter_list_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_of_several_nodes_are_listed_once_newest_first),
        cmocka_unit_test(test_letters_above_the_limit_are_the_oldest),
        cmocka_unit_test(test_letters_of_one_node_stay_as_they_are_told),
        cmocka_unit_test(test_letters_answers_without_rows_are_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
