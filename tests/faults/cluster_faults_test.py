#!/usr/bin/env python3
"""cluster_faults_test: three nodes under faults, with clients whose histories are checked.

Importers send files that grow, and run `import` again until it succeeds, also when it was killed or has a twin;
programs write and read through one client each (history_client.c); every node is asked by commands as well; with
--jobs batch jobs compute and publish all the time. Each round has one fault (nemesis.py). Then all is healed and in
sync again, and no answer may have been wrong: it counts what was acknowledged before the question, nothing that was not
sent before its end, and nothing less than the same reader was told before. At the end every row that was acknowledged
counts once, and no row twice; and the logs of all replicas have the same records, with append times that rise.

    cluster_faults_test.py [--rounds N] [--seed S] [--group GROUP]... [--only FAULT]... [--zookeepers 1|3] [--jobs]
    cluster_faults_test.py --control     all disks lie and lose power, which nobody survives: it has to be seen

Groups of faults: nodes (the default), disks (and clocks), ensemble (of three ZooKeeper servers), wires; all. The first
rounds go through the faults in their order, the others are drawn. What this machine cannot do is left out, and said:
cuts and wires need root, unshare, setpriv and ip, for a network of its own; disks, clocks and wires need
tests/fault_shim.so, which a sanitizer's build has not.
"""

import argparse
import collections
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import (  # noqa: E402
    SLOW,
    Failure,
    check,
    check_equal,
    main,
    need_programs,
    need_zookeeper,
    parse_csv,
    say,
    skip,
    wait_until,
)
from clients import Clients, now  # noqa: E402
from disks import check_logs_agree, need_shim  # noqa: E402
from faulty_nodes import PATIENCE, FaultyNodes, own_network  # noqa: E402
from nemesis import GROUPS, Nemesis  # noqa: E402
from wires import Wires  # noqa: E402

CATALOG = """
CREATE STREAM rows (
  writer TEXT NOT NULL, item TEXT NOT NULL, amount BIGINT NOT NULL, taken TIMESTAMP NOT NULL,
  EVENT TIME taken, PARTITION KEY (item));
CREATE VIEW by_writer AS SELECT writer, count(*) AS events, sum(amount) AS total FROM rows GROUP BY writer;
CREATE VIEW by_item AS SELECT item, count(*) AS events, sum(amount) AS total FROM rows GROUP BY item;
"""
# Segments that roll, a store that is flushed and a scrubber that comes round while the test runs.
SETTINGS = {"segment_bytes": 1 << 20, "flush_interval_ms": 3000, "scrub_bytes_per_second": 1 << 24}


def check_everywhere(cluster, histories):
    """Nobody writes any more: every node says the same of every row."""
    for node in cluster.nodes:
        words = ["query", "SELECT item, events, total FROM by_item", "--format", "csv", "--timeout-ms", "120000"]
        result = cluster.at(node, *words, timeout=240)  # of hundreds of thousands of rows after a long run
        rows = parse_csv(result.out)[1]
        items = {row["item"]: (int(row["events"]), int(row["total"])) for row in rows}
        check_equal(len(items), len(rows), f"each item has one row, at node {node}")
        count = histories.check_items(items)
        say(f"node {node}: {len(items)} of {count} rows count, each once")


def logs_agree(cluster):
    """Once the last records have come to everybody: a leader may just be new."""
    roots = [cluster.node_directory(node) for node in cluster.nodes]
    end = time.monotonic() + 20
    while True:
        try:
            return check_logs_agree(roots)
        except Failure:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


def parse_arguments():
    every = [fault for faults in GROUPS.values() for fault in faults]
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1000000)
    parser.add_argument("--group", action="append", choices=(*GROUPS, "all"))
    parser.add_argument("--only", action="append", choices=every)
    parser.add_argument("--zookeepers", type=int, choices=(1, 3))
    parser.add_argument("--jobs", action="store_true")
    parser.add_argument("--control", action="store_true")
    options = parser.parse_args()
    groups = options.group or ["nodes"]
    options.faults = options.only or [
        fault for group, faults in GROUPS.items() if group in groups or "all" in groups for fault in faults
    ]
    if options.zookeepers is None:
        options.zookeepers = 3 if any(fault.startswith("ensemble") for fault in options.faults) else 1
    return options


def faults_that_can_be(nemesis, faults):
    """Says what is left out, and why."""
    possible = [fault for fault in faults if nemesis.can(fault)]
    left_out = [fault for fault in faults if fault not in possible]
    if left_out:
        say(f"SKIPPED here: {', '.join(left_out)}")
        if not nemesis.cluster.is_apart:
            say("nodes are not cut from each other: that needs root, unshare, setpriv and ip")
        if not nemesis.cluster.disks:
            say("no faulty disks, clocks and wires: tests/fault_shim.so was not built")
    if not possible:
        skip("nothing of what was asked for can be done here")
    return possible


