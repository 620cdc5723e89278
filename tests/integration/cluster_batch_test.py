"""Batch jobs in a cluster of three nodes on one machine: what is sealed and published is on every node, byte for byte,
and every node answers from it; a job without one of the nodes publishes, and the next one brings that node up to date;
the node whose controller acts is lost in the middle of a job, which another one takes up.
"""

import hashlib
import json
import os
import subprocess

from harness import Nodes, check, check_equal, command, drifts, environment, main, need_programs, need_zookeeper, run
from harness import say, wait_until, write_file

CATALOG = """
CREATE STREAM readings (
  taken TIMESTAMP NOT NULL, sensor TEXT NOT NULL, room TEXT NOT NULL, value BIGINT NOT NULL CHECK (value >= 0),
  EVENT TIME taken, PARTITION KEY (sensor));
CREATE VIEW by_room AS SELECT room, count(*) AS events, sum(value) AS total FROM readings GROUP BY room;
CREATE VIEW by_sensor AS SELECT sensor, count(*) AS events, max(value) AS largest FROM readings GROUP BY sensor;
"""
HEADER = "taken,sensor,room,value\n"
ROOMS = 7
SENSORS = 97
QUESTION = "SELECT room, events, total FROM by_room"


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
            lines.append(f"2026-03-01 08:{number // 60 % 60:02}:{number % 60:02},s{number % SENSORS},{room},{value}\n")
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


def files_of(cluster, node, folder):
    """Hashes of all files below a folder of a node."""
    top = os.path.join(cluster.node_directory(node), folder)
    found = {}
    for place, _, names in os.walk(top):
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = hashlib.sha256(file.read()).hexdigest()
    return found


def versions_in_force(cluster):
    """Below versions/: the folder of each view's version that stands."""
    places = []
    for entry in cluster.status()["views"]:
        definition, place = entry["version"].split("/")
        places.append(os.path.join(f"{entry['name']}-{definition}", place))
    return places


def check_copies(cluster, nodes, what):
    """History, and the versions that stand, are the same on these nodes."""
    first, *rest = nodes
    history = files_of(cluster, first, "history")
    check(history, f"{what}: there is history")
    for node in rest:
        check_equal(files_of(cluster, node, "history"), history, f"{what}: history of node {node}")
        for place in versions_in_force(cluster):
            folder = os.path.join("versions", place)
            expected = files_of(cluster, first, folder)
            check(expected, f"{what}: {folder} is there")
            check_equal(files_of(cluster, node, folder), expected, f"{what}: {folder} of node {node}")
    say(f"{what}: nodes {list(nodes)} hold the same")


def published(cluster, what, *extra):
    record = cluster.recompute(*extra)
    check_equal(record["state"], "done", f"{what}: {record}")
    check(not any(drifts(record.get("report") or {})), f"{what}: no drift in {record}")
    return record


def without_a_node(cluster, truth, victim):
    """Two jobs that it misses; the third one finds it again."""
    rest = [node for node in cluster.nodes if node != victim]
    cluster.kill_node(victim)
    for _ in range(2):
        truth.load(cluster, 3000)
        published(cluster, f"without node {victim}")
    check_copies(cluster, rest, f"without node {victim}")
    truth.check(cluster, rest, f"without node {victim}")
    cluster.start_node(victim)
    cluster.wait_in_sync()
    truth.load(cluster, 1000)
    published(cluster, f"with node {victim} again")
    check_copies(cluster, cluster.nodes, f"with node {victim} again")
    truth.check(cluster, cluster.nodes, f"with node {victim} again")


def acting_node_lost(cluster, truth):
    """In the middle of a job: it ends under another controller, which gives it another attempt."""
    truth.load(cluster, 60000)
    victim = cluster.acting_node()
    rest = [node for node in cluster.nodes if node != victim]
    elsewhere = cluster.node_directory(rest[0])
    words = [command("anabranch"), "job", "submit", "recompute", "--full", "--data", elsewhere]
    submitted = run(words, timeout=60).out
    name = next(word.strip(",.:") for word in submitted.split() if word.startswith("job-"))

    def record():
        shown = subprocess.run(
            [command("anabranch"), "job", "show", name, "--json", "--data", elsewhere],
            capture_output=True,
            env=environment(),
            timeout=60,
            check=False,
        )
        found = json.loads(shown.stdout) if shown.returncode == 0 else {}
        return found.get("job", found)

    wait_until(lambda: record().get("attempt", 0) > 0, "the job has begun")
    cluster.kill_node(victim)
    say(f"node {victim}, whose controller acted, killed during {name}")
    ended = wait_until(lambda: (lambda found: found if found.get("state") in ("done", "failed") else None)(record()),
        "the end of the job", timeout=120, pause=0.3)
    check_equal(ended["state"], "done", f"the job that was taken up: {ended}")
    check_copies(cluster, rest, "after the loss of the acting node")
    truth.check(cluster, rest, "after the loss of the acting node")
    cluster.start_node(victim)
    cluster.wait_in_sync()
    published(cluster, "after its return")
    check_copies(cluster, cluster.nodes, "after its return")
    truth.check(cluster, cluster.nodes, "after its return")


def test(directory):
    truth = Truth(directory)
    with Nodes(os.path.join(directory, "cluster"), CATALOG, partitions=6, workers=1) as cluster:
        cluster.wait_in_sync()
        truth.load(cluster, 5000)
        records = [published(cluster, "the first job")]
        check_copies(cluster, cluster.nodes, "the first job")
        truth.check(cluster, cluster.nodes, "the first job")
        truth.load(cluster, 2000)
        records.append(published(cluster, "the second job"))
        truth.check(cluster, cluster.nodes, "the second job")
        records.append(published(cluster, "from history alone", "--full"))
        # A replica says nothing of a span that it has not stored yet, so not every job need have some.
        compared = [record["report"]["replicas_compared"] for record in records]
        check(any(compared), f"digests of replicas that do not lead were compared: {compared}")
        check_copies(cluster, cluster.nodes, "from history alone")
        truth.check(cluster, cluster.nodes, "from history alone")
        without_a_node(cluster, truth, next(node for node in cluster.nodes if node != cluster.acting_node()))
        acting_node_lost(cluster, truth)


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-controller", "anabranch-speed", "anabranch-serving", "anabranch-batch",
        "anabranch-zookeeper")
    need_zookeeper()
    main(test)
