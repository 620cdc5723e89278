#include "serving/daemon.h"

int main(int argc, char **argv)
{
    return ab_serving_run(argc, argv);
}
