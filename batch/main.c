#include "batch/program.h"

int main(int argc, char **argv)
{
    return ab_batch_program(argc, argv);
}
