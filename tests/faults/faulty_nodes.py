"""faulty_nodes: a cluster of several nodes on this machine that can be made faulty: nodes are cut from each other,
their processes end or stand still, and their disks, clocks and wires do what disks.py and wires.py say.

As root a test has a network of its own, in which each node is a user with an address, so that packets from one node
to another are dropped by a routing rule.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

from disks import Disk, need_shim
from harness import (
    BIN,
    SLOW,
    Failure,
    Nodes,
    check,
    check_equal,
    command,
    environment,
    processes_of,
    run,
    wait_until,
    write_file,
)

DAEMONS = ("anabranch-controller", "anabranch-speed", "anabranch-serving")
USER = 61000  # node K is user USER + K where nodes can be cut from each other
MAY_WRITE = "-all,+dac_override"
SPEED_PORT = 7001  # of every node, at an address of its own
PATIENCE = 90  # seconds until all is well again


def own_network():
    """Goes on in a network of its own, if that can be had; returns whether this is it."""
    if os.environ.get("ANABRANCH_FAULTS_NETWORK"):
        for words in ("link set lo up", "rule add pref 10 lookup local", "rule del pref 0"):
            run(["ip", *words.split()])
        return True
    probe = "ip link set lo up && ip rule add pref 5 uidrange 61001-61001 to 127.0.0.11/32 blackhole"
    if os.geteuid() == 0 and subprocess.run(["unshare", "-n", "sh", "-c", probe], capture_output=True).returncode == 0:
        os.environ["ANABRANCH_FAULTS_NETWORK"] = "1"
        os.execvp("unshare", ["unshare", "-n", sys.executable, "-B", *sys.argv])
    return False


def address_of(node):
    return f"127.0.0.{10 + node}"


class Network:
    """What cannot be reached from where."""

    def __init__(self):
        self.count = 0

    def drop(self, node, *selector):
        """Packets of a node's sockets that fit are dropped."""
        user = f"{USER + node}-{USER + node}"
        run(["ip", "rule", "add", "pref", "5", "uidrange", user, *selector, "blackhole"])
        self.count += 1

    def cut(self, one, other, both=True):
        self.drop(one, "to", f"{address_of(other)}/32")
        if both:
            self.drop(other, "to", f"{address_of(one)}/32")

    def heal(self):
        for _ in range(self.count):
            run(["ip", "rule", "del", "pref", "5"])
        self.count = 0


