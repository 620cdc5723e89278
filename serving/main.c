#include "serving/daemon.h"

#include "common/base/memory.h"

int main(int argc, char **argv)
{
    ab_memory_return_large_pieces();
    return ab_serving_run(argc, argv);
}
