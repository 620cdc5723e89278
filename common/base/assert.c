#include "common/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void ab_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, expression);
    fflush(stderr);
    abort();
}
