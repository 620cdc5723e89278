"""anabranch-bench cluster with the smallest numbers: it kills a speed and a node under load, and what was acknowledged
is there once. What it measures is not judged: machines differ.
"""

import json

from harness import (
    check,
    check_equal,
    command,
    main,
    need_programs,
    need_zookeeper,
    processes_of,
    run,
    say,
)

WORDS = ["--seconds", "1", "--quiet", "1", "--failovers", "2", "--partitions", "3", "--rows", "1000", "--keys", "1000"]


def test(directory):
    result = run(
        [command("anabranch-bench"), "cluster", "--json", *WORDS],
        timeout=200,
        extra_environment={"TMPDIR": directory},
    )
    report = json.loads(result.out)
    say(json.dumps(report))
    check(not processes_of(directory), "nothing runs any more")
    rows, queries, failover = report["rows"], report["queries"], report["failover"]
    check(rows["acknowledged"] > 0, "rows were acknowledged")
    check_equal((rows["lost"], rows["duplicated"]), (0, 0), "rows lost and duplicated")
    check(queries["count"] > 0, "queries were asked")
    check_equal(failover["kills"], 2, "kills")
    for kind in ("after_kill_of_speed", "after_kill_of_node", "next_acknowledgement"):
        check(failover[kind]["count"] > 0, f"partitions measured {kind}")
    for name in ("one_machine", "several_nodes"):
        check(report[name]["ratio_to_limit"] > 0, f"ratio of {name}")
        check(report[name]["events_per_cpu_second"] > 0, f"events per CPU-second of {name}")
    check(report["coordination_a_failover"]["changes"] > 0, "a failover changes the coordination's tree")
    check("all" in report["coordination_a_partition_and_hour"], "operations of a quiet cluster")


if __name__ == "__main__":
    need_zookeeper()
    need_programs("anabranch", "anabranch-zookeeper", "anabranch-bench")
    main(test)
