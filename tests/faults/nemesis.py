"""nemesis: the faults that a cluster meets, one after the other; each is healed before the next.

A fault is a method of Nemesis, named after it; it does the fault, waits, heals, and says in words what was done.
"""

import os
import shutil
import signal
import time

import disks
from faulty_nodes import Network
from harness import check, wait_until

GROUPS = {
    "nodes": (
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
        "cut-ring",
        "pause-and-kill",
    ),
    "disks": (
        "disk-lies",
        "disk-sync-error",
        "disk-full",
        "disk-torn-write",
        "disk-rots",
        "disk-lost-write",
        "disk-power-cut-all",
        "disk-stray-write",
        "disk-read-error",
        "disk-slow",
        "disk-read-only",
        "disk-sync-error-power-cut",
        "disk-rots-everywhere",
        "disk-state-rots",
        "disk-old-image",
        "disk-replaced",
        "disk-no-files",
        "clock-jump",
        "clock-strobe",
    ),
    "ensemble": (
        "ensemble-leader",
        "ensemble-quorum",
        "ensemble-one",
        "ensemble-rolling",
        "ensemble-emptied",
    ),
    "wires": (
        "wire-half-open",
        "wire-delay",
        "wire-corrupt",
        "wire-reset",
        "wire-swizzle",
        "wire-zookeeper",
        "wire-late-request",
    ),
}


def ended(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] in (b"Z", b"X")
    except OSError:
        return True


