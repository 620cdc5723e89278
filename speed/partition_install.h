/* partition_install: a partition that begins its log anew where its leader's begins, with the leader's tables
 * (offer.h).
 *
 * The exchange: the offer is made durable in the file `install`; then the log is reset, the state emptied, `retained`
 * replaced by the offer's tables, and `install` removed. A crash before leaves what was there, a crash behind is
 * finished when the partition is opened: never a mixture. What is in memory changes in between, while no flush runs.
 *
 * Afterwards the partition is behind its own tables: they are of records that its log does not hold yet. As these are
 * copied, committed and applied, spans fill; nothing of the tables is stored, no cut is retired, and no question is
 * answered before the last of them is applied. A log that lost its end below where its tables were saved is in the same
 * place, and goes on in the same way; in both cases it counts as damaged until it is as long again.
 *
 * Invariants: I3, I4, I10. Threads: the partition's worker; opening.
 */
#ifndef ANABRANCH_SPEED_PARTITION_INSTALL_H
#define ANABRANCH_SPEED_PARTITION_INSTALL_H

#include "speed/partition.h"

/* Appends what another replica needs to begin its log where this one begins. AB_AGAIN while this one is behind its
 * tables; AB_FULL. */
AB_MUST_USE ab_err ab_partition_offer(struct ab_partition *partition, struct ab_buffer *out, struct ab_error *error);

/* Takes such an offer in the place of what is here. Nothing may be staged, and no reader be open on the log. AB_AGAIN
 * while something is being stored, AB_NO_SPACE: try again. AB_STALE when the offer ends before what is committed here,
 * AB_CORRUPT, AB_UNSUPPORTED, AB_MISMATCH (another partition's): another offer is needed. All these change nothing.
 * AB_IO: it is half done, the process has to stop; opening finishes it. */
AB_MUST_USE ab_err ab_partition_install(struct ab_partition *partition, struct ab_bytes bytes, struct ab_error *error);

#endif
