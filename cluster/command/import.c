#include "cluster/command/command.h"

static ab_err import_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    (void)arguments;
    return ab_error_set(error, AB_UNSUPPORTED, "not here");
}
static const struct ab_option import_options[] = {{0}};
const struct ab_command ab_command_import = {
    .name = "import", .words = "", .summary = "", .options = import_options, .run = import_run};
