#include "common/config/config.h"

#include "common/base/buffer.h"
#include "common/base/file.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <unistd.h>

#define FILE_BYTES_MAX ((size_t)64 * 1024)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)
#define THREADS_MAX 256
#define ADDRESS_DEFAULT "tcp://127.0.0.1:*"

static const cyaml_schema_field_t listen_fields[] = {
    CYAML_FIELD_STRING("speed", CYAML_FLAG_OPTIONAL, struct ab_config_listen, speed, 0),
    CYAML_FIELD_STRING("serving", CYAML_FLAG_OPTIONAL, struct ab_config_listen, serving, 0),
    CYAML_FIELD_STRING("controller", CYAML_FLAG_OPTIONAL, struct ab_config_listen, controller, 0),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t memory_fields[] = {
    CYAML_FIELD_UINT("speed", CYAML_FLAG_OPTIONAL, struct ab_config_memory, speed),
    CYAML_FIELD_UINT("serving", CYAML_FLAG_OPTIONAL, struct ab_config_memory, serving),
    CYAML_FIELD_UINT("controller", CYAML_FLAG_OPTIONAL, struct ab_config_memory, controller),
    CYAML_FIELD_UINT("batch", CYAML_FLAG_OPTIONAL, struct ab_config_memory, batch),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t config_fields[] = {
    CYAML_FIELD_STRING("data", CYAML_FLAG_DEFAULT, struct ab_config, data, 1),
    CYAML_FIELD_MAPPING("listen", CYAML_FLAG_OPTIONAL, struct ab_config, listen, listen_fields),
    CYAML_FIELD_MAPPING("memory_bytes", CYAML_FLAG_OPTIONAL, struct ab_config, memory_bytes, memory_fields),
    CYAML_FIELD_UINT("workers", CYAML_FLAG_OPTIONAL, struct ab_config, workers),
    CYAML_FIELD_UINT("query_threads", CYAML_FLAG_OPTIONAL, struct ab_config, query_threads),
    CYAML_FIELD_UINT("flush_interval_ms", CYAML_FLAG_OPTIONAL, struct ab_config, flush_interval_ms),
    CYAML_FIELD_UINT("segment_bytes", CYAML_FLAG_OPTIONAL, struct ab_config, segment_bytes),
    CYAML_FIELD_UINT("retained_versions", CYAML_FLAG_OPTIONAL, struct ab_config, retained_versions),
    CYAML_FIELD_UINT("disk_watermark_percent", CYAML_FLAG_OPTIONAL, struct ab_config, disk_watermark_percent),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t config_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct ab_config, config_fields),
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
    default_u32(&config->workers, threads);
    default_u32(&config->query_threads, threads);
    default_u32(&config->flush_interval_ms, 60000);
    default_u64(&config->segment_bytes, 256 * MIB);
    default_u32(&config->retained_versions, 3);
    default_u32(&config->disk_watermark_percent, 95);
}

static bool is_address(const char *text)
{
    return (strncmp(text, "tcp://", 6) == 0 && text[6] != '\0') || (strncmp(text, "ipc://", 6) == 0 && text[6] != '\0');
}

ab_err ab_config_validate(const struct ab_config *config, struct ab_error *error)
{
    const struct {
        const char *key;
        uint64_t value;
        uint64_t low;
        uint64_t high;
    } numbers[] = {
        {"memory_bytes.speed", config->memory_bytes.speed, 64 * MIB, 16 * TIB},
        {"memory_bytes.serving", config->memory_bytes.serving, 64 * MIB, 16 * TIB},
        {"memory_bytes.controller", config->memory_bytes.controller, 16 * MIB, 16 * TIB},
        {"memory_bytes.batch", config->memory_bytes.batch, 64 * MIB, 16 * TIB},
        {"workers", config->workers, 1, THREADS_MAX},
        {"query_threads", config->query_threads, 1, THREADS_MAX},
        {"flush_interval_ms", config->flush_interval_ms, 10, 3600000},
        {"segment_bytes", config->segment_bytes, MIB, 4 * GIB},
        {"retained_versions", config->retained_versions, 1, 1000},
        {"disk_watermark_percent", config->disk_watermark_percent, 1, 99},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (numbers[i].value < numbers[i].low || numbers[i].value > numbers[i].high) {
            return ab_error_set(error, AB_INVALID, "%s is %llu; it must be from %llu to %llu", numbers[i].key,
                (unsigned long long)numbers[i].value, (unsigned long long)numbers[i].low,
                (unsigned long long)numbers[i].high);
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

ab_err ab_config_decode(struct ab_bytes text, struct ab_config *config, struct ab_error *error)
{
    struct ab_buffer messages;
    ab_buffer_init(&messages, NULL, FILE_BYTES_MAX);
    cyaml_config_t library = library_config(&messages);
    cyaml_data_t *loaded = NULL;
    const uint8_t *data = text.bytes == 0 ? (const uint8_t *)"" : text.data;
    cyaml_err_t result = cyaml_load_data(data, text.bytes, &library, &config_schema, &loaded, NULL);
    ab_err err = AB_OK;
    if (result != CYAML_OK || loaded == NULL) {
        const char *detail = messages.bytes > 0 ? ab_buffer_text(&messages) : "the file is empty";
        err = ab_error_set(error, AB_INVALID, "%s: %s", cyaml_strerror(result), detail);
    } else {
        struct ab_config read = *(struct ab_config *)loaded;
        ab_config_defaults(&read);
        err = ab_config_validate(&read, error);
        if (err == AB_OK) {
            *config = read;
        }
    }
    if (loaded != NULL) {
        (void)cyaml_free(&library, &config_schema, loaded, 0); /* fails only on a bad schema */
    }
    ab_buffer_fini(&messages);
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
    struct ab_buffer messages;
    ab_buffer_init(&messages, NULL, FILE_BYTES_MAX);
    cyaml_config_t library = library_config(&messages);
    char *text = NULL;
    size_t bytes = 0;
    cyaml_err_t result = cyaml_save_data(&text, &bytes, &library, &config_schema, config, 0);
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
