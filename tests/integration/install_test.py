"""A cluster of three nodes on one machine whose logs are trimmed: a node that lost what it had of its partitions, its
history and its versions, and one that comes back with what it had long ago, install what their leaders offer, are in
sync, lead, and answer as all do; the next job brings back the sealed files and versions that a node lacks, and a node
that lacks some does not make logs be trimmed any further.
"""

import hashlib
import os
import re
import shutil

from cluster_batch_test import check_copies, published
from harness import Nodes, check, check_equal, main, need_programs, need_zookeeper, say, wait_until, write_file

CATALOG = """
CREATE STREAM readings (
  taken TIMESTAMP NOT NULL, sensor TEXT NOT NULL, room TEXT NOT NULL, value BIGINT NOT NULL CHECK (value >= 0),
  note TEXT, EVENT TIME taken, PARTITION KEY (sensor));
CREATE VIEW by_room AS SELECT room, count(*) AS events, sum(value) AS total FROM readings GROUP BY room;
CREATE VIEW by_sensor AS SELECT sensor, count(*) AS events, max(value) AS largest FROM readings GROUP BY sensor;
"""
HEADER = "taken,sensor,room,value,note\n"
PARTITIONS = 3
ROOMS = 7
SENSORS = 97
ROWS = 60000  # some segments of a log of each partition
QUESTION = "SELECT room, events, total FROM by_room"
LOST = ("history", "versions")


class Truth:
    """What the view has to say of all rows that were sent."""

    def __init__(self, directory):
        self.directory = directory
        self.rooms = {}
        self.sent = 0

    def load(self, cluster, count):
        lines = [HEADER]
        for number in range(self.sent, self.sent + count):
            room, value = f"room-{number * 31 % ROOMS}", number * 7919 % 100003
            note = hashlib.sha256(str(number).encode()).hexdigest()  # does not compress: logs get long
            time = f"2026-03-01 08:{number // 60 % 60:02}:{number % 60:02}"
            lines.append(f"{time},s{number % SENSORS},{room},{value},{note}\n")
            events, total = self.rooms.get(room, (0, 0))
            self.rooms[room] = (events + 1, total + value)
        path = write_file(os.path.join(self.directory, f"rows-{self.sent}.csv"), "".join(lines))
        self.sent += count
        check_equal(cluster.load("readings", path), (count, 0, 0), "rows imported")

    def check(self, cluster, nodes, what):
        for node in nodes:
            rows = cluster.query_at(node, QUESTION)
            found = {row["room"]: (int(row["events"]), int(row["total"])) for row in rows}
            check_equal(found, self.rooms, f"{what}, at node {node}")
        say(f"{what}: nodes {list(nodes)} answer the truth")


