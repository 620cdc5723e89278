#include "common/log/recover.h"

enum { RECOVER_ALIGNMENT = 8 };

enum ab_recover_verdict ab_recover_classify(const struct ab_recover_facts *facts)
{
    bool is_whole = facts->valid_bytes == facts->file_bytes;
    if (facts->next_offset < facts->durable_offset) {
        return AB_RECOVER_CORRUPT;
    }
    if (is_whole) {
        return AB_RECOVER_CLEAN;
    }
    return facts->is_last_segment && !facts->has_valid_after ? AB_RECOVER_TORN : AB_RECOVER_CORRUPT;
}

uint64_t ab_recover_search_start(struct ab_bytes front, uint64_t position)
{
    struct ab_record_header header;
    bool is_readable = ab_record_header_decode(front, &header) == AB_OK;
    return position + (is_readable ? ab_record_bytes(&header) : RECOVER_ALIGNMENT);
}

void ab_recover_find(struct ab_recover_search *search, struct ab_bytes bytes)
{
    for (size_t at = 0; at + AB_RECORD_HEADER_BYTES <= bytes.bytes; at += RECOVER_ALIGNMENT) {
        struct ab_record_header header;
        struct ab_bytes here = ab_bytes_of(bytes.data + at, bytes.bytes - at);
        if (ab_record_header_decode(here, &header) == AB_OK && header.offset > search->offset_min &&
            header.partition == search->partition &&
            memcmp(header.cluster_id, search->cluster_id, sizeof(header.cluster_id)) == 0) {
            search->is_found = true;
            bool is_higher = header.offset > search->highest && header.offset <= search->offset_max;
            search->highest = is_higher ? header.offset : search->highest;
        }
    }
}
