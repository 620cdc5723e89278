#include "common/config/config.h"

#include "common/base/buffer.h"
#include "common/base/decimal.h"
#include "common/base/file.h"

#include <cyaml/cyaml.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#define FILE_BYTES_MAX ((size_t)64 * 1024)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)
#define THREADS_MAX 256
#define ADDRESS_DEFAULT "tcp://127.0.0.1:*"

/* Numbers are read as text first: libcyaml takes "3GB" for 3 and "010" for 8. */
#define NUMBER_TEXT_BYTES 24

struct file_memory {
    char speed[NUMBER_TEXT_BYTES];
    char serving[NUMBER_TEXT_BYTES];
    char controller[NUMBER_TEXT_BYTES];
    char batch[NUMBER_TEXT_BYTES];
};

struct file_cluster {
    char coordination[AB_CONFIG_PATH_BYTES];
    char credential[AB_CONFIG_PATH_BYTES];
    char rack[AB_CONFIG_RACK_BYTES];
    char node[NUMBER_TEXT_BYTES];
    char weight[NUMBER_TEXT_BYTES];
    char session_timeout_ms[NUMBER_TEXT_BYTES];
};

/* The file as it stands: empty text = absent. */
struct config_file {
    char data[AB_CONFIG_PATH_BYTES];
    struct ab_config_listen listen;
    struct file_memory memory_bytes;
    struct file_cluster cluster;
    char workers[NUMBER_TEXT_BYTES];
    char query_threads[NUMBER_TEXT_BYTES];
    char flush_interval_ms[NUMBER_TEXT_BYTES];
    char segment_bytes[NUMBER_TEXT_BYTES];
    char retained_versions[NUMBER_TEXT_BYTES];
    char disk_watermark_percent[NUMBER_TEXT_BYTES];
    char scrub_bytes_per_second[NUMBER_TEXT_BYTES];
};

/* Where a number stands in the file and in struct ab_config, and its bounds. */
struct number_key {
    const char *key;
    size_t file_at;
    size_t config_at;
    size_t bytes; /* 4 or 8 in struct ab_config */
    uint64_t low;
    uint64_t high;
};

#define NUMBER_KEY(name, low, high)                                                                                    \
    {                                                                                                                  \
#name, offsetof(struct config_file, name), offsetof(struct ab_config, name),                                   \
            sizeof(((struct ab_config *)NULL)->name), low, high                                                        \
    }

static const struct number_key number_keys[] = {
    NUMBER_KEY(memory_bytes.speed, 64 * MIB, 16 * TIB),
    NUMBER_KEY(memory_bytes.serving, 64 * MIB, 16 * TIB),
    NUMBER_KEY(memory_bytes.controller, 16 * MIB, 16 * TIB),
    NUMBER_KEY(memory_bytes.batch, 64 * MIB, 16 * TIB),
    NUMBER_KEY(cluster.node, 0, 4095),
    NUMBER_KEY(cluster.weight, 1, 1024),
    NUMBER_KEY(cluster.session_timeout_ms, 1000, 60000),
    NUMBER_KEY(workers, 1, THREADS_MAX),
    NUMBER_KEY(query_threads, 1, THREADS_MAX),
    NUMBER_KEY(flush_interval_ms, 10, 3600000),
    NUMBER_KEY(segment_bytes, MIB, 4 * GIB),
    NUMBER_KEY(retained_versions, 1, 1000),
    NUMBER_KEY(disk_watermark_percent, 1, 99),
    NUMBER_KEY(scrub_bytes_per_second, 1, 4 * GIB),
};
#define NUMBER_KEYS (sizeof(number_keys) / sizeof(number_keys[0]))

#define OPTIONAL_TEXT(structure, name) CYAML_FIELD_STRING(#name, CYAML_FLAG_OPTIONAL, structure, name, 0)

