#!/usr/bin/env python3
"""The catalog changes in a cluster of three nodes: as evolve_test, asked at every node, while one of them is away; the
node whose controller acts is lost in the middle of a change, which is then in force or is not, and the same command
again ends it.
"""

import os
import threading

import evolve_test
from harness import Nodes, check, check_equal, command, main, need_programs, need_zookeeper, run, say
from harness import wait_until, write_file

ROWS = evolve_test.ROWS
ONE_MORE = "CREATE VIEW by_visitor AS SELECT visitor, count(*) AS n FROM visits GROUP BY visitor;\n"


def check_everywhere(cluster, nodes, check_one, count, what):
    """evolve_test's checks, each question asked at every node."""
    ask = cluster.query
    for node in nodes:
        cluster.query = lambda sql, at=node: cluster.query_at(at, sql)
        check_one(cluster, count, f"{what}, at node {node}")
    cluster.query = ask
    say(f"{what}: nodes {list(nodes)} answer the truth")


def change_without_a_node(cluster, directory):
    victim = next(node for node in cluster.nodes if node != cluster.acting_node())
    rest = [node for node in cluster.nodes if node != victim]
    cluster.kill_node(victim)
    evolve_test.test_changes(cluster, directory)
    check_everywhere(cluster, rest, evolve_test.check_old, 2 * ROWS, f"changed without node {victim}")
    cluster.start_node(victim)
    cluster.wait_in_sync()
    evolve_test.become_whole(cluster)
    check_everywhere(cluster, cluster.nodes, evolve_test.check_new, 2 * ROWS, f"with node {victim} again")


def visitors_at(cluster, node):
    rows = cluster.query_at(node, "SELECT visitor, n FROM by_visitor")
    return {int(row["visitor"]): int(row["n"]) for row in rows}


def acting_node_lost(cluster, directory):
    """Its `apply` may have any outcome; the catalog has one, and the command again makes it whole."""
    victim = cluster.acting_node()
    rest = [node for node in cluster.nodes if node != victim]
    after = write_file(os.path.join(directory, "more.sql"), evolve_test.AFTER + ONE_MORE)
    words = [command("anabranch"), "apply", after, "--data", cluster.node_directory(rest[0])]
    outcome = {}

    def apply():
        outcome["first"] = run(words, expect=None, timeout=120)

    applying = threading.Thread(target=apply)
    applying.start()
    cluster.kill_node(victim)
    applying.join()
    say(f"node {victim}, whose controller acted, killed during apply: {outcome['first'].text.strip()}")
    wait_until(lambda: cluster.acting_node() in rest, "another controller acts", timeout=60, pause=0.2)
    again = run(words, timeout=120)
    say(f"again: {again.text.strip()}")
    check("no change" in again.out or "in force" in again.out, f"the same command again: {again}")
    def jobs_open():
        return [(job["id"], job["state"]) for job in cluster.status()["jobs"] if job["state"] not in ("done", "failed")]

    wait_until(lambda: not jobs_open(), "the backfill", timeout=120, pause=0.3)
    truth = {}
    for i in range(2 * ROWS):
        truth[i % 91] = truth.get(i % 91, 0) + 1
    for node in rest:
        check_equal(visitors_at(cluster, node), truth, f"the added view, at node {node}")
    cluster.start_node(victim)
    cluster.wait_in_sync()
    cluster.recompute()
    check_equal(visitors_at(cluster, victim), truth, f"the added view, at node {victim} again")
    check_everywhere(cluster, cluster.nodes, evolve_test.check_new, 2 * ROWS, "after the loss of the acting node")


def test(directory):
    with Nodes(os.path.join(directory, "cluster"), evolve_test.BEFORE, partitions=3, workers=1) as cluster:
        cluster.wait_in_sync()
        change_without_a_node(cluster, directory)
        evolve_test.refuse_changes(cluster, directory)
        acting_node_lost(cluster, directory)


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-controller", "anabranch-speed", "anabranch-serving", "anabranch-batch",
        "anabranch-zookeeper")
    need_zookeeper()
    main(test)
