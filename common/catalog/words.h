/* words: what names mean before any catalog is known: functions, types, units, and SQL that is decided but not built
 * yet. */
#ifndef ANABRANCH_COMMON_CATALOG_WORDS_H
#define ANABRANCH_COMMON_CATALOG_WORDS_H

#include "common/catalog/catalog.h"

/* Whether a name is that of a percentile, p50, p99, p999, and which share it asks for: DECIMAL 0.50, 0.99, 0.999. */
bool ab_words_percentile(struct ab_bytes name, struct ab_value *share);

/* The kind of an aggregate's name (variance is var_samp, stddev is stddev_samp; count is AB_MEASURE_COUNT), or 0. */
enum ab_measure_kind ab_words_aggregate(struct ab_bytes name);

/* The canonical function name of a kind; count(*) is "count". */
const char *ab_words_aggregate_name(enum ab_measure_kind kind);

/* True for functions the design names that are not built yet. */
bool ab_words_is_later_function(struct ab_bytes name);

/* True for words of SQL that are not built yet (JOIN, HAVING, LIKE ...). */
bool ab_words_is_later_word(struct ab_bytes word);

/* The nearest function name of any kind, or NULL. */
const char *ab_words_nearest_function(struct ab_bytes name);

/* Finds a type by name (precision and scale 0); false when unknown. */
bool ab_words_type(struct ab_bytes name, struct ab_type *type);

/* The type somebody who wrote `name` means, by synonym or nearness, or NULL. */
const char *ab_words_nearest_type(struct ab_bytes name);

/* Reads "2 years", "90 minutes" or (when `forever` is allowed: 0) "forever". Days are 24 hours, months 30 and years 365
 * days; `fixed` refuses these two. AB_SYNTAX with a text for a person in `why`, AB_OVERFLOW above 1,000 years. */
AB_MUST_USE ab_err ab_words_duration(
    struct ab_bytes text, bool is_fixed, bool may_be_forever, int64_t *duration_us, char why[200]);

/* Writes a duration in the largest unit that divides it: "1 hour"; 0 is "forever". Returns text. */
#define AB_WORDS_DURATION_BYTES 48
const char *ab_words_duration_format(int64_t duration_us, char text[AB_WORDS_DURATION_BYTES]);

/* Appends a name, in quotes when it needs them. */
void ab_words_put_name(struct ab_buffer *out, const char *name);

/* Appends 'text' with '' for every quote inside. */
void ab_words_put_text(struct ab_buffer *out, struct ab_bytes text);

#endif
