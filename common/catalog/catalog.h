/* catalog: streams and views as declared in SQL, parsed, checked and typed.
 *
 * A catalog is immutable once parsed. Its text is the definition: the same text gives the same catalog everywhere, and
 * its hash names it. Every stream and view has a stable id that survives later versions: ab_catalog_evolve carries ids
 * over from the version before and says what changed or why the change is refused. A view's uid names its definition
 * version: it changes when the view's meaning does, and it prefixes the view's keys in speed state.
 *
 * Threads: read-only after parsing, any thread; acquire/release are atomic.
 */
#ifndef ANABRANCH_COMMON_CATALOG_CATALOG_H
#define ANABRANCH_COMMON_CATALOG_CATALOG_H

#include "common/catalog/expression.h"
#include "common/catalog/window.h"
#include "common/catalog/zone.h"

#include "common/base/buffer.h"
#include "common/base/hash.h"
#include "common/block/column.h"

#define AB_CATALOG_NAME_BYTES_MAX 63
#define AB_CATALOG_COLUMNS_MAX 512
#define AB_CATALOG_TEXT_BYTES_MAX (1u << 20)
#define AB_CATALOG_KEYS_MAX 16
#define AB_CATALOG_MEASURES_MAX 64
#define AB_MEASURE_ARGUMENTS_MAX 8
#define AB_MEASURE_PARAMETERS_MAX 100
#define AB_MEASURE_K_MAX 1000 /* of first_k and its like: values kept of a group */

/* A column of a stream. */
struct ab_stream_column {
    const char *name;
    struct ab_type type;
    bool is_not_null;
    struct ab_expression *check; /* NULL = none; refers to the stream's columns */
    const char *check_text;      /* as written, for reasons */
};

struct ab_stream {
    uint32_t id; /* stable, from 1 */
    const char *name;
    struct ab_stream_column *columns;
    uint32_t columns_count;
    uint32_t event_time_column;  /* index; a NOT NULL TIMESTAMP */
    uint32_t *partition_columns; /* indexes, at least one, NOT NULL */
    uint32_t partition_columns_count;
    int64_t history_retention_us; /* 0 = for ever */
    int64_t future_bound_us; /* event time <= append time + this, else rejected; option 'max_future', default 1 day */
    int64_t past_bound_us;   /* 0 = none; event time >= append time - this; option 'max_past' */
    char *definition;        /* canonical SQL of this stream */
};

/* What a measure computes. Numbers are part of view definitions; those from 60 on are of sketches. */
enum ab_measure_kind {
    AB_MEASURE_COUNT_ROWS = 1, /* count(*) */
    AB_MEASURE_COUNT = 2,      /* count(x): x not NULL */
    AB_MEASURE_SUM = 3,
    AB_MEASURE_AVG = 4,
    AB_MEASURE_MIN = 5,
    AB_MEASURE_MAX = 6,
    AB_MEASURE_VAR_POP = 7,
    AB_MEASURE_VAR_SAMP = 8,
    AB_MEASURE_STDDEV_POP = 9,
    AB_MEASURE_STDDEV_SAMP = 10,
    AB_MEASURE_FIRST = 11, /* value at the least (event time, partition, offset, row) among not-NULL x */
    AB_MEASURE_LAST = 12,
    AB_MEASURE_COUNT_DISTINCT = 13,
    AB_MEASURE_MIN_BY = 14, /* x at the least y; ties go to the least identity, as for FIRST */
    AB_MEASURE_MAX_BY = 15,
    AB_MEASURE_FIRST_K = 16,
    AB_MEASURE_LAST_K = 17,
    AB_MEASURE_LARGEST = 18,
    AB_MEASURE_SMALLEST = 19,
    AB_MEASURE_SKEWNESS = 20,
    AB_MEASURE_KURTOSIS = 21,
    AB_MEASURE_COVAR_POP = 22,
    AB_MEASURE_COVAR_SAMP = 23,
    AB_MEASURE_CORR = 24,
    AB_MEASURE_REGR_SLOPE = 25,
    AB_MEASURE_REGR_INTERCEPT = 26,
    AB_MEASURE_REGR_R2 = 27,
    AB_MEASURE_BOOL_AND = 28,
    AB_MEASURE_BOOL_OR = 29,
    AB_MEASURE_BIT_AND = 30,
    AB_MEASURE_BIT_OR = 31,
    AB_MEASURE_BIT_XOR = 32,
    AB_MEASURE_AVG_WEIGHTED = 33,
    AB_MEASURE_RATIO = 34,
    AB_MEASURE_RATE = 35,
    AB_MEASURE_HISTOGRAM = 36,
    AB_MEASURE_QUANTILES = 60, /* read by p50 .. p999, quantile in queries; by itself a summary */
    AB_MEASURE_QUANTILE = 61,  /* quantile(x, q), p50(x) .. */
    AB_MEASURE_TOP_K = 62,
    AB_MEASURE_THETA = 63, /* counts distinct values; read by theta_union, theta_intersection, theta_difference too */
    AB_MEASURE_BLOOM = 64, /* read by might_contain; by itself a summary */
    AB_MEASURE_SAMPLE = 65,
    AB_MEASURE_DECAYED_SUM = 66, /* x, half-life in microseconds */
    AB_MEASURE_DECAYED_COUNT = 67,
    AB_MEASURE_DECAYED_AVG = 68,
};

/* The greatest number of a kind. */
#define AB_MEASURE_KIND_MAX 99

