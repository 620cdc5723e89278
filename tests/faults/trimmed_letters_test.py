#!/usr/bin/env python3
"""trimmed_letters_test: a dead letter stays listed when the log segment that held it has gone: history has it."""

import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import Cluster, check, check_equal, main, need_programs, say, write_file  # noqa: E402

CATALOG = """CREATE STREAM s (
  k TEXT NOT NULL, v BIGINT CHECK (v < 100000), t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k));
CREATE VIEW a AS SELECT k, count(*) AS n FROM s GROUP BY k;
"""
ROWS, WORSE, TEXT = 120000, 1000, 2000
SEGMENT_BYTES = 1 << 20


def with_small_segments(cluster):
    """The cluster again, with segments that go soon."""
    cluster.down()
    path = os.path.join(cluster.directory, "config", "node.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"(?m)^segment_bytes: .*$", f"segment_bytes: {SEGMENT_BYTES}", text)
    write_file(path, re.sub(r"(?m)^retained_versions: .*$", "retained_versions: 1", text))
    cluster.up()


def first_offset(cluster, partition):
    names = os.listdir(os.path.join(cluster.directory, f"partition-{partition}", "log"))
    return int(min(name for name in names if name.endswith(".seg")).split(".")[0])


def moment(text):
    """A time as something that can be ordered: zeros at the end of a fraction are not printed."""
    second, _, fraction = text.rstrip("Z").partition(".")
    return second, fraction.ljust(6, "0")


def rows_of(result):
    """Letters without members that are null: a row has values or raw text, and few rows may all lack one of these."""
    return [{name: value for name, value in row.items() if value is not None} for row in json.loads(result.out)]


def letters(cluster):
    """All letters, checked for order, and that the command says nothing of others."""
    result = cluster.command("dead-letters", "list", "s", "--limit", "10000", "--format", "json")
    check("shown" not in result.err, f"all letters are shown: {result.err!r}")
    rows = rows_of(result)
    times = [moment(row["time"]) for row in rows]
    check(times == sorted(times, reverse=True), "the newest letter stands first")
    return rows


def check_limits(cluster, everything):
    result = cluster.command("dead-letters", "list", "s", "--limit", "7", "--format", "json")
    check_equal(rows_of(result), everything[:7], "the seven newest letters")
    check(f"7 of {len(everything)} shown" in result.err, f"how many there are is said: {result.err!r}")
    result = cluster.command("dead-letters", "list", "s", "--limit", "10001", expect=2)
    check("10000" in result.err and result.out == "", f"a limit above the highest is refused, naming it: {result}")


def batch_of(number):
    """Rows of which every WORSE-th breaks its stream's rule, and every TEXT-th is no row at all."""
    lines = []
    for i in range(ROWS):
        value = "much" if i % TEXT == 1 else 100000 if i % WORSE == 0 else i % 50000
        lines.append(f"k{i % 2000},{value},2024-01-01 00:0{number}:00\n")
    return "k,v,t\n" + "".join(lines)


def test(directory):
    with Cluster(os.path.join(directory, "cluster"), CATALOG, partitions=2, workers=1) as cluster:
        with_small_segments(cluster)
        bad = ROWS // WORSE + ROWS // TEXT
        listed = []
        for number in range(4):
            path = write_file(os.path.join(directory, f"{number}.csv"), batch_of(number))
            check_equal(cluster.load("s", path), (ROWS - bad, 0, bad), "rows of the import")
            before = letters(cluster)
            check(before[bad:] == listed, "letters listed before are listed again, word for word")
            check_equal({(row["source"], row["line"]) for row in before[:bad]},
                        {(path, i + 2) for i in range(ROWS) if i % WORSE == 0 or i % TEXT == 1}, "new letters")
            check_equal(len({(row["source"], row["line"]) for row in before}), (number + 1) * bad, "each letter once")
            raw = sum("much" in row.get("raw", "") for row in before)
            check_equal(raw, (number + 1) * (ROWS // TEXT), "raw rows")
            if number < 3:  # the last ones stay in the log
                cluster.recompute()
            listed = letters(cluster)
            check(listed == before, "dead letters after the batch")
        check_limits(cluster, listed)
        first = [first_offset(cluster, partition) for partition in range(2)]
        check(min(first) > 0, f"segments of the logs have gone: {first}")
        cluster.down()
        cluster.up()
        check(letters(cluster) == listed, "dead letters after a restart")
        say(f"{len(listed)} dead letters are listed, the logs begin at {first}")


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