class FaultyNodes(Nodes):
    """A cluster of which each node is a user of its own, when `is_apart`; has disks when the shim was built, and wires
    when both are so, and `wires` is their class."""

    def __init__(self, directory, catalog, is_apart, zookeepers=1, settings=None, wires=None):
        super().__init__(directory, catalog, partitions=6, workers=1)
        self.wires = wires(self) if wires is not None and is_apart and need_shim() else None
        self.is_apart, self.zookeepers_count, self.settings = is_apart, zookeepers, settings or {}
        self.disks = {}  # node to Disk

    def up(self, *extra, **options):
        super().up("--zookeepers", str(self.zookeepers_count), *extra, **options)
        for node in self.nodes:
            self.command("down", "--node", str(node))
        if self.is_apart:
            os.chmod(os.path.dirname(self.directory), 0o755)
            os.chmod(self.directory, 0o711)
        for node in self.nodes:
            self.configure(node)
        if self.wires is not None:
            self.wires.start()
        self.start(self.nodes)

    def __exit__(self, *arguments):
        try:
            super().__exit__(*arguments)
        finally:
            if self.wires is not None:
                self.wires.stop()

    def configure(self, node):
        place = self.node_directory(node)
        path = os.path.join(place, "config", "node.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for name, value in self.settings.items():
            text = re.sub(rf"(?m)^{name}: .*$", f"{name}: {value}", text)
        if self.is_apart:
            text = text.replace("tcp://127.0.0.1:", f"tcp://{address_of(node)}:")
            text = text.replace(f"speed: tcp://{address_of(node)}:*", f"speed: tcp://{address_of(node)}:{SPEED_PORT}")
        write_file(path, text)
        folders = [place]
        if need_shim():
            self.disks[node] = Disk(os.path.join(self.directory, f"faults-{node}"), place)
            folders.append(self.disks[node].directory)
        if self.is_apart:
            run(["chown", "-R", f"{USER + node}:{USER + node}", *folders])
            run(["chown", "-R", "root:root", os.path.join(place, "keys")])

    def words_at(self, node, *words):
        """A command, as it is typed at a node."""
        as_user = []
        if self.is_apart:
            user = str(USER + node)
            as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
            # The ranks of a batch job on one machine are one user's, and write to every node's directory.
            as_user += [f"--{kind}={MAY_WRITE}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
        return [*as_user, *words]

    def at(self, node, *words, **options):
        return run(
            self.words_at(node, command("anabranch"), *words, "--data", self.node_directory(node)), cwd="/", **options
        )

    def start_begin(self, node):
        words = self.words_at(node, command("anabranch"), "up", "--data", self.node_directory(node))
        surroundings = environment()
        if node in self.disks:
            surroundings.update(self.disks[node].environment())
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=surroundings, cwd="/")

    def start_refused(self, node):
        """What is said by a node whose speed may not go on: by `up`, or soon after it in the log."""
        path = os.path.join(self.node_directory(node), "logs", "speed.log")
        before = os.path.getsize(path)
        out, _ = self.start_begin(node).communicate(timeout=120 * SLOW)

        def said():
            with open(path, encoding="utf-8", errors="replace") as file:
                file.seek(before)
                text = file.read()
            return text if "cannot go on" in text else None

        text = wait_until(said, f"speed of node {node} ends: {out.decode()}", 20)
        self.kill([node])
        return out.decode() + text

    def start(self, order, pause=0.0):
        """Starts nodes at the same time, or one a while after the other: two of three are needed before any is up."""
        starting = []
        for node in order:
            starting.append(self.start_begin(node))
            time.sleep(pause)
        for process in starting:
            out, _ = process.communicate(timeout=120 * SLOW)
            check_equal(process.returncode, 0, f"exit code of {process.args}: {out.decode()}")

    def down(self, **options):
        if self.is_apart:
            for node in self.nodes:
                self.at(node, "down", timeout=90)
        return super().down(**options)

    def status(self):
        for node in self.nodes:
            result = self.at(node, "status", "--json", expect=None)
            if result.code == 0:
                return json.loads(result.out)
        raise Failure(f"no node tells its status: {result}")

    def acting_node(self):
        """None while nobody acts, or no node says who does."""
        try:
            return super().acting_node()
        except Failure:
            return None

    def starts(self, node):
        """How many starts of a node's disk are known to the cluster."""
        known = [entry["starts"] for entry in self.status()["cluster"]["nodes"] if entry["node"] == node]
        return known[0] if known else 0

    def is_in_sync(self):
        try:
            cluster = self.status()["cluster"]
        except (Failure, KeyError):
            return False
        return all(cluster.get(key) == 0 for key in ("leaderless", "under_replicated", "not_created"))

    def wait_in_sync(self, timeout=PATIENCE):
        wait_until(self.is_in_sync, "all replicas in sync", timeout, pause=0.2)

    def daemons(self, node, *programs):
        return [pid for program in programs or DAEMONS for pid in processes_of(self.node_directory(node), program)]

    def signal(self, node, number, *programs):
        for pid in self.daemons(node, *programs):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # it had just ended with another one

    def kill(self, nodes):
        """All processes of nodes; those of a controller are gone before it is started again."""
        for node in nodes:
            self.signal(node, signal.SIGKILL)
        wait_until(lambda: not any(self.daemons(node) for node in nodes), f"the processes of {nodes} are gone")

    # ---- ZooKeeper ----

    def zookeeper_ports(self, kind="client"):
        with open(os.path.join(self.directory, "nodes.json"), encoding="utf-8") as file:
            return [server[kind] for server in json.load(file)["zookeeper"]]

    def zookeeper(self, number=None):
        """Processes of all servers, or of one."""
        place = os.path.join(self.directory, "zookeeper")
        return processes_of(place if number is None else os.path.join(place, f"server-{number}"), "java")

    def zookeeper_supervisor(self):
        pids = processes_of(self.directory, "anabranch-zookeeper")
        check_equal(len(pids), 1, "processes that keep ZooKeeper running")
        return pids[0]

    def zookeeper_leader(self):
        """The server that leads the ensemble: only it listens where its followers connect. None: nobody does."""
        listening = set()
        for name in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(name, encoding="utf-8") as file:
                for line in file.readlines()[1:]:
                    words = line.split()
                    if words[3] == "0A":
                        listening.add(int(words[1].rsplit(":", 1)[1], 16))
        for number, port in enumerate(self.zookeeper_ports("peer"), 1):
            if port in listening:
                return number
        return None


def need_tests_program(name):
    path = os.path.join(os.path.dirname(BIN), "tests", name)
    check(os.access(path, os.X_OK), f"{path} is not built")
    return path
