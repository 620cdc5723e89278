#!/usr/bin/env python3
"""trimmed_letters_test: a dead letter stays listed when the log segment that held it has gone: history has it."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import Cluster, check, check_equal, main, need_programs, say, write_file  # noqa: E402

CATALOG = """CREATE STREAM s (
  k TEXT NOT NULL, v BIGINT CHECK (v < 100000), t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k));
CREATE VIEW a AS SELECT k, count(*) AS n FROM s GROUP BY k;
"""
ROWS, WORSE = 60000, 1000  # every WORSE-th row breaks its stream's rule
SEGMENT_BYTES = 1 << 20


def with_small_segments(cluster):
    """The cluster again, with segments that go soon."""
    cluster.down()
    path = os.path.join(cluster.directory, "config", "node.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    write_file(path, re.sub(r"(?m)^segment_bytes: .*$", f"segment_bytes: {SEGMENT_BYTES}", text))
    cluster.up()


def first_segment(cluster):
    names = os.listdir(os.path.join(cluster.directory, "partition-0", "log"))
    return min(name for name in names if name.endswith(".seg"))


def places(cluster):
    return {(letter["source"], letter["line"], letter["reason"]) for letter in cluster.dead_letters("s")}


def test(directory):
    with Cluster(os.path.join(directory, "cluster"), CATALOG, partitions=1, workers=1) as cluster:
        with_small_segments(cluster)
        listed = set()
        for number in range(3):
            rows = "".join(f"k{i % 2000},{100000 if i % WORSE == 0 else i},2024-01-01 00:00:00\n" for i in range(ROWS))
            path = write_file(os.path.join(directory, f"{number}.csv"), "k,v,t\n" + rows)
            check_equal(cluster.load("s", path), (ROWS - ROWS // WORSE, 0, ROWS // WORSE), "rows of the import")
            before = places(cluster)
            check_equal(len(before), (number + 1) * (ROWS // WORSE), "dead letters before the batch")
            check(listed <= before, "letters listed before are listed again")
            cluster.recompute()
            listed = places(cluster)
            check_equal(listed, before, "dead letters after the batch")
        check(int(first_segment(cluster).split(".")[0]) > 0, "segments of the log have gone")
        say(f"{len(listed)} dead letters are listed, the log begins at {first_segment(cluster)}")


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