def wait_until_served(clients):
    """All is well again: whoever asks gets an answer, and programs that write are told that it is done; imports, which
    may wait for a twin, have their own patience."""
    since = now()
    end = time.monotonic() + PATIENCE * SLOW
    while not clients.errors:
        left = [name for name in clients.histories.not_served(since) if not name.startswith("writer import")]
        if not left:
            return
        check(time.monotonic() < end, f"not served {PATIENCE * SLOW:.0f} s after all was well: {left}")
        time.sleep(0.1)


def run_rounds(options, cluster, clients, nemesis, faults):
    """Returns how often each fault was done."""
    rng, done, failed_before = nemesis.rng, collections.Counter(), 0
    rounds = options.rounds or len(faults)
    for number in range(rounds):
        fault = faults[number] if number < len(faults) else rng.choice(faults)
        time.sleep(1)
        cluster.wait_in_sync()  # a process that died a moment ago may have been thought to live
        what = nemesis.run(fault)
        begun = time.monotonic()
        cluster.wait_in_sync()
        took = time.monotonic() - begun
        wait_until_served(clients)
        answers = clients.check()
        failed = clients.histories.failed
        say(
            f"round {number}: {fault}: {what}; in sync after {took:.1f} s; {answers} answers are right, "
            f"{failed - failed_before} questions failed"
        )
        failed_before = failed
        done[fault] += 1
    return done


def run_control(cluster, clients, nemesis):
    """Loses what was acknowledged, at all nodes; fails when nobody notices."""
    check(nemesis.can("disk-lies"), "the control needs disks that lie")
    for disk in cluster.disks.values():
        disk.lie(1)
    before = clients.histories.acknowledged()
    wait_until(lambda: clients.histories.acknowledged() > before + 1000, "rows acknowledged by disks that lie")
    cluster.kill(cluster.nodes)
    for disk in cluster.disks.values():
        disk.power_cut(nemesis.rng, False)
    cluster.start(cluster.nodes)
    cluster.wait_in_sync()

    def is_seen():
        try:
            clients.check()
        except Failure as failure:
            return str(failure)
        return None

    say(f"as it has to be: {wait_until(is_seen, 'an answer that is found wrong')[:300]}")


def sum_up(clients, done):
    histories = clients.histories
    for name, writer in sorted(histories.writers.items()):
        sent, _ = writer.at_most(float("inf"))
        check(writer.at_least(float("inf"))[0] > 0, f"nothing of {name} was acknowledged")
        say(f"{name}: {sent} rows sent, {writer.unknown()} unknown, {writer.refused()} refused")
    check(histories.checked > 0, "nothing was answered")
    say(f"{histories.checked} answers were right, {histories.failed} questions ended with an error")
    for reason, count in histories.reasons.most_common(5):
        say(f"{count} times: {reason}")
    if clients.has_jobs:
        say(f"{clients.jobs_done} batch jobs published, {clients.jobs_failed} failed")
    say("faults: " + ", ".join(f"{fault} {count}" for fault, count in sorted(done.items())))


def tell_numbers(clients, done):
    wrong = ", ".join(f"{kind} {count}" for kind, count in clients.histories.wrong.items())
    say(f"{sum(done.values())} rounds, {clients.histories.acknowledged()} rows acknowledged; {wrong}")


def test_cluster(cluster, options, directory):
    cluster.wait_in_sync()
    say("up")
    rng = random.Random(options.seed)
    clients = Clients(cluster, directory, options.seed, options.jobs)
    done = {}
    nemesis = Nemesis(cluster, rng)
    faults = faults_that_can_be(nemesis, options.faults)
    try:
        clients.start()
        if options.control:
            run_control(cluster, clients, nemesis)
            clients.abandon()
            return
        done = run_rounds(options, cluster, clients, nemesis, faults)
        clients.stop()
        clients.check()
        sum_up(clients, done)
        if options.jobs:
            cluster.at(1, "job", "submit", "recompute", "--wait", timeout=120)
        check_everywhere(cluster, clients.histories)
    except BaseException:
        clients.give_up()
        tell_numbers(clients, done)
        raise
    cluster.wait_in_sync()
    if not options.jobs:  # which trims logs, at each replica when it may
        say(f"{logs_agree(cluster)} records of logs agree")
    tell_numbers(clients, done)


def test(directory):
    options = parse_arguments()
    is_apart = bool(os.environ.get("ANABRANCH_FAULTS_NETWORK"))
    if options.control and not need_shim():
        skip("tests/fault_shim.so was not built")
    rounds = options.rounds or len(options.faults)
    say(f"{rounds} rounds, --seed {options.seed}, {options.zookeepers} ZooKeeper server(s)")
    settings = SETTINGS if need_shim() else {}
    wires = Wires if any(fault.startswith("wire") for fault in options.faults) else None
    place = os.path.join(directory, "cluster")
    with FaultyNodes(place, CATALOG, is_apart, options.zookeepers, settings, wires) as cluster:
        test_cluster(cluster, options, directory)


if __name__ == "__main__":
    need_zookeeper()
    need_programs("anabranch", "anabranch-zookeeper", "../tests/history_client")
    own_network()
    main(test)
