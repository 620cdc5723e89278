/* csv: finds rows and fields in a window of CSV bytes (RFC 4180), without allocating per field.
 *
 * A row ends at LF or CRLF outside quotes. A field that begins with a quote runs to the closing one; "" inside is one
 * quote; delimiters and line ends inside belong to it. A quote elsewhere in a field is an ordinary byte. What cannot be
 * read is one bad row, never more: text after a closing quote spoils its row, and a quote that is not closed within
 * AB_CSV_ROW_BYTES_MAX bytes or before the end spoils only the line where its row starts.
 *
 * Threads: owner. Memory: fields_max views and one scratch buffer as long as the longest quoted row, at most
 * AB_CSV_ROW_BYTES_MAX.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_CSV_H
#define ANABRANCH_CLUSTER_COMMAND_CSV_H

#include "common/base/buffer.h"

#define AB_CSV_ROW_BYTES_MAX (1u << 20)
#define AB_CSV_FIELDS_MAX 1024u

struct ab_csv {
    uint8_t delimiter;
    struct ab_bytes *fields;  /* owned, AB_CSV_FIELDS_MAX */
    struct ab_buffer scratch; /* unescaped text of the row's quoted fields */
    bool is_in_rest;          /* the line taken last was too long: the rest of it comes next */
};

/* One row, borrowed from the window and the scanner until the next call. */
struct ab_csv_row {
    struct ab_bytes whole; /* as it stands, without its line end */
    const struct ab_bytes *fields;
    size_t fields_count;  /* as many as the row has, also past AB_CSV_FIELDS_MAX (then only those are in fields) */
    bool is_rest;         /* no row: more of a line that was too long, to be passed over */
    uint64_t lines_count; /* line ends it uses up: 1 + embedded ones; 0 when the rest of its line follows */
    size_t bytes;         /* of the window used up, line end included */
    const char *reason;   /* NULL = good; else why it is a bad row, a static string */
};

/* Sets up a scanner. */
void ab_csv_init(struct ab_csv *csv, uint8_t delimiter);
void ab_csv_fini(struct ab_csv *csv);

/* Takes the row at the front of the window. `is_last`: nothing follows the window. AB_AGAIN when more bytes are needed
 * (at most AB_CSV_ROW_BYTES_MAX + 2 in all), AB_END when the window is empty and the last. */
AB_MUST_USE ab_err ab_csv_next(struct ab_csv *csv, struct ab_bytes window, bool is_last, struct ab_csv_row *row);

#endif
