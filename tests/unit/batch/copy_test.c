/* Copies between two directories without MPI: what arrives is what was sent; what does not is refused and leaves
 * nothing; frames that make no sense. */
#include "batch/copy.h"

#include "batch/copy_frames.h"
#include "batch/seal.h"
#include "common/aggregate/group_key.h"
#include "common/history/layout.h"
#include "common/store/version.h"
#include "tests/unit/batch/fixture.h"

#include <fcntl.h>

#define SHARD_PATH "versions/v-1/1-1"
#define ATTEMPT 4u

/* A source with a sealed span and a shard, and an empty place for them. */
struct copying {
    struct fixture fixture;
    char *to;
    struct ab_copy_unit units[2];
};

static int setup(void **state)
{
    struct copying *copying = ab_new(struct copying);
    struct fixture *fixture = &copying->fixture;
    struct ab_error error = {0};
    struct ab_sealed_span sealed = {0};
    struct ab_memory memory;
    bool was_sealed = false;
    fixture_init(fixture);
    fixture_span_add(fixture, 3000);
    ab_memory_init(&memory, 0, NULL);
    struct ab_seal_unit unit = {.directory = fixture->directory,
        .catalog = fixture->catalog,
        .partition = 2,
        .span = 1,
        .until_offset = fixture->end_offsets[0][2],
        .chain = &fixture->chains[0][2],
        .memory = &memory};
    if (ab_seal_run(&unit, &sealed, &was_sealed, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    ab_sealed_span_fini(&sealed);
    struct ab_version_writer *writer = NULL;
    struct ab_version_summary summary;
    char *folder = scratch_path(fixture->directory, SHARD_PATH);
    char *shard = scratch_path(folder, "shard-3");
    assert_ok(ab_file_make_directory(folder, 0700, &error));
    assert_ok(ab_version_writer_create(shard, &writer, &error));
    for (uint32_t i = 0; i < 5000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%08u", i);
        assert_ok(ab_version_writer_add(writer, ab_bytes_of_text(key), ab_bytes_of(&i, sizeof i), &error));
    }
    assert_ok(ab_version_writer_finish(writer, &summary, &error));
    copying->units[0] = (struct ab_copy_unit){.kind = AB_COPY_SPAN, .partition = 2, .span = 1};
    copying->units[1] = (struct ab_copy_unit){.kind = AB_COPY_SHARD,
        .partition = 3,
        .path = SHARD_PATH,
        .rows_count = summary.rows_count,
        .content = summary.content};
    copying->to = scratch_make();
    ab_delete(shard);
    ab_delete(folder);
    *state = copying;
    return 0;
}

static int teardown(void **state)
{
    struct copying *copying = *state;
    ab_file_fault_clear();
    scratch_remove(copying->to);
    fixture_fini(&copying->fixture);
    ab_delete(copying);
    return 0;
}

/* What is done to the n-th frame on its way, and what the frame is of. */
typedef void (*change_fn)(struct ab_buffer *frame, uint32_t number);

/* Sends a unit over; how often it was refused. */
static uint64_t unit_send(struct copying *copying, uint32_t unit, change_fn change, uint64_t *placed)
{
    struct ab_copy_sender *sender = ab_copy_sender_create(copying->fixture.directory, copying->units, &unit, 1);
    struct ab_copy_receiver *receiver = ab_copy_receiver_create(copying->to, ATTEMPT, copying->units, 2);
    struct ab_buffer frame = {0};
    struct ab_error error = {0};
    uint32_t of = 99;
    uint32_t number = 0;
    while (ab_copy_sender_next(sender, &frame, &of) == AB_OK) {
        assert_int_equal(of, unit);
        if (change != NULL) {
            change(&frame, number);
        }
        number++;
        assert_ok(ab_copy_receiver_take(receiver, ab_buffer_view(&frame), &error));
    }
    uint64_t refused = ab_copy_receiver_refused(receiver);
    if (placed != NULL) {
        *placed = ab_copy_receiver_placed(receiver);
    }
    ab_buffer_fini(&frame);
    ab_copy_receiver_destroy(receiver);
    ab_copy_sender_destroy(sender);
    return refused;
}

static uint64_t look(const struct copying *copying, uint32_t unit)
{
    return ab_copy_look(copying->to, &copying->units[unit], true);
}

/* Files and folders below a folder, but folders on the way to them. */
static uint32_t leaves_count(const char *path)
{
    char **names = NULL;
    size_t count = 0;
    uint32_t leaves = 0;
    struct ab_error error = {0};
    if (ab_file_list(path, &names, &count, &error) != AB_OK) {
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        char *below = scratch_path(path, names[i]);
        leaves += leaves_count(below);
        ab_delete(below);
    }
    ab_file_names_free(names, count);
    return leaves;
}

static void test_copy_arrives_as_it_was_sent(void **state)
{
    struct copying *copying = *state;
    for (uint32_t u = 0; u < 2; u++) {
        uint64_t placed = 0;
        assert_int_equal(look(copying, u), 0);
        assert_int_equal(unit_send(copying, u, NULL, &placed), 0);
        assert_int_equal(placed, 1);
        assert_true(look(copying, u) != 0);
        assert_true(look(copying, u) == ab_copy_look(copying->fixture.directory, &copying->units[u], true));
        char **paths = NULL;
        size_t count = 0;
        struct ab_error error = {0};
        assert_ok(ab_copy_files(copying->fixture.directory, &copying->units[u], &paths, &count, &error));
        assert_true(count > 1);
        for (size_t i = 0; i < count; i++) {
            struct ab_hash128 hashes[2] = {{0}, {0}};
            uint64_t bytes = 0;
            char *from = scratch_path(copying->fixture.directory, paths[i]);
            char *to = scratch_path(copying->to, paths[i]);
            assert_ok(ab_file_hash(from, &hashes[0], &bytes, &error));
            assert_ok(ab_file_hash(to, &hashes[1], &bytes, &error));
            assert_true(ab_hash128_equal(hashes[0], hashes[1]));
            ab_delete(to);
            ab_delete(from);
        }
        ab_file_names_free(paths, count);
    }
}

/* Flips a bit in the first piece of a file. */
static void data_flip(struct ab_buffer *frame, uint32_t number)
{
    if (number == 1) {
        assert_int_equal(frame->data[0], AB_COPY_DATA);
        frame->data[frame->bytes - 10] ^= 0x10;
    }
}

/* Flips a bit in the first file's hash. */
static void hash_flip(struct ab_buffer *frame, uint32_t number)
{
    (void)number;
    if (frame->data[0] == AB_COPY_FILE_END) {
        frame->data[frame->bytes - 1] ^= 1;
    }
}

/* Says of each file that it is a byte longer. */
static void length_change(struct ab_buffer *frame, uint32_t number)
{
    (void)number;
    if (frame->data[0] == AB_COPY_FILE_END) {
        frame->data[2]++;
    }
}

static void test_copy_that_differs_on_arrival_is_refused(void **state)
{
    struct copying *copying = *state;
    static const change_fn changes[] = {data_flip, hash_flip, length_change};
    for (uint32_t u = 0; u < 2; u++) {
        for (size_t i = 0; i < 3; i++) {
            uint64_t placed = 9;
            assert_int_equal(unit_send(copying, u, changes[i], &placed), 1);
            assert_int_equal(placed, 0);
            assert_int_equal(look(copying, u), 0);
            assert_int_equal(leaves_count(copying->to), 0);
        }
        assert_int_equal(unit_send(copying, u, NULL, NULL), 0); /* and once more, whole */
        assert_true(look(copying, u) != 0);
        scratch_remove(copying->to);
        copying->to = scratch_make();
    }
}

/* A source whose own files are not what they were: the hash on the way is right, what arrives is not. */
static void test_copy_of_a_broken_source_is_refused(void **state)
{
    struct copying *copying = *state;
    struct ab_error error = {0};
    for (uint32_t u = 0; u < 2; u++) {
        char **paths = NULL;
        size_t count = 0;
        assert_ok(ab_copy_files(copying->fixture.directory, &copying->units[u], &paths, &count, &error));
        char *path = scratch_path(copying->fixture.directory, paths[0]);
        uint64_t bytes = 0;
        int fd = -1;
        assert_ok(ab_file_open(path, O_RDWR, 0, &fd, &error));
        assert_ok(ab_file_bytes(fd, &bytes));
        /* The end: of a file of rows the footer, of a table its own. */
        assert_ok(ab_file_write_at(fd, bytes_of("broken as it can be"), bytes - 40));
        ab_file_close(&fd);
        assert_int_equal(unit_send(copying, u, NULL, NULL), 1);
        assert_int_equal(look(copying, u), 0);
        assert_int_equal(leaves_count(copying->to), 0);
        ab_delete(path);
        ab_file_names_free(paths, count);
    }
}

static void test_copy_that_the_source_lacks_is_given_up(void **state)
{
    struct copying *copying = *state;
    struct ab_error error = {0};
    char *path = ab_history_rows_path(copying->fixture.directory, "payments", 2, 1);
    assert_ok(ab_file_remove_tree(path, &error));
    assert_int_equal(ab_copy_look(copying->fixture.directory, &copying->units[0], true), 0);
    assert_int_equal(unit_send(copying, 0, NULL, NULL), 1);
    assert_int_equal(look(copying, 0), 0);
    assert_int_equal(leaves_count(copying->to), 0);
    ab_delete(path);
}

/* Every write, sync and rename fails once: never is a unit there that is not whole, and the next time it comes. */
static void test_copy_goes_on_after_any_failure(void **state)
{
    struct copying *copying = *state;
    for (uint32_t u = 0; u < 2; u++) {
        bool was_hit = true;
        for (int n = 0; was_hit; n++) {
            assert_true(n < 1000);
            ab_file_fault_set(n, 1, AB_NO_SPACE);
            (void)unit_send(copying, u, NULL, NULL); /* refused, given up, or a fault that it does without */
            was_hit = ab_file_fault_was_hit();
            ab_file_fault_clear();
            assert_int_equal(unit_send(copying, u, NULL, NULL), 0);
            assert_true(look(copying, u) != 0);
            scratch_remove(copying->to);
            copying->to = scratch_make();
        }
    }
}

/* What stands there and is something else is replaced. */
static void test_copy_replaces_what_is_not_the_same(void **state)
{
    struct copying *copying = *state;
    struct ab_error error = {0};
    struct ab_sealed_span sealed = {0};
    for (uint32_t u = 0; u < 2; u++) {
        assert_int_equal(unit_send(copying, u, NULL, NULL), 0);
    }
    uint64_t right = look(copying, 0);
    assert_ok(ab_sealed_span_load(copying->to, 2, 1, &sealed, &error));
    sealed.time_us++;
    assert_ok(ab_sealed_span_store(copying->to, &sealed, &error));
    ab_sealed_span_fini(&sealed);
    assert_true(look(copying, 0) != right);
    assert_int_equal(unit_send(copying, 0, NULL, NULL), 0);
    assert_true(look(copying, 0) == right);
    copying->units[1].content.low ^= 1; /* another version's */
    assert_int_equal(look(copying, 1), 0);
    assert_int_equal(unit_send(copying, 1, NULL, NULL), 1);
    copying->units[1].content.low ^= 1;
    assert_true(look(copying, 1) != 0); /* what stood there stays until it can be replaced */
}

static ab_err take(struct copying *copying, const struct ab_buffer *frames, uint64_t *refused)
{
    struct ab_error error = {0};
    struct ab_copy_receiver *receiver = ab_copy_receiver_create(copying->to, ATTEMPT, copying->units, 2);
    ab_err err = ab_copy_receiver_take(receiver, ab_buffer_view(frames), &error);
    *refused = ab_copy_receiver_refused(receiver);
    ab_copy_receiver_destroy(receiver);
    return err;
}

static void test_copy_leftovers_are_swept(void **state)
{
    struct copying *copying = *state;
    struct ab_error error = {0};
    static const char *const leftovers[] = {
        "history/s/partition-2", "history/_sealed/partition-2", "history/_dead_letters/s/partition-2", SHARD_PATH};
    for (uint32_t u = 0; u < 2; u++) {
        assert_int_equal(unit_send(copying, u, NULL, NULL), 0);
    }
    uint32_t before = leaves_count(copying->to);
    for (size_t i = 0; i < sizeof leftovers / sizeof leftovers[0]; i++) {
        char *folder = scratch_path(copying->to, leftovers[i]);
        char *path = scratch_path(folder, "shard-3.arriving-2");
        assert_ok(ab_file_make_directory(folder, 0700, &error));
        scratch_write(path, bytes_of("half"), 0600);
        ab_delete(path);
        ab_delete(folder);
    }
    assert_int_equal(leaves_count(copying->to), before + 4);
    ab_copy_sweep(copying->to);
    assert_int_equal(leaves_count(copying->to), before);
    for (uint32_t u = 0; u < 2; u++) {
        assert_true(look(copying, u) != 0);
    }
    ab_copy_sweep("/nowhere");
}

static void test_copy_frames_that_make_no_sense_are_refused(void **state)
{
    struct copying *copying = *state;
    static const char *const paths[] = {"/etc/passwd", "history/../keys/node.key", "keys/partition-2/span-1.parquet",
        "history/_sealed/partition-2/span-2.json", "history/x/partition-1/span-1.parquet", "", SHARD_PATH "/shard-3/a"};
    uint64_t refused = 0;
    struct ab_buffer frames = {0};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        ab_buffer_clear(&frames);
        ab_buffer_put_u8(&frames, AB_COPY_FILE);
        ab_buffer_put_varint(&frames, 0);
        ab_buffer_put_blob(&frames, ab_bytes_of_text(paths[i]));
        assert_ok(take(copying, &frames, &refused));
        assert_int_equal(refused, 1);
        assert_int_equal(leaves_count(copying->to), 0);
    }
    static const char *const shard_paths[] = {SHARD_PATH "/shard-3/../x", SHARD_PATH "/shard-3/",
        SHARD_PATH "/shard-33/x", SHARD_PATH "/shard-3/.hidden", "history/x/partition-2/span-1.parquet"};
    for (size_t i = 0; i < sizeof shard_paths / sizeof shard_paths[0]; i++) {
        ab_buffer_clear(&frames);
        ab_buffer_put_u8(&frames, AB_COPY_FILE);
        ab_buffer_put_varint(&frames, 1);
        ab_buffer_put_blob(&frames, ab_bytes_of_text(shard_paths[i]));
        assert_ok(take(copying, &frames, &refused));
        assert_int_equal(refused, 1);
    }
    static const struct {
        uint8_t bytes[8];
        size_t count;
    } malformed[] = {{{0, 0}, 2}, {{9, 0}, 2}, {{AB_COPY_DONE, 2}, 2}, {{AB_COPY_FILE, 0, 5, 'a'}, 4},
        {{AB_COPY_FILE_END, 0, 1}, 3}, {{AB_COPY_DATA}, 1}};
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        ab_buffer_clear(&frames);
        ab_buffer_put(&frames, malformed[i].bytes, malformed[i].count);
        assert_int_equal(take(copying, &frames, &refused), AB_CORRUPT);
    }
    ab_buffer_clear(&frames); /* nothing at all, an end of nothing, bytes of nothing */
    static const uint8_t empty[] = {AB_COPY_DONE, 0, AB_COPY_DATA, 0, 1, 'x', AB_COPY_DONE, 0};
    ab_buffer_put(&frames, empty, sizeof empty);
    assert_ok(take(copying, &frames, &refused));
    assert_int_equal(refused, 2);
    ab_buffer_fini(&frames);
    assert_int_equal(leaves_count(copying->to), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_copy_arrives_as_it_was_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_that_differs_on_arrival_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_of_a_broken_source_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_that_the_source_lacks_is_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_goes_on_after_any_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_replaces_what_is_not_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_leftovers_are_swept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_frames_that_make_no_sense_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
