/* map: an in-memory table from bytes to a 64-bit number, for names, dictionaries and small indexes.
 *
 * Open addressing, load <= 0.5, keys copied into its own arena. Iteration is in insertion order, so nothing that walks
 * a map depends on a hash. Removal keeps a tombstone until the next growth.
 */
#ifndef ANABRANCH_COMMON_BASE_MAP_H
#define ANABRANCH_COMMON_BASE_MAP_H

#include "common/base/memory.h"

struct ab_map;

/* An empty map charged to `memory` (may be NULL). */
struct ab_map *ab_map_create(struct ab_memory *memory);
void ab_map_destroy(struct ab_map *map);

/* Finds a key; false when absent. `value` may be NULL. */
bool ab_map_get(const struct ab_map *map, struct ab_bytes key, uint64_t *value);

/* Sets a key; AB_FULL when the budget refuses. */
AB_MUST_USE ab_err ab_map_set(struct ab_map *map, struct ab_bytes key, uint64_t value);

/* Removes a key; true when it was there. */
bool ab_map_remove(struct ab_map *map, struct ab_bytes key);

size_t ab_map_count(const struct ab_map *map);

/* Walks in insertion order: start with *cursor = 0; false at the end. Key borrowed until the map changes. */
bool ab_map_next(const struct ab_map *map, size_t *cursor, struct ab_bytes *key, uint64_t *value);

#endif
