#include "cluster/command/running.h"

#include "cluster/layout.h"
#include "common/base/json.h"

#include <signal.h>
#include <stdio.h>

static struct ab_process process_decode(const struct ab_json *entry)
{
    return (struct ab_process){.pid = ab_json_integer_or(ab_json_get(entry, "pid"), 0),
        .start_ticks = ab_json_u64_or(ab_json_get(entry, "pid_start_ticks"), 0)};
}

static void daemon_decode(const struct ab_json *entry, struct ab_running_daemon *daemon)
{
    daemon->process = process_decode(entry);
    daemon->crashes_count = ab_json_u64_or(ab_json_get(entry, "crashes"), 0);
    daemon->is_answering = ab_json_boolean_or(ab_json_get(entry, "answers"), false);
    (void)snprintf(daemon->address, sizeof daemon->address, "%s", ab_json_text_or(ab_json_get(entry, "address"), ""));
}

bool ab_running_read(const char *directory, struct ab_running *running)
{
    struct ab_json *value = NULL;
    char *path = ab_layout_path(directory, "run/endpoints.json");
    ab_err err = ab_layout_json_read(path, &value, NULL);
    ab_delete(path);
    *running = (struct ab_running){0};
    if (err != AB_OK) {
        return false;
    }
    running->controller = process_decode(ab_json_get(value, "controller"));
    daemon_decode(ab_json_get(value, "speed"), &running->speed);
    daemon_decode(ab_json_get(value, "serving"), &running->serving);
    ab_json_destroy(value);
    return ab_process_is_alive(&running->controller);
}

bool ab_running_is_any_alive(const struct ab_running *running)
{
    return ab_process_is_alive(&running->controller) || ab_process_is_alive(&running->serving.process) ||
           ab_process_is_alive(&running->speed.process);
}

bool ab_running_is_serving(const struct ab_running *running)
{
    return ab_process_is_alive(&running->serving.process) && running->serving.is_answering;
}

void ab_running_kill(const struct ab_running *running, ab_running_killed_fn on_killed)
{
    /* The controller first: it would start the others again. */
    const struct ab_process *processes[] = {&running->controller, &running->serving.process, &running->speed.process};
    for (size_t i = 0; i < sizeof processes / sizeof processes[0]; i++) {
        if (ab_process_is_alive(processes[i])) {
            on_killed(processes[i]->pid);
            ab_process_signal(processes[i], SIGKILL);
        }
    }
}
