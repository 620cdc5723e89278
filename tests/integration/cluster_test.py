"""A cluster of three nodes on one machine: it is started, asked at each node, loses a node to SIGKILL in the middle of
an import, twice, the second time the one whose controller acts, loses its ZooKeeper, and is stopped. Every row that was
sent is counted once, and what was killed comes back in sync.
"""

import os
import signal
import subprocess
import time

from harness import (
    Imported,
    Nodes,
    Result,
    check,
    check_equal,
    command,
    environment,
    main,
    need_programs,
    need_zookeeper,
    processes_of,
    run,
    say,
    wait_until,
    write_file,
)

CATALOG = """
CREATE STREAM readings (
  taken TIMESTAMP NOT NULL, sensor TEXT NOT NULL, room TEXT NOT NULL, value BIGINT NOT NULL CHECK (value >= 0),
  EVENT TIME taken, PARTITION KEY (sensor));
CREATE VIEW by_room AS SELECT room, count(*) AS events, sum(value) AS total, max(value) AS largest
  FROM readings GROUP BY room;
CREATE VIEW by_sensor AS SELECT sensor, count(*) AS events FROM readings GROUP BY sensor;
"""
HEADER = "taken,sensor,room,value\n"
ROOMS = 7
SENSORS = 97
ROWS = 60000  # an import


class Truth:
    """What the view has to say of all rows that were sent."""

    def __init__(self):
        self.rooms = {}
        self.sent = 0

    def rows(self, count):
        """The next rows, as CSV; they count from now on."""
        lines = []
        for number in range(self.sent, self.sent + count):
            room, value = f"room-{number * 31 % ROOMS}", number * 7919 % 100003
            lines.append(f"2026-03-01 08:{number // 60 % 60:02}:{number % 60:02},s{number % SENSORS},{room},{value}\n")
            events, total, largest = self.rooms.get(room, (0, 0, 0))
            self.rooms[room] = (events + 1, total + value, max(largest, value))
        self.sent += count
        return "".join(lines)

    def check(self, rows, what):
        found = {row["room"]: (int(row["events"]), int(row["total"]), int(row["largest"])) for row in rows}
        check_equal(found, self.rooms, what)


QUESTION = "SELECT room, events, total, largest FROM by_room"


def check_everywhere(cluster, truth, what):
    for node in cluster.nodes:
        truth.check(cluster.query_at(node, QUESTION), f"{what}, at node {node}")
    say(f"{what}: all nodes answer the truth")


def check_layout(cluster):
    """Each node's directory is one of a cluster of its own kind; the secrets are for this user alone."""
    keys = set()
    for node in cluster.nodes:
        directory = cluster.node_directory(node)
        for secret in ("keys/node.key", "keys/operator.key", "keys/coordination"):
            mode = os.stat(os.path.join(directory, secret)).st_mode & 0o777
            check_equal(mode, 0o600, f"mode of {secret} of node {node}")
        with open(os.path.join(directory, "keys", "node.key"), "rb") as file:
            keys.add(file.read())
    check_equal(len(keys), 1, "node keys")
    mode = os.stat(os.path.join(cluster.directory, "zookeeper", "credential")).st_mode & 0o777
    check_equal(mode, 0o600, "mode of the credential")


def check_new(directory):
    """What cannot become a cluster of several nodes is refused, and nothing is touched."""
    place = os.path.join(directory, "refused")
    catalog = write_file(os.path.join(directory, "catalog.sql"), CATALOG)
    for words, reason in (
        (("--nodes", "2", "--catalog", catalog), "from 3 to 5"),
        (("--nodes", "3"), "needs --catalog"),
        (("--nodes", "3", "--zookeepers", "2", "--catalog", catalog), "1 or 3 ZooKeeper servers"),
        (("--node", "1", "--catalog", catalog), "starts with all of its nodes"),
    ):
        refused = run([command("anabranch"), "up", "--data", place, *words], expect=2)
        check(reason in refused.err, f"why {words} is refused: {refused}")
        check(not os.path.exists(place), f"nothing is made for {words}")
    os.mkdir(place)
    write_file(os.path.join(place, "letter"), "mine")
    refused = run([command("anabranch"), "up", "--data", place, "--nodes", "3", "--catalog", catalog], expect=1)
    check("nothing was touched" in refused.err, f"why a foreign directory is refused: {refused}")
    check_equal(os.listdir(place), ["letter"], "the foreign directory")


def check_refusals(cluster):
    """What was fixed when the cluster was made stays; what runs is not started twice."""
    before = sorted(processes_of(cluster.directory))
    cluster.up()
    check_equal(sorted(processes_of(cluster.directory)), before, "processes after a second 'up'")
    for words, reason in (
        (("--nodes", "4"), "has 3 nodes"),
        (("--partitions", "5"), "has 6 partitions"),
        (("--zookeepers", "3"), "has 1 ZooKeeper servers"),
        (("--node", "4"), "from 1 to 3"),
        (("--foreground",), "--foreground"),
    ):
        refused = cluster.command("up", *words, expect="failure")
        check(reason in refused.err, f"why {words} is refused: {refused}")
    refused = cluster.command("node", "kill", "9", expect=2)
    check("there is no node '9'" in refused.err, f"why node 9 is not killed: {refused}")
    check_equal(sorted(processes_of(cluster.directory)), before, "processes after refusals")


