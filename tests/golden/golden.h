/* golden: committed bytes of a format, compared with what its encoder writes now.
 *
 * A difference means that files or peers of an earlier build are no longer understood: it is a broken format, never a
 * stale test. Only a deliberate new format version writes the files anew, with AB_GOLDEN_WRITE=1 in the environment.
 */
#ifndef ANABRANCH_TESTS_GOLDEN_GOLDEN_H
#define ANABRANCH_TESTS_GOLDEN_GOLDEN_H

#include "common/base/buffer.h"

/* Fails the running test unless the committed file `name` of this folder holds exactly these bytes. */
void golden_expect(const char *name, struct ab_bytes bytes);

/* Reads the committed file `name`; fails the running test when there is none. */
void golden_read(const char *name, struct ab_buffer *out);

#endif