class Nemesis:
    """One fault after the other, each healed before the next."""

    def __init__(self, cluster, rng):
        self.cluster, self.wires, self.rng, self.network = cluster, cluster.wires, rng, Network()

    def can(self, fault):
        """Whether this cluster can meet it."""
        kind = fault.partition("-")[0]
        return {
            "cut": self.cluster.is_apart,
            "disk": bool(self.cluster.disks),
            "clock": bool(self.cluster.disks),
            "ensemble": self.cluster.zookeepers_count == 3,
            "wire": self.wires is not None,
        }.get(kind, True)

    def run(self, fault):
        """Returns what was done."""
        self.nodes = self.rng.sample(list(self.cluster.nodes), len(self.cluster.nodes))
        self.seconds = self.rng.choice((1.0, 2.5, 4.5, 9.0))
        return getattr(self, fault.replace("-", "_"))()

    # ---- what is cut ----

    def cut_for(self, seconds, what):
        time.sleep(seconds)
        self.network.heal()
        return f"{what}, {seconds} s"

    def cut_zookeeper(self):
        one = self.nodes[0]
        for port in self.cluster.zookeeper_ports() + (self.wires.zookeeper_ports(one) if self.wires else []):
            self.network.drop(one, "ipproto", "tcp", "dport", str(port))
        return self.cut_for(1 + self.seconds, f"node {one} cut from ZooKeeper")

    def cut_node(self):
        """The data plane alone: ZooKeeper is reached all the time."""
        one, other, third = self.nodes
        self.network.cut(one, other)
        self.network.cut(one, third)
        return self.cut_for(1 + self.seconds, f"node {one} cut from the others")

    def cut_pair(self):
        """The third one is a bridge."""
        self.network.cut(self.nodes[0], self.nodes[1])
        return self.cut_for(1 + self.seconds, f"node {self.nodes[0]} cut from {self.nodes[1]}")

    def cut_one_way(self):
        self.network.cut(self.nodes[0], self.nodes[1], both=False)
        return self.cut_for(1 + self.seconds, f"node {self.nodes[0]} does not reach {self.nodes[1]}")

    def cut_ring(self):
        """Each one reaches the next, and not the one before."""
        for one, other in zip(self.nodes, self.nodes[1:] + self.nodes[:1]):
            self.network.cut(one, other, both=False)
        return self.cut_for(1 + self.seconds, f"nodes {self.nodes} reach each other in one direction")

    # ---- who dies, or stands still ----

    def pause(self, pids, seconds):
        check(pids, "there is a process to pause")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        self.goes_on(pids)

    def goes_on(self, pids):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass  # somebody gave it up

    def pause_zookeeper(self):
        self.pause(self.cluster.zookeeper(), self.seconds)
        return f"paused for {self.seconds} s"

    def pause_speed(self):
        self.pause(self.cluster.daemons(self.nodes[0], "anabranch-speed"), self.seconds)
        return f"speed of node {self.nodes[0]} paused for {self.seconds} s"

    def pause_and_kill(self):
        """Who is left is chosen by pauses (F4): one dies while another one stands still, which goes on alone."""
        one, other, third = self.nodes
        paused = self.cluster.daemons(one, "anabranch-speed", "anabranch-controller")
        for pid in paused:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(self.seconds)
        self.cluster.signal(other, signal.SIGKILL, "anabranch-speed")
        self.goes_on(paused)
        self.pause(self.cluster.daemons(third, "anabranch-speed"), 2.0)
        return f"node {one} paused for {self.seconds} s, speed of {other} killed, then {third} paused"

    def kill_zookeeper(self):
        for pid in self.cluster.zookeeper():
            os.kill(pid, signal.SIGKILL)
        return "killed"

    def kill_speed(self):
        self.cluster.signal(self.nodes[0], signal.SIGKILL, "anabranch-speed")
        return f"speed of node {self.nodes[0]} killed"

    def ping_pong(self):
        one, other = self.nodes[:2]
        for node in (one, other, one):
            self.cluster.signal(node, signal.SIGKILL, "anabranch-speed")
            time.sleep(1 + self.rng.random())
        return f"speed of nodes {one}, {other}, {one} killed"

    def kill_and_start(self, nodes):
        self.cluster.kill(nodes)
        time.sleep(self.rng.choice((0.0, 2.0, 8.0)))
        self.cluster.start(self.rng.sample(nodes, len(nodes)), pause=self.rng.choice((0.0, 0.5)))
        return f"nodes {nodes} killed and started"

    def kill_acting(self):
        return self.kill_and_start([self.cluster.acting_node() or self.nodes[0]])

    def kill_node(self):
        return self.kill_and_start(self.nodes[:1])

    def kill_two(self):
        return self.kill_and_start(self.nodes[:2])

    def cold_start(self):
        return self.kill_and_start(self.nodes)

    # ---- a disk ----

    def disk(self):
        """Of the first node, and what it has met so far."""
        disk = self.cluster.disks[self.nodes[0]]
        return disk, disk.get(disks.MET)

    def meets(self, disk, before, what):
        """Waits until the fault was met: there are writes all the time."""
        wait_until(lambda: disk.get(disks.MET) > before, f"{what} of node {self.nodes[0]} is met")

    def disk_slow(self):
        disk, before = self.disk()
        delay_ms = self.rng.choice((30, 200, 1500))
        disk.set(disks.SYNC_DELAY_US, delay_ms * 1000)
        time.sleep(self.seconds)
        self.meets(disk, before, "a slow sync")
        disk.heal()
        return f"syncs of node {self.nodes[0]} took {delay_ms} ms more for {self.seconds} s"

    def sync_fails(self, disk, before):
        """A sync fails, once: the process ends and does not try again."""
        pids = self.cluster.daemons(self.nodes[0], "anabranch-speed")
        disk.set(disks.SYNC_ERRORS, 1)
        self.meets(disk, before, "a failed sync")
        wait_until(lambda: all(map(ended, pids)), f"speed of node {self.nodes[0]} ends after a failed sync", 10)

    def disk_sync_error(self):
        disk, before = self.disk()
        self.sync_fails(disk, before)
        disk.heal()
        return f"a sync failed at node {self.nodes[0]}, its speed ended"

    def disk_sync_error_power_cut(self):
        """What the failed sync was for, and everything after it, is gone (fsyncgate)."""
        disk, before = self.disk()
        pids = self.cluster.daemons(self.nodes[0], "anabranch-speed")
        disk.lie(1)
        disk.set(disks.SYNC_ERRORS, 1)
        wait_until(lambda: disk.get(disks.SYNC_ERRORS) == 0, "a failed sync is met")
        wait_until(lambda: all(map(ended, pids)), f"speed of node {self.nodes[0]} ends after a failed sync", 10)
        self.cluster.kill(self.nodes[:1])
        undone = disk.power_cut(self.rng, False)
        check(undone > 0 and disk.get(disks.MET) > before, "something was lost")
        self.cluster.start(self.nodes[:1])
        return f"a sync failed at node {self.nodes[0]}, and {undone} operations were not on its disk"

    def disk_full(self):
        disk, before = self.disk()
        scope = self.rng.choice((1, 2))
        disk.set(disks.NO_SPACE, scope)
        time.sleep(self.seconds)
        self.meets(disk, before, "a full disk")
        disk.heal()
        return f"{('the disk', 'the log')[scope - 1]} of node {self.nodes[0]} full for {self.seconds} s"

    def disk_no_files(self):
        """No file can be opened any more, no connection made (F15)."""
        disk, before = self.disk()
        disk.set(disks.NO_FILES, 1)
        time.sleep(self.seconds)
        if self.rng.random() < 0.5:
            self.cluster.signal(self.nodes[1], signal.SIGKILL, "anabranch-speed")  # who comes back connects
            time.sleep(2)
        self.meets(disk, before, "a lack of descriptors")
        disk.heal()
        return f"speed of node {self.nodes[0]} had no descriptors for {self.seconds} s"

    def disk_read_only(self):
        disk, before = self.disk()
        disk.set(disks.READ_ONLY, 1)
        time.sleep(min(self.seconds, 4.5))
        self.meets(disk, before, "a disk that is not written")
        disk.heal()
        return f"the disk of node {self.nodes[0]} read-only for {min(self.seconds, 4.5)} s"

    def disk_torn_write(self):
        disk, before = self.disk()
        disk.set(disks.WRITES_TORN, 1)
        self.meets(disk, before, "a torn write")
        disk.heal()
        return f"speed of node {self.nodes[0]} died in the middle of a write"

    def disk_lost_write(self):
        return self.write_goes_astray(disks.WRITES_LOST, "lost")

    def disk_stray_write(self):
        return self.write_goes_astray(disks.WRITES_ASTRAY, "written to another place")

    def write_goes_astray(self, slot, what):
        """Acknowledged and synced: what is on the disk is seen when it is read again."""
        disk, before = self.disk()
        disk.set(slot, 1)
        self.meets(disk, before, f"a write that is {what}")
        time.sleep(self.rng.choice((0.0, 1.0)))
        disk.heal()
        self.cluster.signal(self.nodes[0], signal.SIGKILL, "anabranch-speed")
        return f"a write of node {self.nodes[0]} was {what}, and its speed killed"

    def disk_read_error(self):
        """The log cannot be read when it is opened, and then it can."""
        disk, before = self.disk()
        disk.set(disks.READ_ERRORS, self.rng.choice((1, 3)))
        self.cluster.signal(self.nodes[0], signal.SIGKILL, "anabranch-speed")
        self.meets(disk, before, "an error of reading")
        time.sleep(1)
        disk.heal()
        return f"speed of node {self.nodes[0]} killed, and its log could not be read"

    def disk_lies(self):
        disk, before = self.disk()
        disk.lie(1)
        time.sleep(self.seconds)
        self.cluster.kill(self.nodes[:1])
        undone = disk.power_cut(self.rng, True)
        check(disk.get(disks.MET) > before, "the disk was written to")
        time.sleep(self.rng.choice((0.0, 0.0, 5.0)))
        self.cluster.start(self.nodes[:1])
        return f"the disk of node {self.nodes[0]} lied for {self.seconds} s: {undone} operations gone, node killed"

    def disk_power_cut_all(self):
        """All at once, and what nobody had synced is gone everywhere."""
        for node in self.nodes:
            self.cluster.disks[node].lie(2)
        time.sleep(self.seconds)
        self.cluster.kill(self.nodes)
        undone = [self.cluster.disks[node].power_cut(self.rng, False) for node in self.nodes]
        self.cluster.start(self.nodes)
        return f"power cut of nodes {self.nodes}: {undone} operations were not synced"

    def disk_rots(self):
        node = self.nodes[0]
        is_running = self.rng.random() < 0.5
        if not is_running:
            self.cluster.kill([node])
        root = self.cluster.node_directory(node)
        where = disks.rot(root, disks.segments(root), self.rng)
        if is_running:
            time.sleep(1)
            self.cluster.kill([node])
        self.cluster.start([node])
        return f"a bit flipped at node {node}, {where}, {'running' if is_running else 'down'}, and started"

    def disk_state_rots(self):
        """A bit of what was stored of the states flips; whatever reads it, nobody is told what it says."""
        node = self.nodes[0]
        root = self.cluster.node_directory(node)
        wait_until(lambda: disks.tables(root), f"states stored at node {node}")
        is_running = self.rng.random() < 0.5
        if not is_running:
            self.cluster.kill([node])
        where = disks.rot(root, disks.tables(root), self.rng)
        if not is_running:
            self.cluster.start([node])
        time.sleep(self.seconds)
        return f"a bit flipped at node {node}, {where}, {'running' if is_running else 'down'}"

    def disk_rots_everywhere(self):
        """The same record is bad at every replica (F7): nobody makes an answer up. Then the disks are as before."""
        self.cluster.kill(self.nodes)
        roots = [self.cluster.node_directory(node) for node in self.nodes]
        logs = [{os.path.relpath(path, root): path for path in disks.segments(root)} for root in roots]
        common = sorted(set(logs[0]) & set(logs[1]) & set(logs[2]))
        name = self.rng.choice(common)
        place = self.rng.choice(disks.records(logs[0][name]))[3] + 130
        folder = os.path.dirname(os.path.dirname(name))  # partition-<p>
        copies = []
        for root, log in zip(roots, logs):
            copies.append((os.path.join(root, folder), root + ".kept"))
            copy_tree(*copies[-1])
            disks.flip(log[name], min(place, os.path.getsize(log[name]) - 1))
        try:
            self.cluster.start(self.nodes)
            time.sleep(4)
            cluster = self.cluster.status()["cluster"]
            damaged = sum(bool(node["damaged"]) for node in cluster["nodes"])
            check(damaged == 3, f"three nodes say that {folder} is damaged: {cluster['nodes']}")
            check(cluster["leaderless"] == 1, f"nobody leads {folder}: {cluster['partitions']}")
        finally:
            self.cluster.kill(self.nodes)
            for path, kept in copies:
                shutil.rmtree(path)
                os.rename(kept, path)
        self.cluster.start(self.nodes)
        return f"{name} at {place} flipped at every node: {folder} had no leader, until it was as before"

    def disk_old_image(self):
        """A disk is put back as it was before its node went on with another one (F16): it is refused."""
        node = self.nodes[0]
        root = self.cluster.node_directory(node)
        self.cluster.kill([node])
        copy_tree(root, root + ".old")
        starts = self.cluster.starts(node)
        self.cluster.start([node])
        wait_until(lambda: self.cluster.starts(node) > starts, f"a start of node {node} is known")
        time.sleep(self.seconds)
        self.cluster.kill([node])
        os.rename(root, root + ".new")
        os.rename(root + ".old", root)
        return self.is_refused(node, root, "an older image of its disk", "older")

    def disk_replaced(self):
        """Another, empty disk in the place of a member's (F17): it is not taken for the member."""
        node = self.nodes[0]
        root = self.cluster.node_directory(node)
        self.cluster.kill([node])
        copy_tree(root, root + ".new")
        for name in os.listdir(root):
            if name.startswith("partition-"):
                shutil.rmtree(os.path.join(root, name))
        os.unlink(os.path.join(root, "disk.json"))
        return self.is_refused(node, root, "an empty disk", "disk")

    def is_refused(self, node, root, what, reason):
        """Starts a node on a disk that must not be admitted, and then on its own again."""
        said = self.cluster.start_refused(node)
        check(reason in said, f"node {node} says why it does not start: {said}")
        shutil.rmtree(root)
        os.rename(root + ".new", root)
        self.cluster.start([node])
        return f"node {node} was refused with {what}, and started with its own"

    # ---- a clock ----

    def clock_jump(self):
        disk, _ = self.disk()
        minutes = self.rng.choice((-90, -5, 5, 90))
        disk.set(disks.CLOCK_US, minutes * 60 * 1000000)
        time.sleep(self.seconds)
        if self.rng.random() < 0.5:
            disk.set(disks.CLOCK_US, 0)
        return f"the clock of node {self.nodes[0]} {minutes} minutes away for {self.seconds} s"

    def clock_strobe(self):
        disk, _ = self.disk()
        end = time.monotonic() + self.seconds
        count = 0
        while time.monotonic() < end:
            disk.set(disks.CLOCK_US, self.rng.randrange(-300, 300) * 1000000)
            time.sleep(0.02)
            count += 1
        disk.set(disks.CLOCK_US, 0)
        return f"the clock of node {self.nodes[0]} jumped {count} times"

    # ---- ZooKeeper's servers ----

    def ensemble_kill(self, number):
        for pid in self.cluster.zookeeper(number):
            os.kill(pid, signal.SIGKILL)

    def ensemble_waits(self):
        servers = self.cluster.zookeeper
        wait_until(lambda: len(servers()) == 3 and self.cluster.zookeeper_leader(), "an ensemble of three")

    def ensemble_one(self):
        leader = self.ensemble_leads()
        number = self.rng.choice([server for server in (1, 2, 3) if server != leader])
        self.ensemble_kill(number)
        time.sleep(self.seconds)
        self.ensemble_waits()
        return f"server {number} killed, which follows {leader}"

    def ensemble_leads(self):
        return wait_until(self.cluster.zookeeper_leader, "somebody leads the ensemble")

    def ensemble_leader(self):
        leader = self.ensemble_leads()
        self.ensemble_kill(leader)
        time.sleep(self.seconds)
        self.ensemble_waits()
        return f"server {leader} killed, which led; {self.cluster.zookeeper_leader()} leads"

    def ensemble_quorum(self):
        """Two of three are away for longer than a session lasts."""
        seconds = 8.0
        pair = self.rng.sample((1, 2, 3), 2)
        supervisor = self.cluster.zookeeper_supervisor()
        is_killed = self.rng.random() < 0.5
        pids = [pid for number in pair for pid in self.cluster.zookeeper(number)]
        os.kill(supervisor, signal.SIGSTOP)
        try:
            for pid in pids:
                os.kill(pid, signal.SIGKILL if is_killed else signal.SIGSTOP)
            time.sleep(seconds)
        finally:
            self.goes_on([supervisor, *([] if is_killed else pids)])
        self.ensemble_waits()
        return f"servers {pair} {'killed' if is_killed else 'paused'} for {seconds} s"

    def ensemble_rolling(self):
        for number in self.rng.sample((1, 2, 3), 3):
            self.ensemble_kill(number)
            time.sleep(1.5)
            self.ensemble_waits()
        return "each server killed in turn"

    def ensemble_emptied(self):
        """A server that lost its disk gets everything from the others."""
        number = self.rng.choice((1, 2, 3))
        supervisor = self.cluster.zookeeper_supervisor()
        os.kill(supervisor, signal.SIGSTOP)
        try:
            self.ensemble_kill(number)
            wait_until(lambda: not self.cluster.zookeeper(number), f"server {number} is gone")
            place = os.path.join(self.cluster.directory, "zookeeper", f"server-{number}")
            emptied = [folder for folder, _, _ in os.walk(place) if os.path.basename(folder) == "version-2"]
            check(emptied, f"{place} holds what the server knows")
            for folder in emptied:
                shutil.rmtree(folder)
        finally:
            self.goes_on([supervisor])
        self.ensemble_waits()
        return f"server {number} killed, and its disk emptied"

    # ---- wires ----

    def wire_for(self, seconds, what):
        time.sleep(seconds)
        self.wires.heal()
        return f"{what}, {seconds} s"

    def wire_half_open(self):
        """Connections stay, and nothing comes through any more in one direction or in both."""
        one, other = self.nodes[:2]
        mode = self.rng.choice(("hold", "drop-replies", "drop-requests", "hold-replies"))
        both = self.wires.between(one, other) + (self.wires.between(other, one) if self.rng.random() < 0.5 else [])
        self.wires.tell(mode, both)
        seconds = 1 + self.seconds
        time.sleep(seconds)
        if not mode.startswith("hold"):
            self.wires.tell("cut", both)  # a stream with a hole in it ends some time
        self.wires.heal()
        return f"{mode} between {one} and {other}, {len(both)} wires, {seconds} s"

    def wire_delay(self):
        ms = self.rng.choice((20, 100, 500))
        self.wires.tell("delay", self.wires.between(), ms)
        return self.wire_for(1 + self.seconds, f"delays of up to {ms} ms between all nodes")

    def wire_corrupt(self):
        self.wires.tell("corrupt", self.wires.between(other=self.nodes[0]))
        return self.wire_for(self.seconds, f"corrupt bytes to and from node {self.nodes[0]}")

    def wire_reset(self):
        """Connections break again and again."""
        end = time.monotonic() + self.seconds
        count = 0
        while time.monotonic() < end:
            numbers = self.wires.between()
            self.wires.tell("cut", self.rng.sample(numbers, self.rng.randrange(1, len(numbers) + 1)))
            time.sleep(0.2 * self.rng.random())
            count += 1
        return self.wire_for(0.0, f"connections closed {count} times")

    def wire_swizzle(self):
        """Some wires are clogged one after the other, and are free again in another order (swizzle-clog)."""
        numbers = self.wires.between()
        chosen = self.rng.sample(numbers, self.rng.randrange(2, len(numbers) + 1))
        for word in ("hold", "forward"):
            for number in chosen:
                self.wires.tell(word, [number])
                time.sleep(self.rng.random())
            self.rng.shuffle(chosen)
        return self.wire_for(0.0, f"{len(chosen)} wires clogged one by one")

    def wire_zookeeper(self):
        """Requests arrive and answers do not, or late; then the connection breaks (F30, F33)."""
        one = self.nodes[0]
        mode = self.rng.choice(("drop-replies", "hold", "hold-replies", "delay"))
        numbers = self.wires.between(one, "zookeeper")
        self.wires.tell(mode, numbers, 800)
        time.sleep(self.seconds)
        if mode == "drop-replies":
            self.wires.tell("cut", numbers)
        return self.wire_for(0.0, f"{mode} between node {one} and ZooKeeper, {self.seconds} s")

    def wire_late_request(self):
        """What a leader asks ZooKeeper arrives after the leader has died and come back (F33)."""
        one, other = self.nodes[:2]
        numbers = self.wires.between(one, "zookeeper")
        paused = self.cluster.daemons(other, "anabranch-speed")
        for pid in paused:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(self.rng.choice((0.5, 1.5, 2.5)))
        self.wires.tell("hold", numbers)
        time.sleep(self.rng.choice((1.0, 3.0)))
        self.cluster.signal(one, signal.SIGKILL, "anabranch-speed", "anabranch-controller")
        self.cluster.kill([one])
        self.goes_on(paused)
        time.sleep(self.rng.choice((0.0, 4.0)))
        self.wires.heal()
        self.cluster.start([one])
        return f"node {one} killed with requests on their way to ZooKeeper, while {other} stood still"


def copy_tree(source, target):
    """A folder with what is in it, and whose it is."""
    shutil.copytree(source, target)
    owner = os.stat(source)
    for place, _, names in os.walk(target):
        for path in (place, *(os.path.join(place, name) for name in names)):
            os.chown(path, owner.st_uid, owner.st_gid)
