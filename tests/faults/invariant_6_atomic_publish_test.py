#!/usr/bin/env python3
"""invariant_6_atomic_publish_test: readers see a version whole or the one before it; a job that dies publishes nothing
(I6).

Each round imports rows and starts a job of two ranks; when some or all directories of both views are complete on
disk, or a little later, mpirun, a rank, the controller or all servers die by kill -9. Whenever the cluster says which
versions are in force they are of one cut and attempt for all views, every shard of theirs is on disk as its manifest
says, and the answers of both views are true. Askers never see a version of an attempt that did not end in a job done,
and at the end no directory of a dead attempt is left.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import (CRASH_WORDS, SLOW, Cluster, Failure, append_file, check, check_equal, command,  # noqa: E402
                     environment, main, need_programs, say, wait_until, write_file)

CATALOG = """
CREATE STREAM s (k BIGINT NOT NULL, v BIGINT NOT NULL, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k));
CREATE VIEW by_k AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k;
CREATE VIEW by_v AS SELECT v, count(*) AS n FROM s GROUP BY v;
"""
VIEWS = ("by_k", "by_v")
ROWS, ROUNDS, SHARDS = 6000, 8, 3
VICTIMS = {"rank": ("anabranch-batch",), "mpirun": ("mpirun",), "controller": ("anabranch-controller",),
           "all": ("anabranch-controller", "anabranch-speed", "anabranch-serving", "mpirun", "anabranch-batch")}


class Asker(threading.Thread):
    """Notes which versions answer, and that every answer is one that was true between the question and the answer."""

    def __init__(self, cluster, rows):
        super().__init__(daemon=True)
        self.cluster, self.rows, self.stop = cluster, rows, threading.Event()
        self.versions, self.answers, self.failure = {view: set() for view in VIEWS}, 0, None

    def run(self):
        try:
            while not self.stop.is_set():
                for view in VIEWS:
                    self.ask(view)
        except BaseException as failure:  # pylint: disable=broad-except
            self.failure = failure

    def ask(self, view):
        low = self.rows["acknowledged"]
        words = ["query", f"SELECT n FROM {view}", "--format", "csv", "--verbose", "--timeout-ms", "3000"]
        result = self.cluster.command(*words, expect=None)
        if result.code != 0:
            return  # the servers are dead now and then; a wrong answer is what may not be
        count = int(result.out.splitlines()[1])
        high = self.rows["given"]
        check(low <= count <= high, f"{view}: {count} rows, of {low} acknowledged and {high} given")
        version = re.search(rf"version (?:none|{view}-1/(\d+-\d+)) .*\bcomplete", result.err)
        check(version, f"the version of a whole answer: {result.err}")
        self.versions[view].add(version.group(1) or "none")
        self.answers += 1


def signs(cluster):
    """Complete shards on disk: what a job leaves just before it publishes."""
    found = set()
    for place, _, names in os.walk(os.path.join(cluster.directory, "versions")):
        found.update(place for name in names if name == "manifest.json")
    return found


def wait_for_signs(cluster, before, process, wanted):
    """Returns when so many shards are there, or the job has ended."""
    end = time.monotonic() + 20 * SLOW
    while len(signs(cluster) - before) < wanted and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)


def versions_in_force(cluster):
    """What the cluster says, checked: one cut and attempt for all views, whole on disk."""
    status = cluster.status()
    named = {entry.get("version", "none").split("/")[-1] for entry in status["views"]}
    check_equal(len(named), 1, f"one version over all views: {status['views']}")
    version = named.pop()
    done = {f"{job['cut']}-{job['attempt']}": job for job in jobs_of(cluster) if job["state"] == "done"}
    if version != "none":
        check(version in done, f"version {version} is of a job that is done: {sorted(done)}")
        for view in VIEWS:
            check_equal(len(cluster.contents(view)), SHARDS, f"shards of {view} {version}")
    return version


def jobs_of(cluster):
    listed = json.loads(cluster.command("job", "list", "--json").out)
    return listed if isinstance(listed, list) else listed["jobs"]


def check_answers(cluster, rows, what):
    row = cluster.query("SELECT n, total FROM by_k")[0]
    expected = rows["given"], sum(i % 97 for i in range(rows["given"]))
    check_equal((int(row["n"]), int(row["total"])), expected, f"{what}: by_k")
    found = {int(row["v"]): int(row["n"]) for row in cluster.query("SELECT v, n FROM by_v")}
    check_equal(found, {v: len(range(v, rows["given"], 97)) for v in range(97)}, f"{what}: by_v")


def kill(cluster, victim):
    pids = [pid for program in VICTIMS[victim] for pid in cluster.pids(program)]
    for pid in pids[:1] if victim == "rank" else pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it had just ended
    return len(pids)


def feed(cluster, path, rows):
    append_file(path, "".join(f"{i % 1500},{i % 97},2024-01-01\n" for i in range(rows["given"], rows["given"] + ROWS)))
    rows["given"] += ROWS
    cluster.load("s", path)
    rows["acknowledged"] = rows["given"]


def round_run(cluster, number, path, rows, rng):
    victim = tuple(VICTIMS)[number % len(VICTIMS)]
    feed(cluster, path, rows)
    before_version, before = versions_in_force(cluster), signs(cluster)
    words = [command("anabranch"), "job", "submit", "recompute", "--wait", "--ranks", "2", "--data", cluster.directory]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment())
    wanted = rng.choice((1, SHARDS, 2 * SHARDS - 1, 2 * SHARDS))
    wait_for_signs(cluster, before, process, wanted)
    delay = rng.choice((0, 0, 0.001, 0.003, 0.01, 0.03))
    time.sleep(delay)
    killed = kill(cluster, victim)
    if victim in ("controller", "all"):
        wait_until(lambda: not cluster.pids("anabranch-controller"), "the controller is gone")
        cluster.up(timeout=90)
    at_once = versions_in_force(cluster)
    check_answers(cluster, rows, f"round {number}, {victim} killed, version {at_once}")
    try:
        said = process.communicate(timeout=60 * SLOW)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        process.kill()
        raise Failure("a job hangs after a kill") from None
    check(not any(word in said for word in CRASH_WORDS), f"a sanitizer spoke: {said}")
    wait_until(lambda: all(job["state"] in ("done", "failed") for job in jobs_of(cluster)), "no job is left", 60)
    after = versions_in_force(cluster)
    check_answers(cluster, rows, f"round {number}, settled, version {after}")
    say(f"round {number}: {victim} ({killed}) killed {delay:.3f} s after {wanted} shards: {before_version}, "
        f"then {at_once}, in the end {after}")


def check_leftovers(cluster):
    """With one retained version a directory that nothing names is a dead attempt's."""
    cluster.recompute("--full", "--ranks", "2")
    versions_in_force(cluster)
    for entry in cluster.status()["views"]:
        kept = os.listdir(os.path.join(cluster.directory, "versions", f"{entry['name']}-1"))
        check_equal(len(kept), entry["directories"], f"directories of {entry['name']}: {kept}")


