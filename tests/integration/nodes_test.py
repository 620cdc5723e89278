"""Which nodes a cluster has, changed while rows come in: a fourth node is added, and the acting controller is killed
in the middle of that; a node that is lost with its disk is replaced, one is removed. Batch jobs run before and after,
every replica is where it was wanted, and every row that was acknowledged is counted once, at every node.
"""

import json
import os
import shutil
import subprocess
import threading

from harness import (
    Imported,
    Nodes,
    Result,
    check,
    check_equal,
    command,
    drifts,
    environment,
    main,
    need_programs,
    need_zookeeper,
    processes_of,
    say,
    wait_until,
)

CATALOG = """
CREATE STREAM readings (
  taken TIMESTAMP NOT NULL, sensor TEXT NOT NULL, room TEXT NOT NULL, value BIGINT NOT NULL CHECK (value >= 0),
  EVENT TIME taken, PARTITION KEY (sensor));
CREATE VIEW by_room AS SELECT room, count(*) AS events, sum(value) AS total FROM readings GROUP BY room;
"""
HEADER = "taken,sensor,room,value\n"
ROOMS = 7
SENSORS = 97
PARTITIONS = 8
REPLICAS = 3
QUESTION = "SELECT room, events, total FROM by_room"


class Load:
    """An import that goes on while something happens, and the truth of all that was ever sent."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.rooms = {}
        self.sent = 0
        self.before = 0
        self.process = None
        self.thread = None
        self.is_ending = threading.Event()

    def rows(self, count):
        lines = []
        for number in range(self.sent, self.sent + count):
            room, value = f"room-{number * 31 % ROOMS}", number * 7919 % 100003
            lines.append(f"2026-03-01 08:{number // 60 % 60:02}:{number % 60:02},s{number % SENSORS},{room},{value}\n")
            events, total = self.rooms.get(room, (0, 0))
            self.rooms[room] = (events + 1, total + value)
        self.sent += count
        return "".join(lines)

    def feed(self):
        while not self.is_ending.wait(0.02):
            self.process.stdin.write(self.rows(200).encode())
            self.process.stdin.flush()

    def begin(self, source):
        self.before = self.sent
        self.is_ending.clear()
        words = [command("anabranch"), "import", "readings", "-", "--source", source, "--data", self.cluster.directory]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        self.process.stdin.write(HEADER.encode())
        self.thread = threading.Thread(target=self.feed)
        self.thread.start()

    def end(self, what):
        """Every row was accepted once, and every node says so."""
        self.is_ending.set()
        self.thread.join()
        out, err = self.process.communicate(timeout=60)
        result = Result(["import"], self.process.returncode, out.decode(), err.decode())
        check_equal(self.process.returncode, 0, f"{what}: exit code of the import: {result}")
        check_equal(Imported(result), (self.sent - self.before, 0, 0), f"{what}: rows imported")
        check(self.sent > self.before, f"{what}: rows came in meanwhile")
        self.check(what)

    def check(self, what):
        for node in self.cluster.nodes:
            rows = self.cluster.query_at(node, QUESTION)
            found = {row["room"]: (int(row["events"]), int(row["total"])) for row in rows}
            check_equal(found, self.rooms, f"{what}, at node {node}")
        say(f"{what}: {self.sent} rows, nodes {list(self.cluster.nodes)} answer the truth")


def node_list(cluster):
    return json.loads(cluster.command("node", "list", "--json").out)


def check_layout(cluster, what):
    """Replicas are dealt evenly, and a node has the directories of just those partitions that it is a replica of."""
    partitions = cluster.status()["cluster"]["partitions"]
    held = {node: set() for node in cluster.nodes}
    for entry in partitions:
        check_equal(len(entry["replicas"]), REPLICAS, f"{what}: replicas of {entry}")
        check_equal(sorted(entry["isr"]), sorted(entry["replicas"]), f"{what}: in-sync set of {entry}")
        check_equal(entry["learners"], [], f"{what}: learners of {entry}")
        for node in entry["replicas"]:
            held[node].add(entry["partition"])
    share = PARTITIONS * REPLICAS / len(cluster.nodes)
    for node, numbers in held.items():
        check(share - 1 <= len(numbers) <= share + 1, f"{what}: node {node} has {numbers}, about {share} are its part")

        def are_right(node=node, numbers=numbers):
            names = os.listdir(cluster.node_directory(node))
            return {name for name in names if name.startswith("partition-")} == {f"partition-{p}" for p in numbers}

        wait_until(are_right, f"{what}: directories of node {node} are of partitions {numbers}")


def published(cluster, what):
    record = cluster.recompute()
    check_equal(record["state"], "done", f"{what}: {record}")
    check(not any(drifts(record.get("report") or {})), f"{what}: no drift in {record}")


def refusals(cluster):
    for words, code, reason in (
        (("node", "remove", "2"), 1, "no node is left to take"),
        (("node", "replace", "2"), 1, "only one that is lost is replaced"),
        (("node", "remove", "7"), 2, "there is no node '7'"),
        (("node", "replace"), 2, "which node?"),
        (("node", "add", "4"), 2, "takes no number"),
        (("node", "cancel"), 1, "no reassignment is on its way"),
        (("node", "mend"), 2, "unknown action"),
    ):
        refused = cluster.command(*words, expect=code)
        check(reason in refused.err, f"why {words} is refused: {refused}")
    check_equal([entry["node"] for entry in node_list(cluster)["nodes"]], [1, 2, 3], "nodes after refusals")


def node_added(cluster, load):
    """The controller that acts is killed, with its node, as soon as something moves."""
    load.begin("adding")
    answer = json.loads(cluster.command("node", "add", "--json", timeout=60).out)
    check_equal((answer["node"], answer["moves"]), (4, PARTITIONS * REPLICAS // 4), f"answer to 'node add': {answer}")
    cluster.nodes = [1, 2, 3, 4]
    was_under_way = node_list(cluster)["reassignment"] is not None
    acting = cluster.acting_node()
    if acting != 4:
        cluster.kill_node(acting)
        say(f"node {acting}, whose controller acted, killed while node 4 was being added (under way: {was_under_way})")
    wait_until(lambda: cluster.acting_node() not in (None, acting), "another controller acts", timeout=30)
    if acting != 4:
        cluster.start_node(acting)
    wait_until(lambda: node_list(cluster)["reassignment"] is None, "the reassignment has ended", timeout=60, pause=0.3)
    cluster.wait_in_sync()
    load.end("with node 4")
    check_layout(cluster, "with node 4")


def node_replaced(cluster, load, victim):
    load.begin("replacing")
    cluster.kill_node(victim)
    shutil.rmtree(cluster.node_directory(victim))
    answer = json.loads(cluster.command("node", "replace", str(victim), "--wait", "--json", timeout=120).out)
    check(answer["is_done"], f"answer to 'node replace': {answer}")
    cluster.wait_in_sync()
    load.end(f"with node {victim} on another disk")
    check_layout(cluster, f"with node {victim} on another disk")


def node_removed(cluster, load, victim):
    load.begin("removing")
    answer = json.loads(cluster.command("node", "remove", str(victim), "--json", timeout=120).out)
    check(answer["is_done"], f"answer to 'node remove': {answer}")
    check(not processes_of(cluster.node_directory(victim)), f"node {victim} does not run any more")
    check(not os.path.exists(cluster.node_directory(victim)), f"the directory of node {victim} is out of the way")
    cluster.nodes = [node for node in cluster.nodes if node != victim]
    check_equal([entry["node"] for entry in node_list(cluster)["nodes"]], cluster.nodes, "nodes after the removal")
    load.end(f"without node {victim}")
    check_layout(cluster, f"without node {victim}")
    refused = cluster.command("up", "--node", str(victim), expect="failure")
    check("was removed" in refused.err, f"why node {victim} is not started: {refused}")


def test(directory):
    place = os.path.join(directory, "cluster")
    with Nodes(place, CATALOG, partitions=PARTITIONS, workers=1) as cluster:
        load = Load(cluster)
        cluster.wait_in_sync()
        refusals(cluster)
        load.begin("first")
        published(cluster, "a job of three nodes")
        load.end("three nodes")
        check_layout(cluster, "three nodes")
        node_added(cluster, load)
        published(cluster, "a job of four nodes")
        load.check("a job of four nodes")
        node_replaced(cluster, load, 2)
        published(cluster, "a job with another disk")
        load.check("a job with another disk")
        node_removed(cluster, load, 3)
        published(cluster, "a job without node 3")
        load.check("a job without node 3")
        cluster.command("down", timeout=120)
        check(not processes_of(place), "'down' leaves nothing running")
        cluster.command("up", timeout=120)
        cluster.wait_in_sync()
        load.check("after 'down' and 'up'")


if __name__ == "__main__":
    need_zookeeper()
    need_programs("anabranch", "anabranch-batch", "anabranch-zookeeper")
    main(test)
