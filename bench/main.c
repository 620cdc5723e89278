#include "bench/verbs.h"

int main(int argc, char **argv)
{
    return ab_bench_run(argc, argv);
}
