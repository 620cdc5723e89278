#include "cluster/command/csv.h"

void ab_csv_init(struct ab_csv *csv, uint8_t delimiter)
{
    *csv = (struct ab_csv){.delimiter = delimiter};
    csv->fields = ab_new_array(struct ab_bytes, AB_CSV_FIELDS_MAX);
    ab_buffer_init(&csv->scratch, NULL, AB_CSV_ROW_BYTES_MAX + 64);
}

void ab_csv_fini(struct ab_csv *csv)
{
    ab_delete(csv->fields);
    csv->fields = NULL;
    ab_buffer_fini(&csv->scratch);
}

/* The first LF in [at, end), or NULL. */
static const uint8_t *line_end(const uint8_t *at, const uint8_t *end)
{
    return at == end ? NULL : memchr(at, '\n', (size_t)(end - at));
}

static void field_add(struct ab_csv *csv, struct ab_csv_row *row, const uint8_t *data, size_t bytes)
{
    if (row->fields_count < AB_CSV_FIELDS_MAX) {
        csv->fields[row->fields_count] = ab_bytes_of(data, bytes);
    }
    row->fields_count++;
}

/* Splits a row that has no quote at all. */
static void split_plain(struct ab_csv *csv, struct ab_csv_row *row)
{
    const uint8_t *at = row->whole.data;
    const uint8_t *end = at + row->whole.bytes;
    const uint8_t delimiter = csv->delimiter;
    const uint8_t *start = at;
    for (; at < end; at++) {
        if (*at == delimiter) {
            field_add(csv, row, start, (size_t)(at - start));
            start = at + 1;
        }
    }
    field_add(csv, row, start, (size_t)(end - start));
}

/* Copies the quoted field that starts after `at` (its opening quote) into the scratch buffer; returns the byte after
 * the closing quote. The row was found whole, so the closing quote is there. */
static const uint8_t *unescape(struct ab_csv *csv, struct ab_csv_row *row, const uint8_t *at, const uint8_t *end)
{
    size_t begin = csv->scratch.bytes;
    at++;
    for (;;) {
        const uint8_t *quote = memchr(at, '"', (size_t)(end - at));
        if (quote == NULL) {
            quote = end;
        }
        ab_buffer_put(&csv->scratch, at, (size_t)(quote - at));
        if (quote + 1 < end && quote[1] == '"') {
            ab_buffer_put_u8(&csv->scratch, '"');
            at = quote + 2;
            continue;
        }
        field_add(csv, row, csv->scratch.data + begin, csv->scratch.bytes - begin);
        return quote < end ? quote + 1 : end;
    }
}

/* Splits a row with quotes. The scratch buffer has room for the whole row beforehand, so views into it stay. */
static void split_quoted(struct ab_csv *csv, struct ab_csv_row *row)
{
    const uint8_t *at = row->whole.data;
    const uint8_t *end = at + row->whole.bytes;
    ab_buffer_clear(&csv->scratch);
    if (ab_buffer_extend(&csv->scratch, row->whole.bytes + 1) == NULL) {
        row->reason = "the row is longer than 1 MiB";
        return;
    }
    ab_buffer_clear(&csv->scratch);
    for (;;) {
        if (at < end && *at == '"') {
            at = unescape(csv, row, at, end);
            if (at < end && *at != csv->delimiter) {
                row->reason = "text after a closing quote";
                return;
            }
        } else {
            const uint8_t *stop = at == end ? NULL : memchr(at, csv->delimiter, (size_t)(end - at));
            stop = stop == NULL ? end : stop;
            field_add(csv, row, at, (size_t)(stop - at));
            at = stop;
        }
        if (at == end) {
            return;
        }
        at++; /* the delimiter */
    }
}

/* Where the row that starts at `at` and has a quote ends: its LF, or `end` when no LF follows, or NULL inside an open
 * quote. */
static const uint8_t *quoted_row_end(const struct ab_csv *csv, const uint8_t *at, const uint8_t *end)
{
    for (;;) {                           /* at the start of a field */
        while (at < end && *at == '"') { /* the second time round it is the second half of "" */
            at = memchr(at + 1, '"', (size_t)(end - at - 1));
            if (at == NULL) {
                return NULL;
            }
            at++;
        }
        while (at < end && *at != csv->delimiter && *at != '\n') {
            at++;
        }
        if (at == end || *at == '\n') {
            return at;
        }
        at++;
    }
}