def import_with_kill(cluster, truth, source, victim):
    """Kills a node in the middle of an import, which goes on and counts every row once."""
    words = ["import", "readings", "-", "--source", source, "--data", cluster.directory]
    already = truth.sent
    with subprocess.Popen(
        [command("anabranch"), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        process.stdin.write((HEADER + truth.rows(ROWS // 2)).encode())
        process.stdin.flush()
        # Some of it is acknowledged, some is on its way, the rest is not read yet.
        wait_until(
            lambda: sum(int(row["events"]) for row in cluster.query(QUESTION)) > already, "first rows of the import"
        )
        check(process.poll() is None, "the import runs when the node is killed")
        cluster.kill_node(victim)
        say(f"node {victim} killed")
        out, err = process.communicate(truth.rows(ROWS - ROWS // 2).encode(), timeout=120)
    result = Result(words, process.returncode, out.decode(), err.decode())
    check_equal(process.returncode, 0, f"exit code of the import: {result}")
    check_equal(Imported(result), (ROWS, 0, 0), f"rows of {source}: {result}")
    check(not processes_of(cluster.node_directory(victim)), f"processes of node {victim} are gone")
    truth.check(cluster.query(QUESTION), f"after the import that lost node {victim}")
    say(f"{source}: {ROWS} rows counted once, without node {victim}")


def node_come_back(cluster, truth, victim, is_alone=False):
    """is_alone: started by its own directory, as it would be on a machine of its own."""
    states = {entry["node"]: entry["state"] for entry in cluster.status()["nodes"]}
    check_equal(states[victim], "down", f"state of node {victim}")
    if is_alone:
        run([command("anabranch"), "up", "--data", cluster.node_directory(victim)], timeout=120)
    else:
        cluster.start_node(victim)
    cluster.wait_in_sync()
    say(f"node {victim} is back, and all replicas are in sync")
    check_everywhere(cluster, truth, f"after the return of node {victim}")


def zookeeper_killed(cluster, truth):
    """It is started again, and the nodes go on."""
    before = cluster.status()["zookeeper"]["servers"][0]["pid"]
    os.kill(before, signal.SIGKILL)
    wait_until(
        lambda: cluster.status()["zookeeper"]["servers"][0].get("pid") not in (None, before), "another ZooKeeper"
    )
    path = write_file(cluster.directory + ".after.csv", HEADER + truth.rows(1000))
    check_equal(cluster.load("readings", path), (1000, 0, 0), "rows imported after the loss of ZooKeeper")
    cluster.wait_in_sync()
    check_everywhere(cluster, truth, "after the loss of ZooKeeper")


def zookeeper_stalled(cluster, truth, seconds):
    """ZooKeeper stands still for long enough that who leads has let go, and is back before sessions expire."""
    pid = cluster.status()["zookeeper"]["servers"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
    path = write_file(f"{cluster.directory}.stalled-{seconds}.csv", HEADER + truth.rows(1000))
    check_equal(cluster.load("readings", path), (1000, 0, 0), f"rows imported after {seconds} s without ZooKeeper")
    cluster.wait_in_sync()
    check_everywhere(cluster, truth, f"after {seconds} s without ZooKeeper")


def test(directory):
    truth = Truth()
    place = os.path.join(directory, "cluster")
    check_new(directory)
    with Nodes(place, CATALOG, partitions=6, workers=1) as cluster:
        say("up")
        check_layout(cluster)
        check_refusals(cluster)
        cluster.wait_in_sync()
        path = write_file(os.path.join(directory, "first.csv"), HEADER + truth.rows(5000) + "2026-03-01,s1,room-0,-1\n")
        check_equal(cluster.load("readings", path), (5000, 0, 1), "first rows")
        check_equal(cluster.load("readings", path), (0, 5001, 0), "the same rows again")
        check_equal(len(cluster.dead_letters("readings")), 1, "dead letters")
        check_everywhere(cluster, truth, "first rows")
        follower = next(node for node in cluster.nodes if node != cluster.acting_node())
        import_with_kill(cluster, truth, "second", follower)
        node_come_back(cluster, truth, follower)
        acting = cluster.acting_node()
        import_with_kill(cluster, truth, "third", acting)
        node_come_back(cluster, truth, acting, is_alone=True)
        zookeeper_killed(cluster, truth)
        for seconds in (2, 4.5, 9):
            zookeeper_stalled(cluster, truth, seconds)
        cluster.command("down", timeout=120)
        check(not processes_of(place), "'down' leaves nothing running")
        cluster.up()
        cluster.wait_in_sync()
        check_everywhere(cluster, truth, "after 'down' and 'up'")


if __name__ == "__main__":
    need_zookeeper()
    need_programs("anabranch", "anabranch-zookeeper")
    main(test)
