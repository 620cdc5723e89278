/* letters: dead letters of all nodes as one list, newest first.
 *
 * Each node tells those of the partitions it holds: what several hold is told several times and listed once.
 *
 * Threads: one. Memory: the answers of all nodes.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_LETTERS_H
#define ANABRANCH_CLUSTER_COMMAND_LETTERS_H

#include "cluster/command/session.h"

/* Zeroed memory may be given to fini. */
struct ab_letter_list {
    struct ab_json *answers[AB_NODES_MAX]; /* owned */
    uint32_t answers_count;
    const struct ab_json **rows; /* owned; borrowed from the answers */
    size_t rows_count;
    uint64_t total; /* how many there are, at least: exact for one node */
};

/* Adds an answer of speed to DEAD_LETTERS; taken. */
void ab_letter_list_add(struct ab_letter_list *list, struct ab_json *answer);

/* Sorts what was added and keeps the newest `limit`. */
void ab_letter_list_finish(struct ab_letter_list *list, size_t limit);

/* Asks the nodes of the session for the newest `limit` letters of a stream; the list is finished. On failure it holds
 * what fini frees. */
AB_MUST_USE ab_err ab_letter_list_ask(
    struct ab_session *session, const char *stream, size_t limit, struct ab_letter_list *list, struct ab_error *error);

/* Frees; idempotent. */
void ab_letter_list_fini(struct ab_letter_list *list);

#endif
