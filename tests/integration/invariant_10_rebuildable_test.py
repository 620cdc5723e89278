#!/usr/bin/env python3
"""invariant_10_rebuildable_test: what was computed may be lost; from log, history and catalog everything comes back
(I10).

The log has been trimmed and spans were retired, so that neither the log nor speed holds all rows. Then
partition-*/state goes: `up` builds it again. versions/ goes: the cluster is up, each view is refused with the
directory that is missing and the command that makes it anew, and after `job submit recompute --full` the answers are
the ones before. Then both at once, then one shard alone, which refuses one view and leaves the other.
"""

import os
import random
import re
import shutil

from harness import Cluster, append_file, check, check_equal, drifts, main, need_programs, say, write_file

CATALOG = """
CREATE STREAM s (k TEXT NOT NULL, x DOUBLE, amount DECIMAL(12, 2) CHECK (amount > 0), t TIMESTAMP NOT NULL,
  EVENT TIME t, PARTITION KEY (k));
CREATE VIEW by_k AS SELECT k, count(*) AS n, sum(x) AS xs, avg(amount) AS mean, count_distinct(amount) AS amounts,
  last(x) AS newest FROM s GROUP BY k;
CREATE VIEW by_hour AS SELECT count(*) AS n, sum(amount) AS total, stddev_samp(x) AS spread FROM s
  GROUP BY TUMBLE(t, INTERVAL '1 hour');
"""
QUESTIONS = {"by_k": "SELECT k, n, xs, mean, amounts, newest FROM by_k",
             "by_hour": "SELECT window_start, n, total, spread FROM by_hour"}
ROWS, PIECES, PARTITIONS = 60000, 4, 3


def rows_text(piece):
    source = random.Random(piece)
    lines = []
    for i in range(ROWS):
        second = source.randrange(2 * 86400)
        time_of_day = f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}.{piece * ROWS + i:06}"
        at = f"2024-04-{1 + second // 86400:02}T{time_of_day}Z"
        lines.append(f"key-{source.randrange(900)},{source.uniform(-1, 1) * 2.0 ** source.randint(-60, 60)!r},"
                     f"{source.randint(-20, 9999) / 100:.2f},{at}\n")
    return "".join(lines)


def answers(cluster):
    return {view: cluster.query(sql) for view, sql in QUESTIONS.items()}


def letters(cluster):
    return len(cluster.dead_letters("s", limit=10000))


def lose(cluster, *names):
    """Removes what is named below the cluster's directory; 'state' stands for that of every partition."""
    for name in names:
        for path in [f"partition-{p}/state" for p in range(PARTITIONS)] if name == "state" else [name]:
            shutil.rmtree(os.path.join(cluster.directory, path))


def recompute_full(cluster):
    record = cluster.recompute("--full", "--ranks", "2")
    found = drifts(record.get("report", record))
    check(found and not any(found), f"drift 0 in the report, found {found}: {record}")


def check_refused(cluster, views, what):
    """Each view is refused with the missing place and the remedy, and the daemons stay up."""
    for view in views:
        error = cluster.refuse(QUESTIONS[view])
        place = f"{cluster.directory}/versions/{view}-1/"
        check(place in error and "recompute --full" in error, f"{what}: place and remedy: {error}")
    check_equal([daemon["restarts"] for daemon in cluster.status()["daemons"]], [0, 0, 0], f"{what}: restarts")


def check_again(cluster, expected, count, what):
    found = answers(cluster)
    for view in QUESTIONS:
        check_equal(found[view], expected[view], f"{what}: {view}")
    check_equal(letters(cluster), count, f"{what}: dead letters")
    say(f"{what}: the same answers")


def make(directory):
    """A cluster that has forgotten as much as it may: small segments, one version retained."""
    cluster = Cluster(os.path.join(directory, "cluster"), CATALOG, partitions=PARTITIONS, workers=2)
    cluster.up()
    cluster.down()
    path = os.path.join(cluster.directory, "config", "node.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for key, value in (("retained_versions", 1), ("flush_interval_ms", 100), ("segment_bytes", 1 << 20)):
        text = re.sub(rf"(?m)^{key}:.*$", f"{key}: {value}", text)
    write_file(path, text)
    return cluster


def test(directory):
    cluster = make(directory)
    path = write_file(os.path.join(directory, "rows.csv"), "k,x,amount,t\n")
    with cluster:
        for piece in range(PIECES):
            append_file(path, rows_text(piece))
            cluster.load("s", path)
            if piece < PIECES - 1:
                cluster.recompute("--ranks", "2")
        expected, count = answers(cluster), letters(cluster)
        check(count > 0 and len(expected["by_k"]) == 900, f"{count} dead letters, {len(expected['by_k'])} groups")
        begins = [partition["start"] for partition in cluster.status()["speed"]["partitions"]]
        check(all(begins), f"every log was trimmed: they begin at {begins}")
        cluster.down()

        lose(cluster, "state")
        cluster.up()
        check_again(cluster, expected, count, "without the state of speed")
        check_equal(cluster.load("s", path).accepted, 0, "rows that are imported again")
        cluster.down()

        lose(cluster, "versions")
        cluster.up()
        check_refused(cluster, QUESTIONS, "without versions")
        recompute_full(cluster)
        check_again(cluster, expected, count, "without versions, computed anew")
        cluster.down()

        lose(cluster, "state", "versions")
        cluster.up()
        check_refused(cluster, QUESTIONS, "without both")
        recompute_full(cluster)
        check_again(cluster, expected, count, "without both, computed anew")

        recompute_full(cluster)  # while all is well: the same again
        check_again(cluster, expected, count, "computed anew once more")
        cluster.down()
        version = next(iter(os.listdir(os.path.join(cluster.directory, "versions", "by_hour-1"))))
        lose(cluster, f"versions/by_hour-1/{version}/shard-1")
        cluster.up()
        check_refused(cluster, ["by_hour"], "without one shard")
        check_equal(cluster.query(QUESTIONS["by_k"]), expected["by_k"], "the view beside it")
        recompute_full(cluster)
        check_again(cluster, expected, count, "without one shard, computed anew")


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