struct ab_measure {
    const char *name; /* the output name */
    enum ab_measure_kind kind;
    struct ab_expression *arguments[AB_MEASURE_ARGUMENTS_MAX];
    struct ab_type argument_types[AB_MEASURE_ARGUMENTS_MAX];
    uint32_t arguments_count;          /* 0 for count(*) */
    const struct ab_value *parameters; /* the constants after the arguments, typed by the function; not NULL */
    uint32_t parameters_count;
    struct ab_expression *filter; /* FILTER (WHERE …); NULL = none */
    struct ab_type type;          /* of the finished value: derived in check_measure.c alone */
    char *definition;             /* canonical SQL of the call with its filter: equal calls share states */
};

struct ab_view_key {
    const char *name; /* output name (alias or column name) */
    uint32_t column;  /* index in the stream */
    struct ab_type type;
};

struct ab_view {
    uint32_t id;                 /* stable, from 1 */
    uint32_t definition_version; /* from 1, +1 when the meaning changes */
    uint32_t uid; /* unique over all (view, definition version) of the cluster's life, from 1: prefix of speed keys */
    const char *name;
    const struct ab_stream *stream; /* borrowed from the catalog */
    struct ab_expression *where;    /* NULL = all rows */
    struct ab_view_key *keys;
    uint32_t keys_count;             /* may be 0 */
    int64_t pane_us;                 /* nominal width of a pane; 0 = no window: one pane for all time */
    uint32_t pane_column;            /* the TIMESTAMP column of TUMBLE, HOP, CUMULATE or SESSION, when pane_us > 0 */
    struct ab_period pane;           /* where panes begin and end, when pane_us > 0 */
    struct ab_window window;         /* what a query lists: the panes themselves, or windows composed of them */
    struct ab_expression *pane_time; /* SESSION: the column as an expression; else NULL */
    struct ab_measure *measures;
    uint32_t measures_count;
    int64_t keep_us;      /* 0 = for ever; nominal when one of the next two is set */
    uint32_t keep_months; /* of the panes' calendar: what local clocks show goes back by these */
    uint32_t keep_days;
    int64_t chunk_us; /* time chunk of the key encoding: a fixed multiple of the pane; 0 without panes */
    bool is_aligned;  /* the group keys contain every partition-key column: a group lives in one partition */
    char *definition; /* canonical SQL */
};

struct ab_catalog {
    uint64_t version;       /* from 1; set by whoever stores catalogs */
    char *text;             /* as given, NUL-terminated */
    struct ab_hash128 hash; /* AB_HASH_CATALOG over the text */
    struct ab_stream *streams;
    uint32_t streams_count;
    struct ab_view *views;
    uint32_t views_count;
    struct ab_zone *zones; /* that the text pins */
    uint32_t zones_count;
    /* private: references, arena */
    struct ab_catalog_private *private_part;
};

/* Parses and types a catalog; ids are given in order of declaration. AB_SYNTAX with "line L, column C: found X,
 * expected Y; did you mean Z?". */
AB_MUST_USE ab_err ab_catalog_parse(struct ab_bytes text, struct ab_catalog **catalog, struct ab_error *error);

/* Writes `text` with the rules of every time zone that it names and does not pin itself: `CREATE TIME ZONE 'name' AS
 * 'rules'` (zone.h) as `before` (NULL = none) has them, else as DIRECTORY/name has them (NULL = the system's).
 * AB_SYNTAX with the place of a zone that is unknown. Blocks: file I/O. */
AB_MUST_USE ab_err ab_catalog_pin(struct ab_bytes text, const struct ab_catalog *before, const char *directory,
    struct ab_buffer *out, struct ab_error *error);

/* Parses `text` as the successor of `before` (NULL = first), with time zones pinned as ab_catalog_pin does: carries
 * ids, definition versions and uids over. Refused (AB_UNSUPPORTED with the place): a stream dropped while a view needs
 * history, a column removed or retyped, a new column that is NOT NULL, partition key or event time changed, a view's
 * keep above its stream's retention. `changes` gets one line per difference ("view v: changed, will be rebuilt"), empty
 * when nothing changes. */
AB_MUST_USE ab_err ab_catalog_evolve(struct ab_bytes text, const struct ab_catalog *before, struct ab_catalog **catalog,
    struct ab_buffer *changes, struct ab_error *error);

/* A self-contained form with ids, versions and text, and back: what the coordination service and cut records hold. */
void ab_catalog_encode(const struct ab_catalog *catalog, struct ab_buffer *out);
AB_MUST_USE ab_err ab_catalog_decode(struct ab_bytes bytes, struct ab_catalog **catalog, struct ab_error *error);

/* Counted references. release(NULL) is legal. */
struct ab_catalog *ab_catalog_acquire(struct ab_catalog *catalog);
void ab_catalog_release(struct ab_catalog *catalog);

/* Finds by name (exact; unquoted names are folded to lower case by the parser); NULL. */
const struct ab_stream *ab_catalog_stream(const struct ab_catalog *catalog, struct ab_bytes name);
const struct ab_view *ab_catalog_view(const struct ab_catalog *catalog, struct ab_bytes name);

/* Finds a pinned time zone by name; NULL. */
const struct ab_zone *ab_catalog_zone(const struct ab_catalog *catalog, struct ab_bytes name);

/* Finds a view by uid; NULL. */
const struct ab_view *ab_catalog_view_by_uid(const struct ab_catalog *catalog, uint32_t uid);

/* Index of a stream's column, or -1. */
int ab_stream_column_index(const struct ab_stream *stream, struct ab_bytes name);

/* The nearest of `names` by edit distance within a third of the length, or NULL: for "did you mean". */
const char *ab_catalog_nearest(struct ab_bytes name, const char *const *names, size_t names_count);

#endif
