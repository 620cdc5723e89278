/* anabranch: the command. */
#include "cluster/command/command.h"

#include <signal.h>

int main(int argc, char **argv)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, and is told */
    return ab_command_main(argc, argv);
}
