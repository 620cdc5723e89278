#!/usr/bin/env python3
"""invariant_8_bounded_test: no process grows with its input (I8).

With `up --memory 256M` (speed 128 MiB, serving and each rank of batch 64 MiB) more distinct groups come in than fit
many times over, as fast as they can be sent. The import ends well, every answer is true, a question whose answer is
too large is refused in words, a batch job goes over all of it; and the resident memory of every process, sampled all
the while, stays below its budget and the stated margin.
"""

import os
import re
import threading
import time

from harness import Cluster, check, check_equal, drifts, main, need_programs, processes_of, say

CATALOG = """
CREATE STREAM s (id BIGINT NOT NULL, name TEXT NOT NULL, v BIGINT, t TIMESTAMP NOT NULL, EVENT TIME t,
  PARTITION KEY (id));
CREATE VIEW by_id AS SELECT id, name, count(*) AS n, sum(v) AS total, min(v) AS least FROM s GROUP BY id, name;
CREATE VIEW by_v AS SELECT v, count(*) AS n FROM s GROUP BY v;
"""
ROWS, VALUES = 1200000, 1000
MIB = 1 << 20
# MiB. The margin is what no budget counts: stacks, the allocator's loss, RocksDB's own tables, the network's, MPI.
BUDGETS = {"anabranch-speed": 128, "anabranch-serving": 64, "anabranch-batch": 64, "anabranch-controller": 128}
MARGINS = {"anabranch-speed": 32, "anabranch-serving": 48, "anabranch-batch": 64, "anabranch-controller": 0}
BUDGETS["anabranch"], MARGINS["anabranch"] = 64, 0  # the import


class Watch(threading.Thread):
    """Samples the resident memory, without files, of all processes of the cluster; keeps the most per program."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        self.directory, self.most, self.stop = directory, {}, threading.Event()

    def run(self):
        while not self.stop.is_set():
            for pid in processes_of(self.directory):
                self.sample(pid)
            time.sleep(0.05)

    def sample(self, pid):
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                status = dict(line.split(":", 1) for line in file)
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                program = os.path.basename(file.read().split(b"\0")[0]).decode()
        except OSError:
            return  # it has ended
        if "RssAnon" in status:
            mebibytes = int(status["RssAnon"].split()[0]) // 1024
            self.most[program] = max(self.most.get(program, 0), mebibytes)


def rows_write(path):
    """Every id is new; names are long enough to weigh."""
    with open(path, "w", encoding="ascii") as file:
        file.write("id,name,v,t\n")
        for first in range(0, ROWS, 10000):
            file.write("".join(f"{i},account holder {i * 7919 % 10000019:012},{i % VALUES},2024-05-01\n"
                               for i in range(first, first + 10000)))
    return os.path.getsize(path)


def check_answers(cluster, what):
    row = cluster.query("SELECT n, total, least FROM by_id")[0]
    expected = [ROWS, sum(range(VALUES)) * (ROWS // VALUES), 0]
    check_equal([int(row[name]) for name in ("n", "total", "least")], expected, f"{what}: all")
    for i in (0, 1, 777777, ROWS - 1):
        row = cluster.query(f"SELECT n, total FROM by_id WHERE id = {i}")[0]
        check_equal((int(row["n"]), int(row["total"])), (1, i % VALUES), f"{what}: id {i}")
    rows = cluster.query("SELECT v, n FROM by_v")
    expected = {v: ROWS // VALUES for v in range(VALUES)}
    check_equal({int(row["v"]): int(row["n"]) for row in rows}, expected, f"{what}: by_v")
    error = cluster.refuse("SELECT id, name, n, total FROM by_id")
    check(re.search(r"memory|large|LIMIT", error), f"{what}: an answer of all groups is refused in words: {error}")
    say(f"{what}: the answers are true; all groups at once: {error.strip()[-160:]}")


def test(directory):
    path = os.path.join(directory, "rows.csv")
    size = rows_write(path)
    cluster = Cluster(os.path.join(directory, "cluster"), CATALOG, partitions=4, workers=2)
    cluster.up("--memory", "256M")  # it is kept in the configuration
    cluster.down()
    with cluster:
        watch = Watch(cluster.directory)
        watch.start()
        begun = time.monotonic()
        check_equal(cluster.load("s", path, timeout=240), (ROWS, 0, 0), "the import")
        say(f"{ROWS} rows, {size // MIB} MiB, in {time.monotonic() - begun:.1f} s")
        check_answers(cluster, "speed alone")
        record = cluster.recompute("--ranks", "2", timeout=240)
        found = drifts(record.get("report", record))
        check(found and not any(found), f"drift 0 in the report, found {found}: {record}")
        check_answers(cluster, "after batch")
        check_equal([daemon["restarts"] for daemon in cluster.status()["daemons"]], [0, 0, 0], "restarts")
        watch.stop.set()
        watch.join()
    say(f"most resident memory, MiB: {dict(sorted(watch.most.items()))}")
    check(set(BUDGETS) <= set(watch.most), f"all programs were seen: {watch.most}")
    for program, budget in BUDGETS.items():
        limit = budget + MARGINS[program]
        check(watch.most[program] <= limit, f"{program} took {watch.most[program]} MiB of {budget}, {limit} at most")


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
