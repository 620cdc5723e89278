/* Parquet metadata from a stranger's file: footer, page heads, and whole files small enough to be one input. */
#include "common/history/footer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Every statistic of what was decoded. */
static void bounds_read(const struct ab_parquet_reader *reader)
{
    const struct ab_parquet_field *fields = NULL;
    size_t count = ab_parquet_reader_fields(reader, &fields);
    for (size_t group = 0; group < ab_parquet_reader_groups(reader); group++) {
        for (size_t field = 0; field < count; field++) {
            struct ab_value bounds[2];
            uint64_t nulls = 0;
            if (ab_parquet_reader_bounds(reader, group, field, &bounds[0], &bounds[1], &nulls) &&
                bounds[0].type.kind != fields[field].type.kind) {
                abort();
            }
        }
    }
}

static void footer_try(struct ab_bytes bytes)
{
    struct ab_parquet_reader *reader = NULL;
    struct ab_error error = {0};
    if (ab_parquet_footer_parse(bytes, &reader, &error) == AB_OK) {
        bounds_read(reader);
        ab_parquet_reader_close(reader);
    }
    struct ab_reader pages = ab_reader_of(bytes);
    struct ab_parquet_page_head head;
    while (ab_reader_left(&pages) > 0 && ab_parquet_page_head_take(&pages, &head) == AB_OK) {
    }
}

static void groups_read(struct ab_parquet_reader *reader)
{
    const struct ab_parquet_field *fields = NULL;
    size_t count = ab_parquet_reader_fields(reader, &fields);
    struct ab_column *columns = ab_new_array(struct ab_column, count + 1);
    bool *wanted = ab_new_array(bool, count + 1);
    static struct ab_memory memory; /* outlives the reader, whose working memory it pays for */
    struct ab_arena arena;
    memset(wanted, 1, count);
    ab_memory_init(&memory, (size_t)64 << 20, NULL);
    ab_arena_init(&arena, &memory, 0);
    for (size_t group = 0; group < ab_parquet_reader_groups(reader) && group < 4; group++) {
        struct ab_error error = {0};
        (void)!ab_parquet_reader_read(reader, group, wanted, &arena, columns, &error);
        ab_arena_reset(&arena);
    }
    ab_arena_fini(&arena);
    ab_delete(wanted);
    ab_delete(columns);
}

/* A whole file; inputs that do not start with the magic are footers. */
static void file_try(struct ab_bytes bytes)
{
    char path[64];
    struct ab_parquet_reader *reader = NULL;
    struct ab_error error = {0};
    int fd = memfd_create("parquet", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes.data, bytes.bytes) != (ssize_t)bytes.bytes) {
        abort();
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (ab_parquet_reader_open(path, &reader, &error) == AB_OK) {
        groups_read(reader);
        ab_parquet_reader_close(reader);
    }
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes >= 4 && memcmp(data, AB_PARQUET_MAGIC, 4) == 0) {
        file_try(ab_bytes_of(data, bytes));
    } else {
        footer_try(ab_bytes_of(data, bytes));
    }
    return 0;
}