static const cyaml_schema_field_t listen_fields[] = {
    OPTIONAL_TEXT(struct ab_config_listen, speed),
    OPTIONAL_TEXT(struct ab_config_listen, serving),
    OPTIONAL_TEXT(struct ab_config_listen, controller),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t memory_fields[] = {
    OPTIONAL_TEXT(struct file_memory, speed),
    OPTIONAL_TEXT(struct file_memory, serving),
    OPTIONAL_TEXT(struct file_memory, controller),
    OPTIONAL_TEXT(struct file_memory, batch),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t cluster_fields[] = {
    OPTIONAL_TEXT(struct file_cluster, coordination),
    OPTIONAL_TEXT(struct file_cluster, credential),
    OPTIONAL_TEXT(struct file_cluster, rack),
    OPTIONAL_TEXT(struct file_cluster, node),
    OPTIONAL_TEXT(struct file_cluster, weight),
    OPTIONAL_TEXT(struct file_cluster, session_timeout_ms),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t config_fields[] = {
    CYAML_FIELD_STRING("data", CYAML_FLAG_DEFAULT, struct config_file, data, 1),
    CYAML_FIELD_MAPPING("listen", CYAML_FLAG_OPTIONAL, struct config_file, listen, listen_fields),
    CYAML_FIELD_MAPPING("memory_bytes", CYAML_FLAG_OPTIONAL, struct config_file, memory_bytes, memory_fields),
    CYAML_FIELD_MAPPING("cluster", CYAML_FLAG_OPTIONAL, struct config_file, cluster, cluster_fields),
    OPTIONAL_TEXT(struct config_file, workers),
    OPTIONAL_TEXT(struct config_file, query_threads),
    OPTIONAL_TEXT(struct config_file, flush_interval_ms),
    OPTIONAL_TEXT(struct config_file, segment_bytes),
    OPTIONAL_TEXT(struct config_file, retained_versions),
    OPTIONAL_TEXT(struct config_file, disk_watermark_percent),
    OPTIONAL_TEXT(struct config_file, scrub_bytes_per_second),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t config_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config_file, config_fields),
};

/* Collects what libcyaml says of an error: the reason first, then where, innermost first. */
static void collect_message(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    struct ab_buffer *out = context;
    char line[512];
    if (level != CYAML_LOG_ERROR) {
        return;
    }
    int length = vsnprintf(line, sizeof(line), format, arguments);
    const char *begin = line;
    while (*begin == ' ') {
        begin++;
    }
    size_t bytes = strlen(begin);
    while (bytes > 0 && (begin[bytes - 1] == '\n' || begin[bytes - 1] == ':')) {
        bytes--;
    }
    if (length > 0 && bytes > 0 && strncmp(begin, "Load: Backtrace", 15) != 0) {
        ab_buffer_put_format(out, "%s%.*s", out->bytes == 0 ? "" : "; ", (int)bytes, begin);
    }
}

static cyaml_config_t library_config(struct ab_buffer *messages)
{
    return (cyaml_config_t){
        .log_fn = collect_message,
        .log_ctx = messages,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS | CYAML_CFG_STYLE_BLOCK,
    };
}

static uint64_t machine_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : GIB;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static void default_text(char text[AB_CONFIG_ADDRESS_BYTES])
{
    if (text[0] == '\0') {
        (void)snprintf(text, AB_CONFIG_ADDRESS_BYTES, "%s", ADDRESS_DEFAULT);
    }
}

static void default_u32(uint32_t *number, uint32_t value)
{
    *number = *number == 0 ? value : *number;
}

static void default_u64(uint64_t *number, uint64_t value)
{
    *number = *number == 0 ? value : *number;
}

void ab_config_defaults(struct ab_config *config)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t threads = (uint32_t)clamp(processors > 0 ? (uint64_t)processors : 1, 1, THREADS_MAX);
    uint64_t memory = machine_memory_bytes();
    default_text(config->listen.speed);
    default_text(config->listen.serving);
    default_text(config->listen.controller);
    default_u64(&config->memory_bytes.speed, clamp(memory / 4, 256 * MIB, 16 * GIB));
    default_u64(&config->memory_bytes.serving, clamp(memory / 8, 256 * MIB, 16 * GIB));
    default_u64(&config->memory_bytes.controller, 128 * MIB);
    default_u64(&config->memory_bytes.batch, clamp(memory / 4, 256 * MIB, 16 * GIB));
    default_u32(&config->cluster.weight, 1);
    default_u32(&config->cluster.session_timeout_ms, 6000);
    default_u32(&config->workers, threads);
    default_u32(&config->query_threads, threads);
    default_u32(&config->flush_interval_ms, 60000);
    default_u64(&config->segment_bytes, 256 * MIB);
    default_u32(&config->retained_versions, 3);
    default_u32(&config->disk_watermark_percent, 95);
    default_u64(&config->scrub_bytes_per_second, MIB);
}

static bool is_address(const char *text)
{
    return (strncmp(text, "tcp://", 6) == 0 && text[6] != '\0') || (strncmp(text, "ipc://", 6) == 0 && text[6] != '\0');
}

static uint64_t number_get(const struct ab_config *config, const struct number_key *key)
{
    const uint8_t *at = (const uint8_t *)config + key->config_at;
    uint32_t narrow;
    uint64_t wide;
    if (key->bytes == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, at, sizeof(wide));
    return wide;
}

static void number_set(struct ab_config *config, const struct number_key *key, uint64_t value)
{
    uint8_t *at = (uint8_t *)config + key->config_at;
    uint32_t narrow = (uint32_t)value;
    memcpy(at, key->bytes == sizeof(narrow) ? (void *)&narrow : (void *)&value, key->bytes);
}

static ab_err number_refuse(const struct number_key *key, const char *text, struct ab_error *error)
{
    return ab_error_set(error, AB_INVALID, "%s is '%s'; expected a whole number from %llu to %llu", key->key, text,
        (unsigned long long)key->low, (unsigned long long)key->high);
}

ab_err ab_config_validate(const struct ab_config *config, struct ab_error *error)
{
    for (size_t i = 0; i < NUMBER_KEYS; i++) {
        uint64_t value = number_get(config, &number_keys[i]);
        if (value < number_keys[i].low || value > number_keys[i].high) {
            char text[NUMBER_TEXT_BYTES];
            (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
            return number_refuse(&number_keys[i], text, error);
        }
    }
    const char *addresses[][2] = {{"listen.speed", config->listen.speed}, {"listen.serving", config->listen.serving},
        {"listen.controller", config->listen.controller}};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        if (!is_address(addresses[i][1])) {
            return ab_error_set(error, AB_INVALID, "%s is '%s'; expected tcp://host:port or ipc://path",
                addresses[i][0], addresses[i][1]);
        }
    }
    return config->data[0] != '\0' ? AB_OK : ab_error_set(error, AB_INVALID, "data is empty");
}

/* Turns the file's texts into values; numbers that are absent or 0 stay 0. */
static ab_err file_decode(const struct config_file *file, struct ab_config *config, struct ab_error *error)
{
    memcpy(config->data, file->data, sizeof(config->data));
    config->listen = file->listen;
    memcpy(config->cluster.coordination, file->cluster.coordination, sizeof(config->cluster.coordination));
    memcpy(config->cluster.credential, file->cluster.credential, sizeof(config->cluster.credential));
    memcpy(config->cluster.rack, file->cluster.rack, sizeof(config->cluster.rack));
    for (size_t i = 0; i < NUMBER_KEYS; i++) {
        const char *text = (const char *)file + number_keys[i].file_at;
        int64_t value = 0;
        bool is_number = text[0] == '\0' || ab_bigint_parse(ab_bytes_of_text(text), &value) == AB_OK;
        if (!is_number || value < 0 || (uint64_t)value > number_keys[i].high) {
            return number_refuse(&number_keys[i], text, error);
        }
        number_set(config, &number_keys[i], (uint64_t)value);
    }
    ab_config_defaults(config);
    return ab_config_validate(config, error);
}

ab_err ab_config_decode(struct ab_bytes text, struct ab_config *config, struct ab_error *error)
{
    struct ab_buffer messages;
    ab_buffer_init(&messages, NULL, FILE_BYTES_MAX);
    cyaml_config_t library = library_config(&messages);
    cyaml_data_t *loaded = NULL;
    const uint8_t *data = text.bytes == 0 ? (const uint8_t *)"" : text.data;
    cyaml_err_t result = cyaml_load_data(data, text.bytes, &library, &config_schema, &loaded, NULL);
    struct ab_config read = {0};
    ab_err err = AB_OK;
    if (result != CYAML_OK) {
        err = ab_error_set(error, AB_INVALID, "%s: %s", cyaml_strerror(result), ab_buffer_text(&messages));
    } else if (loaded == NULL) {
        err = ab_error_set(error, AB_INVALID, "the file is empty");
    } else {
        err = file_decode(loaded, &read, error);
    }
    if (loaded != NULL) {
        (void)cyaml_free(&library, &config_schema, loaded, 0); /* fails only on a bad schema */
    }
    ab_buffer_fini(&messages);
    if (err == AB_OK) {
        *config = read;
    }
    return err;
}

ab_err ab_config_load(const char *path, struct ab_config *config, struct ab_error *error)
{
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, FILE_BYTES_MAX);
    ab_err err = ab_file_read_all(path, &text, error);
    if (err == AB_OK) {
        err = ab_config_decode(ab_buffer_view(&text), config, error);
        if (err != AB_OK) {
            err = ab_error_wrap(error, err, "read %s", path);
        }
    }
    ab_buffer_fini(&text);
    return err;
}

