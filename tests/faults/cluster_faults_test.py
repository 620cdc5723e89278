#!/usr/bin/env python3
"""cluster_faults_test: three nodes under faults, with clients whose histories are checked.

Importers send files that grow, and run `import` again until it succeeds, also when it was killed or has a twin;
programs write and read through one client each (history_client.c); every node is asked by commands as well. Each round
has one fault: processes are killed or stand still, ZooKeeper too, all nodes start in another order, nodes are cut from
each other or from ZooKeeper. Then all is healed and in sync again, and no answer may have been wrong: it counts what
was acknowledged before the question, nothing that was not sent before its end, and nothing less than the same reader
was told before. At the end every row that was acknowledged counts once, and no row twice.

    cluster_faults_test.py [--rounds N] [--seed S] [--only FAULT]

As root the test has a network of its own, in which each node is a user with an address, so that packets from one node
to another are dropped by a routing rule. Otherwise nothing is cut, which the test says.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import (  # noqa: E402
    BIN,
    SLOW,
    Failure,
    Imported,
    Nodes,
    Result,
    append_file,
    check,
    check_equal,
    command,
    environment,
    main,
    need_programs,
    need_zookeeper,
    parse_csv,
    processes_of,
    run,
    say,
    wait_until,
    write_file,
)
from histories import Histories, amount  # noqa: E402

CATALOG = """
CREATE STREAM rows (
  writer TEXT NOT NULL, item TEXT NOT NULL, amount BIGINT NOT NULL, taken TIMESTAMP NOT NULL,
  EVENT TIME taken, PARTITION KEY (item));
