#include "tests/golden/golden.h"

#include "common/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void golden_path(const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", AB_GOLDEN_DIRECTORY, name);
}

void golden_read(const char *name, struct ab_buffer *out)
{
    char path[512];
    struct ab_error error = {0};
    golden_path(name, path);
    if (ab_file_read_all(path, out, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
}

void golden_expect(const char *name, struct ab_bytes bytes)
{
    const char *write = getenv("AB_GOLDEN_WRITE");
    struct ab_buffer committed = {0};
    if (write != NULL && strcmp(write, "1") == 0) {
        char path[512];
        golden_path(name, path);
        assert_int_equal(ab_file_replace(path, bytes, 0644, NULL), AB_OK);
    }
    golden_read(name, &committed);
    if (!ab_bytes_equal(ab_buffer_view(&committed), bytes)) {
        size_t at = 0;
        while (at < bytes.bytes && at < committed.bytes && bytes.data[at] == committed.data[at]) {
            at++;
        }
        fail_msg("%s: %zu bytes committed, %zu encoded now, the first difference at byte %zu: the format has changed",
            name, committed.bytes, bytes.bytes, at);
    }
    ab_buffer_fini(&committed);
}
