/* file_fault: the one place where file.c and file_tree.c ask whether a test wants this call to fail. Private to base.
 */
#ifndef ANABRANCH_COMMON_BASE_FILE_FAULT_H
#define ANABRANCH_COMMON_BASE_FILE_FAULT_H

#include "common/base/error.h"

/* AB_OK, or the code that ab_file_fault_set asked for when this call is one of those to fail. */
AB_MUST_USE ab_err ab_file_fault_take(void);

#endif