def test(directory):
    seed = int(time.time()) % 1000000
    say(f"seed {seed}")
    rng, rows = random.Random(seed), {"given": 0, "acknowledged": 0}
    path = write_file(os.path.join(directory, "rows.csv"), "k,v,t\n")
    cluster = Cluster(os.path.join(directory, "cluster"), CATALOG, partitions=SHARDS, workers=2)
    cluster.up()
    cluster.down()
    settings = os.path.join(cluster.directory, "config", "node.yaml")
    with open(settings, encoding="utf-8") as file:
        text = file.read()
    write_file(settings, re.sub(r"(?m)^retained_versions:.*$", "retained_versions: 1", text))
    with cluster:
        feed(cluster, path, rows)
        asker = Asker(cluster, rows)
        asker.start()
        for number in range(ROUNDS):
            round_run(cluster, number, path, rows, rng)
            if asker.failure is not None:
                raise asker.failure
        check_leftovers(cluster)
        check_answers(cluster, rows, "at the end, computed anew")
        asker.stop.set()
        asker.join()
        done = {"none"} | {f"{job['cut']}-{job['attempt']}" for job in jobs_of(cluster) if job["state"] == "done"}
        for view in VIEWS:
            check(asker.versions[view] <= done, f"{view}: versions seen {asker.versions[view]}, of jobs done {done}")
        check(asker.answers > ROUNDS, f"the asker got {asker.answers} answers")
        say(f"{asker.answers} answers beside the kills; versions seen: {sorted(asker.versions['by_k'])}")


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
