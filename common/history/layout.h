/* layout: where sealed history and versions lie below a cluster's directory.
 *
 *   history/<stream>/partition-<p>/span-<k>.parquet                accepted rows; no file when there are none
 *   history/_dead_letters/<stream>/partition-<p>/span-<k>.parquet  rejected rows; no file when there are none
 *   history/_sealed/partition-<p>/span-<k>.json                    written last: the span of that partition is sealed,
 * with counts versions/<view>-<definition version>/<cut>-<attempt>/shard-<s>/
 *
 * In <stream> and <view> a byte other than a-z A-Z 0-9 '-' or '_', and a '_' or '-' at the front, stands as %XX, so
 * that any quoted name is one harmless path element and none meets the names above.
 *
 * A sealed file has the stream's columns and then _offset BIGINT, _row BIGINT, _append_time TIMESTAMP. A file of dead
 * letters has these three first, then source TEXT, position BIGINT, reason TEXT, raw TEXT (the row as it came, or as a
 * JSON object of its columns), is_raw BOOLEAN (which of the two; earlier files lack it).
 *
 * Threads: pure. All results are freed with ab_delete.
 */
#ifndef ANABRANCH_COMMON_HISTORY_LAYOUT_H
#define ANABRANCH_COMMON_HISTORY_LAYOUT_H

#include "common/base/bytes.h"

/* A name as a path element. */
char *ab_history_name(const char *name);

/* Path of the sealed rows, or of the dead letters, of a stream, partition and span. `directory` is the cluster's; ""
 * gives a relative path. */
char *ab_history_rows_path(const char *directory, const char *stream, uint32_t partition, uint64_t span);
char *ab_history_dead_letters_path(const char *directory, const char *stream, uint32_t partition, uint64_t span);

/* Path of the marker of a sealed span. */
char *ab_history_marker_path(const char *directory, uint32_t partition, uint64_t span);

/* Relative path of a version's directory: "versions/…/<cut>-<attempt>"; and of the folder above it. */
char *ab_history_version_path(const char *view, uint32_t definition_version, uint64_t cut, uint32_t attempt);
char *ab_history_versions_path(const char *view, uint32_t definition_version);

#endif
