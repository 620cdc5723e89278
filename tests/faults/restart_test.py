#!/usr/bin/env python3
"""restart_test: an import or a query that begins while a daemon is dead is done as soon as the daemon is back."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import SLOW, Cluster, check, check_equal, main, need_programs, say, wait_until, write_file  # noqa: E402

CATALOG = """CREATE STREAM s (k TEXT NOT NULL, v BIGINT, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k));
CREATE VIEW a AS SELECT k, count(*) AS n FROM s GROUP BY k;
"""
ROWS = 100
PATIENCE = 10  # seconds; a lost question would be noticed after 30
PAUSES = (0, 0.02, 0.1)  # between the death and the command, as the controller comes to know of it


def kill(cluster, program):
    for pid in cluster.pids(program):
        os.kill(pid, signal.SIGKILL)


def test(directory):
    count = 0
    with Cluster(os.path.join(directory, "cluster"), CATALOG, partitions=2, workers=1) as cluster:
        for number in range(12):
            program = ("anabranch-serving", "anabranch-speed")[number % 2]
            is_import = number % 4 < 2
            kill(cluster, program)
            time.sleep(PAUSES[number % 3])
            began = time.monotonic()
            if is_import:
                rows = "".join(f"k{i},{i},2024-01-01 00:00:00\n" for i in range(ROWS))
                path = write_file(os.path.join(directory, f"{number}.csv"), "k,v,t\n" + rows)
                check_equal(cluster.load("s", path), (ROWS, 0, 0), "rows of the import")
                count += ROWS
            else:
                answer = cluster.query("SELECT k, n FROM a")
                check_equal(sum(int(row["n"]) for row in answer), count, "rows of the view")
            took = time.monotonic() - began
            what = f"{'import' if is_import else 'query'} after the death of {program}"
            check(took < PATIENCE * SLOW, f"{what} took {took:.1f} s")
            say(f"{what}: {took:.2f} s")
            wait_until(lambda wanted=program: len(cluster.pids(wanted)) == 1, f"{program} is back")


if __name__ == "__main__":
    need_programs("anabranch")
    main(test)
