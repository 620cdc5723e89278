#!/usr/bin/env python3
"""cuts_test: many cuts, and the controller keeps only those that somebody may still ask for.

Dozens of jobs on a small stream. While all versions are retained all cuts are; then only two versions are, and the
manifests of the others go at once, as in a directory of an earlier build. From then on the number of cuts that are kept
and of spans that a job is told stays the same however many are taken. What they no longer say is in the markers of
history: a full run and the backfill of a view that is new or changed hold every row since the first; a marker that is
missing fails such a job, which says which and publishes nothing.

    cuts_test.py [--rounds N]
"""

import argparse
import os
import re

from harness import (
    SLOW,
    Cluster,
    append_file,
    check,
    check_equal,
    drifts,
    main,
    need_programs,
    say,
    wait_until,
    write_file,
)

STREAM = """
CREATE STREAM s (k BIGINT NOT NULL, v BIGINT NOT NULL, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k));
CREATE VIEW by_k AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k;
CREATE VIEW days AS SELECT count(*) AS n, max(v) AS most FROM s GROUP BY TUMBLE(t, INTERVAL '1 day');
"""
BY_V = "CREATE VIEW by_v AS SELECT v, count(*) AS n FROM s GROUP BY v;\n"
BY_V_CHANGED = "CREATE VIEW by_v AS SELECT v, count(*) AS n, min(k) AS least FROM s GROUP BY v;\n"
PARTITIONS, RETAINED = 3, 2
ROUNDS_KEPT = 8  # cuts taken before the first is forgotten


class Growing:
    """A cluster, its one source, and how many rows it was given: row i is (i % 50, i % 7, a day)."""

    def __init__(self, cluster, directory):
        self.cluster, self.rows = cluster, 0
        self.path = write_file(os.path.join(directory, "s.csv"), "k,v,t\n")
        self.catalog = os.path.join(directory, "next.sql")

    def feed(self, count):
        lines = (f"{i % 50},{i % 7},2024-01-{1 + i % 5:02}\n" for i in range(self.rows, self.rows + count))
        append_file(self.path, "".join(lines))
        check_equal(self.cluster.load("s", self.path), (count, self.rows, 0), "rows of the import")
        self.rows += count

    def cuts(self):
        return self.cluster.status()["cuts"]

    def wait_kept(self, most):
        """A job is done a moment before what it has made superfluous goes."""
        wait_until(lambda: self.cuts()["retained"] <= most, f"at most {most} cuts are kept")
        check(self.cuts()["retained"] >= min(most, RETAINED), f"cuts that are kept: {self.cuts()}")

    def spans_told(self, job):
        """How many spans the plan of a job has, as its log says."""
        with open(os.path.join(self.cluster.directory, "jobs", job, "log"), encoding="utf-8") as file:
            return int(re.findall(r"batch job begun.* (\d+) spans", file.read())[-1])

    def recompute(self, *options):
        """Runs a job and returns how many spans it was told of."""
        record = self.cluster.recompute(*options)
        found = drifts(record["report"])
        check(found and not any(found), f"drift 0 in the report, found {found}: {record}")
        return self.spans_told(record["id"])

    def apply(self, views):
        """Changes the catalog and waits for the backfill; returns how many spans it was told of."""
        result = self.cluster.command("apply", write_file(self.catalog, STREAM + views))
        job = re.search(r"job-\d+", result.text).group()
        wait_until(lambda: self.cluster.job(job)["state"] in ("done", "failed"), f"{job} is over", 60)
        check_equal(self.cluster.job(job)["state"], "done", f"backfill: {self.cluster.job(job)}")
        return self.spans_told(job)

    def check_answers(self, what, with_v=None):
        range_of = range(self.rows)
        found = {int(row["k"]): (int(row["n"]), int(row["total"])) for row in self.query("by_k", "k, n, total")}
        truth = {k: (len(range_of[k::50]), sum(i % 7 for i in range_of[k::50])) for k in range_of[:50]}
        check_equal(found, truth, f"{what}: by_k")
        found = {row["window_start"][:10]: int(row["n"]) for row in self.query("days", "window_start, n")}
        check_equal(found, {f"2024-01-{1 + d:02}": len(range_of[d::5]) for d in range_of[:5]}, f"{what}: days")
        if with_v is not None:
            found = {int(row["v"]): tuple(int(row[name]) for name in with_v) for row in
                     self.query("by_v", ", ".join(("v",) + with_v))}
            truth = {v: {"n": len(range_of[v::7]), "least": min(i % 50 for i in range_of[v::7])} for v in range(7)}
            check_equal(found, {v: tuple(truth[v][name] for name in with_v) for v in truth}, f"{what}: by_v")

    def query(self, view, columns):
        return self.cluster.query(f"SELECT {columns} FROM {view}")

    def retain(self, count):
        """The cluster again, with another number of retained versions."""
        self.cluster.down()
        settings = os.path.join(self.cluster.directory, "config", "node.yaml")
        with open(settings, encoding="utf-8") as file:
            text = file.read()
        write_file(settings, re.sub(r"(?m)^retained_versions:.*$", f"retained_versions: {count}", text))
        self.cluster.up()


