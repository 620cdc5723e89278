/* test: cmocka with what it needs before it, and a scratch directory for tests that touch the disk. */
#ifndef ANABRANCH_TESTS_SUPPORT_TEST_H
#define ANABRANCH_TESTS_SUPPORT_TEST_H

#include "common/base/file.h"
#include "common/base/memory.h"

/* cmocka.h needs these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define assert_ok(expression) assert_int_equal((expression), AB_OK)
#define bytes_of(text) ab_bytes_of_text(text)

/* Makes an empty directory of mode 0700, in $TMPDIR or /tmp; removed and freed by scratch_remove. */
static inline char *scratch_make(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = ab_new_format("%s/anabranch-test-XXXXXX", parent == NULL ? "/tmp" : parent);
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void scratch_remove(char *path)
{
    struct ab_error error = {0};
    assert_ok(ab_file_remove_tree(path, &error));
    ab_delete(path);
}

/* Setup and teardown of a case whose state is a directory. Faults of file operations end with the case. */
static inline int scratch_setup(void **state)
{
    *state = scratch_make();
    return 0;
}

static inline int scratch_teardown(void **state)
{
    ab_file_fault_clear();
    scratch_remove(*state);
    return 0;
}

/* "<directory>/<name>", freed with ab_delete. */
static inline char *scratch_path(const char *directory, const char *name)
{
    return ab_new_format("%s/%s", directory, name);
}

/* Writes a file with the given content. */
static inline void scratch_write(const char *path, struct ab_bytes content, int mode)
{
    struct ab_error error = {0};
    assert_ok(ab_file_replace(path, content, mode, &error));
}

#endif