def make(directory):
    """Small segments, one version retained: logs are trimmed with every job."""
    cluster = Nodes(os.path.join(directory, "cluster"), CATALOG, partitions=PARTITIONS, workers=1)
    cluster.up()
    cluster.down()
    for node in cluster.nodes:
        path = os.path.join(cluster.node_directory(node), "config", "node.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for key, value in (("retained_versions", 1), ("flush_interval_ms", 200), ("segment_bytes", 1 << 20)):
            text, count = re.subn(rf"(?m)^{key}:.*$", f"{key}: {value}", text)
            check_equal(count, 1, f"settings named {key}")
        write_file(path, text)
    return cluster


def partition_folders(cluster, node):
    return [os.path.join(cluster.node_directory(node), f"partition-{number}") for number in range(PARTITIONS)]


def log_starts(cluster, node):
    """Where a node's logs begin: segments are named by their first offset."""
    starts = []
    for folder in partition_folders(cluster, node):
        names = [name for name in os.listdir(os.path.join(folder, "log")) if re.fullmatch(r"\d{20}\.seg", name)]
        starts.append(min(int(name[:20]) for name in names))
    return starts


def wait_trimmed(cluster, nodes, before, what):
    """Until the logs of these nodes begin later than they did."""

    def is_trimmed():
        return all(now > then for node in nodes for now, then in zip(log_starts(cluster, node), before))

    wait_until(is_trimmed, f"{what}: logs are trimmed", timeout=60, pause=0.2)
    say(f"{what}: logs begin at {log_starts(cluster, nodes[0])}")


def leads(cluster, node):
    return [entry["partition"] for entry in cluster.status()["cluster"]["partitions"] if entry["leader"] == node]


def lead_and_answer(cluster, truth, victim):
    """Every other node goes once: the victim leads some partitions then, and answers of all are the truth."""
    led = []
    for other in cluster.nodes:
        if other == victim:
            continue
        rest = [node for node in cluster.nodes if node != other]
        cluster.kill_node(other)
        truth.load(cluster, 500)
        truth.check(cluster, rest, f"without node {other}")
        led += leads(cluster, victim)
        cluster.start_node(other)
        cluster.wait_in_sync()
    check(led, f"node {victim} led partitions")
    say(f"node {victim} led partitions {sorted(set(led))}")


def disk_lost(cluster, truth, victim):
    """Everything of its partitions is gone, and of history and versions."""
    rest = [node for node in cluster.nodes if node != victim]
    starts = log_starts(cluster, rest[0])
    cluster.kill_node(victim)
    for folder in partition_folders(cluster, victim):
        shutil.rmtree(folder)
    for name in LOST:
        shutil.rmtree(os.path.join(cluster.node_directory(victim), name))
    truth.load(cluster, 2000)
    published(cluster, f"without node {victim}")
    check_equal(log_starts(cluster, rest[0]), starts, "a node that is away keeps logs from being trimmed")
    cluster.start_node(victim)
    cluster.wait_in_sync()
    check(all(log_starts(cluster, victim)), f"logs of node {victim} begin where others' begin")
    truth.check(cluster, rest, f"node {victim} without its disk is in sync again")
    truth.load(cluster, ROWS)
    published(cluster, f"with node {victim}, which lacks history")
    check_copies(cluster, cluster.nodes, f"with node {victim}, which lacked history")
    truth.check(cluster, cluster.nodes, f"with node {victim}, which lacked history")
    truth.load(cluster, ROWS)
    published(cluster, f"with node {victim} again")
    wait_trimmed(cluster, list(cluster.nodes), starts, f"with node {victim} again")
    lead_and_answer(cluster, truth, victim)


def old_copy_put_back(cluster, truth, victim, old):
    """Its logs end before others' begin."""
    rest = [node for node in cluster.nodes if node != victim]
    cluster.kill_node(victim)
    for number, folder in enumerate(partition_folders(cluster, victim)):
        shutil.rmtree(folder)
        shutil.copytree(os.path.join(old, f"partition-{number}"), folder)
    check(not any(log_starts(cluster, victim)), "the old logs begin at 0")
    truth.load(cluster, 1000)
    cluster.start_node(victim)
    cluster.wait_in_sync()
    check(all(log_starts(cluster, victim)), f"logs of node {victim} begin where others' begin")
    truth.check(cluster, cluster.nodes, f"node {victim} with its old partitions is in sync again")
    published(cluster, f"with node {victim} and its old partitions")
    truth.check(cluster, rest, f"with node {victim} and its old partitions")
    lead_and_answer(cluster, truth, victim)


def node_added(cluster, truth):
    """A new node's replicas begin where the trimmed logs of the others do."""
    check(all(log_starts(cluster, 1)), "logs are trimmed")
    cluster.command("node", "add", "--wait", timeout=120)
    cluster.nodes = range(1, 5)
    held = [entry["partition"] for entry in cluster.status()["cluster"]["partitions"] if 4 in entry["isr"]]
    check(held, "node 4 is in sync for some partitions")
    truth.load(cluster, 1000)
    truth.check(cluster, cluster.nodes, f"node 4 holds partitions {held}")
    published(cluster, "with node 4")
    truth.check(cluster, cluster.nodes, "with node 4, after a job")


def test(directory):
    truth = Truth(directory)
    old = os.path.join(directory, "old")
    with make(directory) as cluster:
        cluster.wait_in_sync()
        truth.load(cluster, 2000)
        victim = next(node for node in cluster.nodes if node != cluster.acting_node())
        cluster.kill_node(victim)
        for number, folder in enumerate(partition_folders(cluster, victim)):
            shutil.copytree(folder, os.path.join(old, f"partition-{number}"))
        cluster.start_node(victim)
        cluster.wait_in_sync()
        for piece in range(2):
            before = log_starts(cluster, victim)
            truth.load(cluster, ROWS)
            published(cluster, f"job {piece + 1}")
            wait_trimmed(cluster, list(cluster.nodes), before, f"job {piece + 1}")
        truth.check(cluster, cluster.nodes, "two jobs")
        disk_lost(cluster, truth, victim)
        old_copy_put_back(cluster, truth, victim, old)
        node_added(cluster, truth)


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-controller", "anabranch-speed", "anabranch-serving", "anabranch-batch",
        "anabranch-zookeeper")
    need_zookeeper()
    main(test)