CREATE VIEW by_writer AS SELECT writer, count(*) AS events, sum(amount) AS total FROM rows GROUP BY writer;
CREATE VIEW by_item AS SELECT item, count(*) AS events, sum(amount) AS total FROM rows GROUP BY item;
"""
QUESTION = "SELECT writer, events, total FROM by_writer"
DAEMONS = ("anabranch-controller", "anabranch-speed", "anabranch-serving")
FAULTS = (
    "cut-zookeeper",
    "kill-acting",
    "pause-speed",
    "cut-node",
    "kill-two",
    "kill-speed",
    "ping-pong",
    "cut-pair",
    "cut-one-way",
    "pause-zookeeper",
    "kill-zookeeper",
    "kill-node",
    "cold-start",
)
USER = 61000  # node K is user USER + K where nodes can be cut from each other
CHUNK_ROWS = 300
IMPORTERS = 2
PROGRAMS = 2
PATIENCE = 90  # seconds until all is well again


def now():
    return time.monotonic_ns() // 1000


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
        self.drop(one, "to", f"127.0.0.{10 + other}/32")
        if both:
            self.drop(other, "to", f"127.0.0.{10 + one}/32")

    def heal(self):
        for _ in range(self.count):
            run(["ip", "rule", "del", "pref", "5"])
        self.count = 0


class FaultyNodes(Nodes):
    """A cluster of which each node is a user of its own, when `is_apart`."""

    def __init__(self, directory, is_apart):
        super().__init__(directory, CATALOG, partitions=6, workers=1)
        self.is_apart = is_apart

    def up(self, *extra, **options):
        super().up(*extra, **options)
        if self.is_apart:
            for node in self.nodes:
                self.command("down", "--node", str(node))
            os.chmod(os.path.dirname(self.directory), 0o755)
            os.chmod(self.directory, 0o711)
            for node in self.nodes:
                self.set_apart(node)
            self.start(self.nodes)

    def set_apart(self, node):
        path = os.path.join(self.node_directory(node), "config", "node.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        write_file(path, text.replace("tcp://127.0.0.1:", f"tcp://127.0.0.{10 + node}:"))
        run(["chown", "-R", f"{USER + node}:{USER + node}", self.node_directory(node)])

    def words_at(self, node, *words):
        """A command, as it is typed at a node."""
        as_user = []
        if self.is_apart:
            user = str(USER + node)
            as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
        return [*as_user, *words]

    def at(self, node, *words, **options):
        return run(
            self.words_at(node, command("anabranch"), *words, "--data", self.node_directory(node)), cwd="/", **options
        )

    def start(self, order, pause=0.0):
        """Starts nodes at the same time, or one a while after the other: two of three are needed before any is up."""
        starting = []
        for node in order:
            words = self.words_at(node, command("anabranch"), "up", "--data", self.node_directory(node))
            starting.append(
                subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), cwd="/")
            )
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

    def wait_in_sync(self, timeout=PATIENCE):
        def is_whole():
            try:
                cluster = self.status()["cluster"]
            except (Failure, KeyError):
                return False
            return all(cluster.get(key) == 0 for key in ("leaderless", "under_replicated", "not_created"))

        wait_until(is_whole, "all replicas in sync", timeout, pause=0.2)

    def daemons(self, node, *programs):
        return [
            pid for program in programs or DAEMONS for pid in processes_of(self.node_directory(node), program)
        ]

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

    def zookeeper(self):
        return processes_of(os.path.join(self.directory, "zookeeper"), "java")


class Clients:
    """Who writes and reads all the time; their threads are gone after stop()."""

    def __init__(self, cluster, directory, seed):
        self.cluster, self.directory, self.seed = cluster, directory, seed
        self.histories = Histories()
        self.is_ending = threading.Event()
        self.is_given_up = False
        self.errors, self.programs, self.threads = [], [], []

    def start(self):
        for number in range(IMPORTERS):
            self.begin(self.import_all, f"import{number}", random.Random(self.seed * 100 + number))
        for node in self.cluster.nodes:
            self.begin(self.ask, node)
        for number in range(PROGRAMS):
            node = 1 + number % len(self.cluster.nodes)
            writer = f"program{number}"
            words = [os.path.join(os.path.dirname(BIN), "tests", "history_client"), self.cluster.node_directory(node)]
            with open(f"{self.directory}/{writer}.log", "wb") as log:
                process = subprocess.Popen(
                    self.cluster.words_at(node, *words, writer),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment(),
                    cwd="/",
                )
            self.programs.append(process)
            self.begin(self.listen, writer, process)

    def begin(self, function, *arguments):
        def guarded():
            try:
                function(*arguments)
            except BaseException as error:  # the main thread raises it
                self.errors.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        self.threads.append(thread)

    def listen(self, name, process):
        """What a program says, as history."""
        for line in process.stdout:
            kind, *words = line.decode().rstrip("\n").split(" ")
            if kind == "failed":
                self.histories.fail(" ".join(words[2:]))
                continue
            if kind == "read":
                counts = {name: (int(events), int(total)) for name, events, total in (w.split(":") for w in words[2:])}
                self.histories.read(name, int(words[0]), int(words[1]), counts)
                continue
            first, rows, start, *outcome = map(int, words)
            if kind == "begin":
                self.histories.sent(name, start, first, rows)
            else:
                self.histories.told(name, outcome[0], first, rows, outcome[1], outcome[2])
        check_equal(process.wait(timeout=30), 0, f"exit code of {name}")

    def import_all(self, name, rng):
        path = write_file(os.path.join(self.directory, f"{name}.csv"), "writer,item,amount,taken\n")
        first = 0
        while not self.is_ending.is_set():
            numbers = range(first, first + CHUNK_ROWS)
            self.histories.sent(name, now(), first, CHUNK_ROWS)
            append_file(path, "".join(f"{name},{name}-{n},{amount(n)},2026-03-01 08:00:00\n" for n in numbers))
            self.import_until_done(name, path, first + CHUNK_ROWS, rng)
            self.histories.told(name, now(), first, CHUNK_ROWS, CHUNK_ROWS, 0)
            first += CHUNK_ROWS

    def import_until_done(self, name, path, rows, rng):
        """By whichever node; sometimes the command is killed, or stands still while another one does its work."""
        end = time.monotonic() + 2 * PATIENCE * SLOW
        twins = []
        while not self.is_given_up:
            process = self.import_begin(rng.choice(self.cluster.nodes), name, path)
            try:
                out, err = process.communicate(timeout=rng.choice((0.03, 0.08, 20, 20, 20)) * SLOW)
            except subprocess.TimeoutExpired:
                if rng.random() < 0.5:
                    process.send_signal(signal.SIGSTOP)
                    twins.append(process)
                else:
                    process.kill()
                    process.communicate()
                continue
            if process.returncode == 0:
                counts = Imported(Result(process.args, 0, out.decode(), err.decode()))
                check_equal((counts.accepted + counts.duplicates, counts.dead_letters), (rows, 0), f"rows of {name}")
                break
            check(err.strip(), f"an import that failed says why: {process.args}")
            check(time.monotonic() < end, f"the import never succeeds: {(out + err).decode()[-1000:]}")
            time.sleep(0.3)
        for twin in twins:
            twin.send_signal(signal.SIGCONT)
            _, err = twin.communicate(timeout=2 * PATIENCE * SLOW)
            check(twin.returncode == 0 or err.strip(), f"an import that failed says why: {twin.args}")

    def import_begin(self, node, name, path):
        words = [command("anabranch"), "import", "rows", "-", "--source", name]
        with open(path, "rb") as file:
            return subprocess.Popen(
                self.cluster.words_at(node, *words, "--data", self.cluster.node_directory(node)),
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
                cwd="/",
            )

    def ask(self, node):
        """Each command is a client of its own: what an answer counts is durable, so the next counts it too."""
        while not self.is_ending.wait(0.25):
            start = now()
            result = self.cluster.at(
                node, "query", QUESTION, "--format", "csv", "--timeout-ms", "8000", expect=None, timeout=30
            )
            if result.code != 0:
                self.histories.fail(result.err)
                time.sleep(0.3)
                continue
            rows = parse_csv(result.out)[1]
            counts = {row["writer"]: (int(row["events"]), int(row["total"])) for row in rows}
            self.histories.read(f"node {node}", start, now(), counts)

    def check(self):
        if self.errors:
            raise self.errors[0]
        return self.histories.check()

    def stop(self):
        self.is_ending.set()
        for process in self.programs:
            process.stdin.close()
        for thread in self.threads:
            thread.join(2 * PATIENCE * SLOW)
            check(not thread.is_alive(), "a client does not end")

    def give_up(self):
        """The test has failed: nothing goes on, and what the programs said is shown."""
        self.is_given_up = True
        self.is_ending.set()
        for number, process in enumerate(self.programs):
            process.kill()
            with open(f"{self.directory}/program{number}.log", encoding="utf-8", errors="replace") as file:
                print(f"--- program{number}\n{file.read()[-2000:]}", flush=True)


class Nemesis:
    """One fault after the other, each healed before the next."""

    def __init__(self, cluster, rng):
        self.cluster, self.rng, self.network = cluster, rng, Network()

    def run(self, fault):
        """Returns what was done."""
        nodes = self.rng.sample(list(self.cluster.nodes), len(self.cluster.nodes))
        seconds = self.rng.choice((1.0, 2.5, 4.5, 9.0))
        kind, _, target = fault.partition("-")
        if kind == "cut":
            return self.cut(target, nodes, 1 + seconds)
        if kind == "pause":
            return self.pause(target, nodes[0], seconds)
        if fault == "ping-pong":
            for node in (nodes[0], nodes[1], nodes[0]):
                self.cluster.signal(node, signal.SIGKILL, "anabranch-speed")
                time.sleep(1 + self.rng.random())
            return f"speed of nodes {nodes[0]}, {nodes[1]}, {nodes[0]} killed"
        return self.kill(target, nodes)

    def cut(self, target, nodes, seconds):
        one, other, third = nodes
        if target == "zookeeper":
            for port in self.zookeeper_ports():
                self.network.drop(one, "ipproto", "tcp", "dport", str(port))
        elif target == "node":
            self.network.cut(one, other)
            self.network.cut(one, third)
        else:
            self.network.cut(one, other, both=target == "pair")
        time.sleep(seconds)
        self.network.heal()
        return f"node {one} cut from {dict(zookeeper='ZooKeeper', node='the others').get(target, other)}, {seconds} s"

    def zookeeper_ports(self):
        with open(os.path.join(self.cluster.directory, "nodes.json"), encoding="utf-8") as file:
            return [server["client"] for server in json.load(file)["zookeeper"]]

    def pause(self, target, node, seconds):
        pids = self.cluster.zookeeper() if target == "zookeeper" else self.cluster.daemons(node, "anabranch-speed")
        check(pids, f"there is a process of {target} to pause")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass  # somebody gave it up
        return f"{target} of node {node} paused for {seconds} s" if target == "speed" else f"paused for {seconds} s"

    def kill(self, target, nodes):
        if target == "zookeeper":
            for pid in self.cluster.zookeeper():
                os.kill(pid, signal.SIGKILL)
            return "killed"
        if target == "speed":
            self.cluster.signal(nodes[0], signal.SIGKILL, "anabranch-speed")
            return f"speed of node {nodes[0]} killed"
        if target == "acting":
            nodes = [self.cluster.acting_node() or nodes[0]]
        else:
            nodes = nodes[: {"node": 1, "two": 2, "start": 3}[target]]
        self.cluster.kill(nodes)
        time.sleep(self.rng.choice((0.0, 2.0, 8.0)))
        self.cluster.start(self.rng.sample(nodes, len(nodes)), pause=self.rng.choice((0.0, 0.5)))
        return f"nodes {nodes} killed and started"


def check_everywhere(cluster, histories):
    """Nobody writes any more: every node says the same of every row."""
    for node in cluster.nodes:
        result = cluster.at(node, "query", "SELECT item, events, total FROM by_item", "--format", "csv")
        rows = parse_csv(result.out)[1]
        items = {row["item"]: (int(row["events"]), int(row["total"])) for row in rows}
        check_equal(len(items), len(rows), f"each item has one row, at node {node}")
        count = histories.check_items(items)
        say(f"node {node}: {len(items)} of {count} rows count, each once")


def test(directory):
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=len(FAULTS))
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1000000)
    parser.add_argument("--only", choices=FAULTS)
    options = parser.parse_args()
    is_apart = bool(os.environ.get("ANABRANCH_FAULTS_NETWORK"))
    faults = [fault for fault in FAULTS if is_apart or not fault.startswith("cut-")]
    if not is_apart:
        say("nodes are not cut from each other: that needs root, unshare, setpriv and ip")
    say(f"{options.rounds} rounds, --seed {options.seed}")
    rng = random.Random(options.seed)
    with FaultyNodes(os.path.join(directory, "cluster"), is_apart) as cluster:
        cluster.wait_in_sync()
        say("up")
        clients = Clients(cluster, directory, options.seed)
        try:
            clients.start()
            nemesis = Nemesis(cluster, rng)
            failed_before = 0
            for number in range(options.rounds):
                fault = options.only or (faults[number] if number < len(faults) else rng.choice(faults))
                time.sleep(1)
                what = nemesis.run(fault)
                begun = time.monotonic()
                cluster.wait_in_sync()
                took = time.monotonic() - begun
                answers = clients.check()
                failed = clients.histories.failed
                say(
                    f"round {number}: {fault}: {what}; in sync after {took:.1f} s; {answers} answers are right, "
                    f"{failed - failed_before} questions failed"
                )
                failed_before = failed
            clients.stop()
            clients.check()
        except BaseException:
            clients.give_up()
            raise
        histories = clients.histories
        for name, writer in sorted(histories.writers.items()):
            sent, _ = writer.at_most(float("inf"))
            check(writer.at_least(float("inf"))[0] > 0, f"nothing of {name} was acknowledged")
            say(f"{name}: {sent} rows sent, {writer.unknown()} unknown, {writer.refused()} refused")
        check(histories.checked > 0, "nothing was answered")
        say(f"{histories.checked} answers were right, {histories.failed} questions ended with an error")
        check_everywhere(cluster, histories)


if __name__ == "__main__":
    need_zookeeper()
    need_programs("anabranch", "anabranch-zookeeper", "../tests/history_client")
    own_network()
    main(test)