static uint64_t count_lines(struct ab_bytes bytes)
{
    uint64_t count = 0;
    const uint8_t *end = bytes.data + bytes.bytes;
    for (const uint8_t *at = line_end(bytes.data, end); at != NULL; at = line_end(at + 1, end)) {
        count++;
    }
    return count;
}

/* Fills row->whole and row->bytes for a row in [data, stop), stop being its LF or the end of the input. */
static void row_take(struct ab_csv_row *row, const uint8_t *data, const uint8_t *stop, const uint8_t *end)
{
    size_t bytes = (size_t)(stop - data);
    row->bytes = bytes + (stop < end);
    if (bytes > 0 && data[bytes - 1] == '\r') {
        bytes--;
    }
    row->whole = ab_bytes_of(data, bytes);
}

/* The first physical line alone becomes a bad row. */
static void row_spoil(struct ab_csv_row *row, struct ab_bytes window, const char *reason)
{
    const uint8_t *end = window.data + window.bytes;
    const uint8_t *stop = line_end(window.data, end);
    if (stop == NULL) {
        stop = end;
    }
    row_take(row, window.data, stop, end);
    row->lines_count = 1;
    row->fields_count = 0;
    row->reason = reason;
}

/* Passes over what is left of a line that was too long. */
static void rest_take(struct ab_csv *csv, struct ab_bytes window, struct ab_csv_row *row)
{
    const uint8_t *stop = line_end(window.data, window.data + window.bytes);
    row->is_rest = true;
    row->bytes = stop == NULL ? window.bytes : (size_t)(stop - window.data) + 1;
    row->lines_count = stop != NULL;
    csv->is_in_rest = stop == NULL;
}

/* Finds and splits the row at the front; AB_AGAIN when more bytes are needed. */
static ab_err row_find(struct ab_csv *csv, struct ab_bytes window, bool is_last, struct ab_csv_row *row)
{
    const uint8_t *end = window.data + window.bytes;
    const uint8_t *stop = line_end(window.data, end);
    if (stop == NULL && !is_last && window.bytes <= AB_CSV_ROW_BYTES_MAX) {
        return AB_AGAIN;
    }
    const uint8_t *line_stop = stop == NULL ? end : stop;
    if (memchr(window.data, '"', (size_t)(line_stop - window.data)) == NULL) {
        row_take(row, window.data, line_stop, end);
        if (row->whole.bytes > AB_CSV_ROW_BYTES_MAX) {
            row->reason = "the row is longer than 1 MiB";
        } else {
            split_plain(csv, row);
        }
        return AB_OK;
    }
    stop = quoted_row_end(csv, window.data, end);
    if ((stop == NULL || stop == end) && !is_last && window.bytes <= AB_CSV_ROW_BYTES_MAX) {
        return AB_AGAIN;
    }
    if (stop == NULL) {
        row_spoil(row, window, "a quote is not closed");
        return AB_OK;
    }
    row_take(row, window.data, stop, end);
    if (row->whole.bytes > AB_CSV_ROW_BYTES_MAX) {
        row_spoil(row, window, "the row is longer than 1 MiB");
        return AB_OK;
    }
    row->lines_count = 1 + count_lines(row->whole);
    split_quoted(csv, row);
    return AB_OK;
}

ab_err ab_csv_next(struct ab_csv *csv, struct ab_bytes window, bool is_last, struct ab_csv_row *row)
{
    if (window.bytes == 0) {
        return is_last ? AB_END : AB_AGAIN;
    }
    *row = (struct ab_csv_row){.fields = csv->fields, .lines_count = 1};
    if (csv->is_in_rest) {
        rest_take(csv, window, row);
        return AB_OK;
    }
    AB_TRY(row_find(csv, window, is_last, row));
    if (!is_last && window.data[row->bytes - 1] != '\n') {
        csv->is_in_rest = true;
        row->lines_count = 0;
    }
    return AB_OK;
}
