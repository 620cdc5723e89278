#!/usr/bin/env python3
"""kill_test: kill -9 of any process at random moments of import and batch; the answers equal the truth all the same.

Each round brings new rows (a new source, or a source that grows), starts an import and often a batch job, and kills
one victim after a random time: speed, serving, the controller (then `up` again), a rank, mpirun, the import itself,
or all servers at once. Then the import is run again until it succeeds, and what is answered is compared with what
this test counted in the generated rows: nothing lost, nothing twice, no dead letter missing, no version half
published. At the end everything is computed anew from history and compared group by group.

    kill_test.py [--rounds N] [--seed S] [--rows N]
"""

import argparse
import csv
import io
import os
import random
import signal
import subprocess
import sys
import time
from decimal import Decimal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import (
    CRASH_WORDS,
    SLOW,
    Cluster,
    append_file,
    check,
    check_equal,
    command,
    drifts,
    environment,
    main,
    need_programs,
    run,
    say,  # noqa: E402
    wait_until,
    write_file,
)

VICTIMS = ("speed", "serving", "controller", "rank", "mpirun", "import", "all")
PROGRAMS = {
    "speed": "anabranch-speed",
    "serving": "anabranch-serving",
    "controller": "anabranch-controller",
    "rank": "anabranch-batch",
    "mpirun": "mpirun",
}


class Truth:
    """What the rows given so far add up to, computed from the CSV text alone."""

    def __init__(self):
        self.users, self.countries, self.rows, self.dead = {}, {}, 0, 0

    def add(self, text):
        for fields in csv.reader(io.StringIO(text, newline="")):
            self.rows += 1
            try:
                _, user, _, country, amount, fraud, paid_at = fields
                amount = Decimal(amount)
            except (ValueError, ArithmeticError):
                self.dead += 1
                continue
            if amount <= 0:
                self.dead += 1
                continue
            for groups, key in ((self.users, (user, paid_at[:13])), (self.countries, (country, paid_at[:13]))):
                group = groups.setdefault(key, [0, Decimal(0), amount, amount, 0])
                group[0] += 1
                group[1] += amount
                group[2] = min(group[2], amount)
                group[3] = max(group[3], amount)
                group[4] += fraud == "true"

    def total(self):
        return sum(group[0] for group in self.countries.values()), sum(
            (group[1] for group in self.countries.values()), Decimal(0)
        )


class Source:
    """Generated rows, handed out in pieces; and the files in which they are given to the import."""

    def __init__(self, directory, seed, rows):
        text = run(
            [
                command("anabranch-bench"),
                "generate",
                "--rows",
                str(rows),
                "--seed",
                str(seed),
                "--users",
                "500",
                "--broken",
                "0.003",
                "--rows-a-day",
                "400000",
            ]
        ).out
        self.header, _, body = text.partition("\n")
        self.lines = body.splitlines(keepends=True)
        self.directory, self.next, self.path, self.files = directory, 0, None, 0

    def give(self, count, to_new_file):
        """Adds rows to the current file, or to a new one; returns their text."""
        text = "".join(self.lines[self.next : self.next + count])
        self.next += count
        if to_new_file or self.path is None:
            self.files += 1
            self.path = write_file(os.path.join(self.directory, f"payments-{self.files}.csv"), self.header + "\n")
        append_file(self.path, text)
        return text


def start(cluster, *words):
    return subprocess.Popen(
        [command("anabranch"), *words, "--data", cluster.directory],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    )


def end(process):
    """Waits for a command that may have lost its cluster."""
    try:
        out, _ = process.communicate(timeout=150 * SLOW)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        raise AssertionError(f"a command hangs after a kill: {process.args}: {out.decode(errors='replace')}") from None
    text = out.decode(errors="replace")
    for word in CRASH_WORDS:
        check(word not in text, f"a sanitizer spoke: {process.args}: {text}")
    return process.returncode, text


