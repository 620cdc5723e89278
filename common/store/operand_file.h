/* operand_file: one sorted file for ingestion: puts and merge operands in rising key order. */
#ifndef ANABRANCH_COMMON_STORE_OPERAND_FILE_H
#define ANABRANCH_COMMON_STORE_OPERAND_FILE_H

#include "common/base/bytes.h"

struct ab_operand_file;

/* Creates a file at path. */
AB_MUST_USE ab_err ab_operand_file_create(const char *path, struct ab_operand_file **file, struct ab_error *error);

/* Adds a value that replaces, or a merge operand; keys strictly rising (AB_USAGE otherwise). */
AB_MUST_USE ab_err ab_operand_file_put(struct ab_operand_file *file, struct ab_bytes key, struct ab_bytes value);
AB_MUST_USE ab_err ab_operand_file_merge(struct ab_operand_file *file, struct ab_bytes key, struct ab_bytes value);

/* Completes the file and frees the writer; on error the file is removed. AB_NO_SPACE, AB_IO. */
AB_MUST_USE ab_err ab_operand_file_finish(struct ab_operand_file *file, uint64_t *bytes, struct ab_error *error);

/* Gives up: removes the file, frees the writer; NULL is legal. */
void ab_operand_file_abandon(struct ab_operand_file *file);

#endif
