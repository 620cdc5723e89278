#include "bench/report.h"

#include "common/base/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PROC_BYTES_MAX (1u << 20)

/* /proc files have no size: reads until the end. */
static void proc_read(const char *path, struct ab_buffer *out)
{
    int fd = -1;
    struct ab_error error = {0};
    if (ab_file_open(path, O_RDONLY, 0, &fd, &error) != AB_OK) {
        return;
    }
    char chunk[4096];
    ssize_t count = 0;
    while (out->bytes < PROC_BYTES_MAX && (count = read(fd, chunk, sizeof chunk)) > 0) {
        ab_buffer_put(out, chunk, (size_t)count);
    }
    ab_file_close(&fd);
}

/* The rest of the line after "<field>...:". */
static void proc_field(const char *path, const char *field, char *text, size_t bytes)
{
    struct ab_buffer content = {0};
    proc_read(path, &content);
    const char *at = strstr(ab_buffer_text(&content), field);
    const char *colon = at == NULL ? NULL : strchr(at, ':');
    text[0] = '\0';
    if (colon != NULL) {
        size_t length = strcspn(colon + 2, "\n");
        snprintf(text, bytes, "%.*s", (int)length, colon + 2);
    }
    ab_buffer_fini(&content);
}

struct ab_json *ab_report_create(const char *verb)
{
    char model[128];
    char memory[64];
    struct utsname system;
    struct ab_json *report = ab_json_object();
    struct ab_json *machine = ab_json_object();
    proc_field("/proc/cpuinfo", "model name", model, sizeof model);
    proc_field("/proc/meminfo", "MemTotal", memory, sizeof memory);
    (void)uname(&system); /* cannot fail with a valid address */
    ab_json_set(machine, "processors", ab_json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    ab_json_set(machine, "model", ab_json_text(model));
    ab_json_set(machine, "memory", ab_json_text(memory));
    ab_json_set(machine, "kernel", ab_json_text(system.release));
    ab_json_set(report, "bench", ab_json_text(verb));
    ab_json_set(report, "version", ab_json_text(AB_VERSION));
    ab_json_set(report, "machine", machine);
    return report;
}

void ab_report_latency(struct ab_json *report, const char *name, const struct ab_histogram *latency_us)
{
    struct ab_json *figures = ab_json_object();
    ab_json_set(figures, "count", ab_json_integer((int64_t)latency_us->count));
    ab_json_set(figures, "p50_us", ab_json_integer((int64_t)ab_histogram_quantile(latency_us, 0.5)));
    ab_json_set(figures, "p99_us", ab_json_integer((int64_t)ab_histogram_quantile(latency_us, 0.99)));
    ab_json_set(figures, "p999_us", ab_json_integer((int64_t)ab_histogram_quantile(latency_us, 0.999)));
    ab_json_set(figures, "max_us", ab_json_integer((int64_t)latency_us->max));
    ab_json_set(report, name, figures);
}

static void print_member(const char *key, const struct ab_json *value, int depth)
{
    if (ab_json_is_object(value)) {
        printf("%*s%s\n", 2 * depth, "", key);
        for (size_t i = 0; i < ab_json_count(value); i++) {
            const char *name = ab_json_key_at(value, i);
            print_member(name, ab_json_get(value, name), depth + 1);
        }
        return;
    }
    int width = 34 - 2 * depth;
    if (ab_json_is_real(value)) {
        double number = ab_json_real_or(value, 0);
        printf(number >= 1000 ? "%*s%-*s %.0f\n" : "%*s%-*s %.4g\n", 2 * depth, "", width, key, number);
    } else if (ab_json_is_text(value)) {
        printf("%*s%-*s %s\n", 2 * depth, "", width, key, ab_json_text_or(value, ""));
    } else {
        printf("%*s%-*s %" PRId64 "\n", 2 * depth, "", width, key, ab_json_integer_or(value, 0));
    }
}

void ab_report_print(struct ab_json *report, bool as_json)
{
    if (as_json) {
        struct ab_buffer text = {0};
        ab_json_write(report, 2, &text);
        printf("%s\n", ab_buffer_text(&text));
        ab_buffer_fini(&text);
    } else {
        for (size_t i = 0; i < ab_json_count(report); i++) {
            const char *key = ab_json_key_at(report, i);
            print_member(key, ab_json_get(report, key), 0);
        }
    }
    ab_json_destroy(report);
}

double ab_report_process_cpu_seconds(int64_t pid)
{
    char path[64];
    struct ab_buffer content = {0};
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    proc_read(path, &content);
    const char *after_name = strrchr(ab_buffer_text(&content), ')');
    uint64_t user = 0;
    uint64_t system = 0;
    if (after_name == NULL || sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
                                  &user, &system) != 2) {
        user = 0;
        system = 0;
    }
    ab_buffer_fini(&content);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}
