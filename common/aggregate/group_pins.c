#include "common/aggregate/group_pins.h"

/* Beyond this many look-ups, or one for every few entries, walking is as good. */
#define LOOKUPS_MAX 4096u
#define ENTRIES_A_LOOKUP 4u

static void pin_init(struct ab_group_pin *pin, const struct ab_query_pin *from, const struct ab_group_store *store)
{
    const struct ab_group_layout *layout = &store->layout;
    pin->key = from->key;
    pin->first_word = layout->key_words[from->key];
    pin->words_count = layout->keys[from->key].type.kind == AB_TYPE_DECIMAL ? 2 : 1;
    pin->words = ab_new_array(uint64_t, (size_t)from->values_count * pin->words_count + 1);
    for (uint32_t v = 0; v < from->values_count; v++) {
        uint64_t *words = &pin->words[(size_t)pin->values_count * pin->words_count];
        pin->values_count += ab_group_store_value_words(store, from->key, &from->values[v], words);
    }
}

/* Panes between the bounds; 0 = too many to count. */
static uint64_t panes_count(const struct ab_group_pins *pins)
{
    if (!pins->store->layout.has_pane) {
        return 1;
    }
    ab_time_us width = 0;
    if (!pins->is_fixed || pins->pane_first == INT64_MIN ||
        __builtin_sub_overflow(pins->pane_last, pins->pane_first, &width)) {
        return 0;
    }
    uint64_t count = (uint64_t)(width / pins->pane_us) + 1;
    return count <= LOOKUPS_MAX ? count : 0;
}

static uint64_t lookups_count(const struct ab_group_pins *pins)
{
    if (pins->pins_count != pins->store->layout.keys_count) {
        return 0;
    }
    uint64_t count = panes_count(pins);
    for (uint32_t p = 0; p < pins->pins_count && count <= LOOKUPS_MAX; p++) {
        count *= pins->pins[p].values_count;
    }
    return count > LOOKUPS_MAX || count * ENTRIES_A_LOOKUP > pins->store->entries_count ? 0 : count;
}

void ab_group_pins_init(struct ab_group_pins *pins, const struct ab_query *query, const struct ab_group_store *store,
    ab_time_us pane_first, ab_time_us pane_last)
{
    int64_t pane_us = query->view->pane_us;
    *pins =
        (struct ab_group_pins){.store = store, .pane_first = pane_first, .pane_last = pane_last, .pane_us = pane_us};
    pins->is_fixed = query->view->pane.unit == AB_PERIOD_FIXED;
    pins->is_empty = store->layout.has_pane && pins->pane_first > pane_last;
    pins->pins = ab_new_array(struct ab_group_pin, query->pins_count + 1);
    for (uint32_t p = 0; p < query->pins_count; p++) {
        pin_init(&pins->pins[pins->pins_count++], &query->pins[p], store);
        pins->is_empty = pins->is_empty || pins->pins[p].values_count == 0;
    }
    pins->lookups_count = pins->is_empty ? 0 : lookups_count(pins);
}

void ab_group_pins_fini(struct ab_group_pins *pins)
{
    for (uint32_t p = 0; p < pins->pins_count; p++) {
        ab_delete(pins->pins[p].words);
    }
    ab_delete(pins->pins);
    *pins = (struct ab_group_pins){0};
}

/* Key words of the number-th combination of pane and pinned values. */
static void lookup_words(const struct ab_group_pins *pins, uint64_t number, uint64_t *words)
{
    memset(words, 0, pins->store->layout.words_count * sizeof *words);
    for (uint32_t p = 0; p < pins->pins_count; p++) {
        const struct ab_group_pin *pin = &pins->pins[p];
        const uint64_t *value = &pin->words[number % pin->values_count * pin->words_count];
        memcpy(&words[pin->first_word], value, pin->words_count * sizeof *words);
        number /= pin->values_count;
    }
    if (pins->store->layout.has_pane) {
        words[0] = (uint64_t)(pins->pane_first + (int64_t)number * pins->pane_us);
    }
}

static bool pin_holds(const struct ab_group_pin *pin, const struct ab_group_layout *layout, const uint64_t *words)
{
    if (ab_group_layout_is_null(layout, words, pin->key)) {
        return false; /* pins are values, never NULL */
    }
    for (uint32_t v = 0; v < pin->values_count; v++) {
        const uint64_t *value = &pin->words[(size_t)v * pin->words_count];
        if (value[0] == words[pin->first_word] && (pin->words_count == 1 || value[1] == words[pin->first_word + 1])) {
            return true;
        }
    }
    return false;
}

static bool entry_holds(const struct ab_group_pins *pins, size_t entry)
{
    const uint64_t *words = ab_group_store_words(pins->store, entry);
    ab_time_us pane = ab_group_store_pane(pins->store, words);
    if (pins->store->layout.has_pane && (pane < pins->pane_first || pane > pins->pane_last)) {
        return false;
    }
    for (uint32_t p = 0; p < pins->pins_count; p++) {
        if (!pin_holds(&pins->pins[p], &pins->store->layout, words)) {
            return false;
        }
    }
    return true;
}

bool ab_group_pins_next(struct ab_group_pins *pins, size_t *entry)
{
    if (pins->is_empty) {
        return false;
    }
    while (pins->lookups_count > 0 && pins->next < pins->lookups_count) {
        uint64_t words[AB_GROUP_WORDS_MAX];
        lookup_words(pins, pins->next++, words);
        if (ab_group_store_look_up(pins->store, words, entry)) {
            return true;
        }
    }
    while (pins->lookups_count == 0 && pins->next < pins->store->entries_count) {
        *entry = (size_t)pins->next++;
        if (entry_holds(pins, *entry)) {
            return true;
        }
    }
    return false;
}