def cuts_are_kept_while_versions_are(growing):
    growing.retain(2 * ROUNDS_KEPT)
    for number in range(1, ROUNDS_KEPT + 1):
        growing.feed(60 if number % 4 else 0)
        check_equal(growing.recompute(), number, "spans that the job is told of")
        check_equal(growing.cuts()["retained"], number, "cuts that are kept")
    growing.check_answers("with all cuts")


def cuts_are_forgotten(growing, rounds):
    growing.retain(RETAINED)
    for number in range(ROUNDS_KEPT + 1, rounds + 1):
        growing.feed(60 if number % 4 else 0)
        told = growing.recompute(*(("--ranks", "2") if number % 3 == 0 else ()))
        is_first = number == ROUNDS_KEPT + 1  # it begins before anything is forgotten
        check_equal(told, number if is_first else RETAINED + 1, f"spans that job {number} is told of")
        check_equal(growing.cuts()["last"], number, "the last cut")
        growing.wait_kept(RETAINED)
        if number % 7 == 0:
            growing.check_answers(f"after cut {number}")
    growing.check_answers("with few cuts")
    say(f"{rounds} cuts were taken, {RETAINED} are kept")


def history_knows_them_all(growing):
    before = {view: growing.cluster.contents(view) for view in ("by_k", "days")}
    last = growing.cuts()["last"]
    check_equal(growing.recompute("--full"), last + 1, "spans that a full job knows")
    growing.check_answers("computed anew")
    growing.feed(100)
    check_equal(growing.recompute("--full", "--ranks", "2"), last + 2, "spans that the next full job knows")
    growing.check_answers("computed anew by two ranks")
    check(before != {view: growing.cluster.contents(view) for view in before}, "the new rows are in the versions")
    check_equal(growing.apply(BY_V), last + 4, "spans that the backfill of a new view knows")
    growing.check_answers("with a new view", ("n",))
    growing.feed(100)
    check_equal(growing.apply(BY_V_CHANGED), last + 6, "spans that the backfill of a changed view knows")
    growing.check_answers("with a changed view", ("n", "least"))
    growing.wait_kept(RETAINED + 2)
    check(growing.recompute() <= RETAINED + 3, "spans that an incremental job is told of")
    say("full runs and backfills hold every row")


def missing_marker_publishes_nothing(growing):
    place = os.path.join(growing.cluster.directory, "history", "_sealed", "partition-1")
    versions = [entry["version"] for entry in growing.cluster.status()["views"]]
    os.rename(os.path.join(place, "span-7.json"), os.path.join(place, "aside"))
    result = growing.cluster.command("job", "submit", "recompute", "--full", "--wait", timeout=60, expect="failure")
    job = re.search(r"job-\d+", result.text).group()
    log = growing.cluster.command("job", "log", job).out
    check("partition 1, span 7: " in log and "is missing" in log, f"the log names the marker: {log}")
    check_equal([entry["version"] for entry in growing.cluster.status()["views"]], versions, "versions in force")
    growing.feed(10)
    growing.recompute()  # an incremental job needs no old span
    growing.check_answers("while a marker is missing", ("n", "least"))
    os.rename(os.path.join(place, "aside"), os.path.join(place, "span-7.json"))
    growing.recompute("--full")
    growing.check_answers("when it is back", ("n", "least"))
    growing.recompute()
    growing.recompute()
    growing.wait_kept(RETAINED)  # that of the failed job no more
    say("a missing marker fails a full run, which says which")


def test(directory):
    parser = argparse.ArgumentParser()
    # Cuts taken before history is asked; fewer where each takes a multiple of the time.
    parser.add_argument("--rounds", type=int, default=40 if SLOW <= 1 else 16)
    rounds = parser.parse_args().rounds
    with Cluster(os.path.join(directory, "cluster"), STREAM, partitions=PARTITIONS, workers=2) as cluster:
        growing = Growing(cluster, directory)
        cuts_are_kept_while_versions_are(growing)
        cuts_are_forgotten(growing, rounds)
        history_knows_them_all(growing)
        missing_marker_publishes_nothing(growing)
        cluster.down()
        write_file(cluster.catalog, STREAM + BY_V_CHANGED)
        cluster.up()
        growing.check_answers("started again", ("n", "least"))


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