class Round:
    """One round: what runs, who dies, and the check."""

    def __init__(self, cluster, source, truth, rng, options):
        self.cluster, self.source, self.truth, self.rng, self.options = cluster, source, truth, rng, options

    def run(self, number):
        begun = time.monotonic()
        victim = VICTIMS[number % len(VICTIMS)] if number < 2 * len(VICTIMS) else self.rng.choice(VICTIMS)
        self.truth.add(self.source.give(self.options.rows, self.rng.random() < 0.3))
        with_batch = victim in ("rank", "mpirun") or self.rng.random() < 0.4
        batch = (
            start(self.cluster, "job", "submit", "recompute", "--wait", "--ranks", str(self.rng.choice((1, 2))))
            if with_batch
            else None
        )
        importer = start(self.cluster, "import", "payments", self.source.path)
        delay = self.rng.random() * (0.6 if with_batch else 0.3) * min(SLOW, 2)
        time.sleep(delay)
        killed = self.kill(victim, importer, batch)
        if victim in ("controller", "all"):
            self.revive()
        code, _ = end(importer)
        if batch is not None:
            end(batch)
        self.settle()
        check_answers(self.cluster, self.truth, f"round {number}, {victim} killed after {delay:.2f} s")
        say(
            f"round {number:3}: {victim:10} killed {len(killed)} after"
            f" {delay:4.2f} s{' of import and batch' if with_batch else ''}, import ended with {code},"
            f" {self.truth.rows} rows are right, {time.monotonic() - begun:.1f} s"
        )

    def kill(self, victim, importer, batch):
        if victim == "all":
            pids = [
                pid
                for program in ("controller", "speed", "serving", "mpirun", "rank")
                for pid in self.cluster.pids(PROGRAMS[program])
            ]
        else:
            pids = [importer.pid] if victim == "import" else self.cluster.pids(PROGRAMS[victim])
        if victim in ("rank", "mpirun"):
            if not pids:  # not begun yet: whoever comes first
                while not pids and batch.poll() is None:
                    time.sleep(0.02)
                    pids = self.cluster.pids(PROGRAMS[victim])
                time.sleep(self.rng.random() * 0.3)
            pids = pids[:1]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it had just ended by itself
        return pids

    def revive(self):
        """`up` again; daemons of the dead controller may still be on their way out."""
        wait_until(lambda: not self.cluster.pids("anabranch-controller"), "the controller is gone")
        self.cluster.up(timeout=90)

    def settle(self):
        """The import again, until it succeeds: a cluster whose daemon was killed comes back by itself."""
        for attempt in range(4):
            result = self.cluster.load("payments", self.source.path, expect=None, timeout=120)
            if result.code == 0:
                return
            say(f"the import says ({attempt}): {result.err.strip()[-200:]}")
            time.sleep(0.5)
        raise AssertionError(f"the import does not succeed again: {result}")


def check_answers(cluster, truth, what):
    """Totals of three views and the dead letters."""
    payments, spent = truth.total()
    for view in ("spending_by_user", "spending_by_country"):
        row = cluster.query(f"SELECT payments, spent FROM {view}")[0]
        check_equal((int(row["payments"]), Decimal(row["spent"])), (payments, spent), f"{what}: {view}")
    letters = cluster.dead_letters("payments")
    places = {(letter["source"], letter.get("position") or letter.get("line")) for letter in letters}
    check_equal((len(letters), len(places)), (truth.dead, truth.dead), f"{what}: dead letters, and their places")


def check_groups(cluster, truth, what):
    for view, key, groups in (
        ("spending_by_user", "user_id", truth.users),
        ("spending_by_country", "country", truth.countries),
    ):
        more = ", frauds" if key == "country" else ""
        rows = cluster.query(f"SELECT {key}, window_start, payments, spent, smallest, largest{more} FROM {view}")
        found = {(row[key], row["window_start"][:13]): row for row in rows}
        check_equal(len(rows), len(found), f"{what}: {view}: each group once")
        check_equal(set(found), set(groups), f"{what}: groups of {view}")
        for name, group in groups.items():
            row = found[name]
            answer = [int(row["payments"])] + [Decimal(row[column]) for column in ("spent", "smallest", "largest")]
            check_equal(answer, group[:4], f"{what}: {view} {name}")
            if more:
                check_equal(int(row["frauds"]), group[4], f"{what}: {view} {name}: frauds")


def check_report(record, what):
    found = drifts(record.get("report", record))
    check(found and not any(found), f"{what}: drift 0 in the report, found {found}: {record}")


def test(directory):
    parser = argparse.ArgumentParser()
    # In a sanitizer's build each kind of victim once, and one more.
    parser.add_argument("--rounds", type=int, default=30 if SLOW <= 1 else len(VICTIMS) + 1)
    parser.add_argument("--rows", type=int, default=30000)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1000000)
    options = parser.parse_args()
    say(f"{options.rounds} rounds of {options.rows} rows, --seed {options.seed}")
    rng = random.Random(options.seed)
    source = Source(directory, options.seed, options.rows * options.rounds)
    truth = Truth()
    catalog = run([command("anabranch-bench"), "generate", "--catalog"]).out
    with Cluster(os.path.join(directory, "cluster"), catalog, partitions=4, workers=2) as cluster:
        for number in range(options.rounds):
            Round(cluster, source, truth, rng, options).run(number)
        check_groups(cluster, truth, "at the end, merged")
        check_report(cluster.recompute("--ranks", "2"), "incremental at the end")
        check_groups(cluster, truth, "at the end, after batch")
        check_report(cluster.recompute("--full", "--ranks", "2"), "full at the end")
        check_groups(cluster, truth, "at the end, computed anew")
        cluster.down()
        cluster.up()
        check_groups(cluster, truth, "at the end, started again")


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch", "anabranch-bench")
    main(test)