ab_err ab_config_write(const char *path, const struct ab_config *config, struct ab_error *error)
{
    AB_TRY(ab_config_validate(config, error));
    struct config_file file = {.listen = config->listen};
    memcpy(file.data, config->data, sizeof(file.data));
    memcpy(file.cluster.coordination, config->cluster.coordination, sizeof(file.cluster.coordination));
    memcpy(file.cluster.credential, config->cluster.credential, sizeof(file.cluster.credential));
    memcpy(file.cluster.rack, config->cluster.rack, sizeof(file.cluster.rack));
    for (size_t i = 0; i < NUMBER_KEYS; i++) {
        char *text_at = (char *)&file + number_keys[i].file_at;
        unsigned long long value = number_get(config, &number_keys[i]);
        (void)snprintf(text_at, NUMBER_TEXT_BYTES, "%llu", value);
    }
    struct ab_buffer messages;
    ab_buffer_init(&messages, NULL, FILE_BYTES_MAX);
    cyaml_config_t library = library_config(&messages);
    char *text = NULL;
    size_t bytes = 0;
    cyaml_err_t result = cyaml_save_data(&text, &bytes, &library, &config_schema, &file, 0);
    ab_err err = AB_OK;
    if (result != CYAML_OK) {
        err = ab_error_set(error, AB_INVALID, "%s: %s", cyaml_strerror(result), ab_buffer_text(&messages));
    } else {
        err = ab_file_replace(path, ab_bytes_of(text, bytes), 0600, error);
        (void)library.mem_fn(library.mem_ctx, text, 0);
    }
    ab_buffer_fini(&messages);
    return err;
}
