"""wires: the TCP proxies between nodes, and between nodes and ZooKeeper (wires.c), by which each connection goes when
the nodes are told so (the file `links` of fault_shim.h).
"""

import os
import subprocess

from faulty_nodes import SPEED_PORT, address_of, need_tests_program
from harness import check, check_equal

WIRE_MODES = ("hold", "drop-replies", "drop-requests", "hold-replies", "delay", "corrupt")


class Wires:
    """Of a cluster whose nodes have addresses and disks; started before its nodes, and stopped after them."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.routes = []  # (from node, to node or "zookeeper")
        self.ports = []
        self.process = None

    def start(self):
        targets = []
        for one in self.cluster.nodes:
            for other in self.cluster.nodes:
                if one != other:
                    self.routes.append((one, other))
                    targets.append((address_of(other), SPEED_PORT))
            for port in self.cluster.zookeeper_ports():
                self.routes.append((one, "zookeeper"))
                targets.append(("127.0.0.1", port))
        words = [need_tests_program("wires"), *(f"{address}:{port}" for address, port in targets)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports = [int(self.process.stdout.readline()) for _ in targets]
        for node in self.cluster.nodes:
            lines = [
                f"{address} {port} {address} {instead}\n"
                for (one, _), (address, port), instead in zip(self.routes, targets, self.ports)
                if one == node
            ]
            with open(os.path.join(self.cluster.disks[node].directory, "links"), "w", encoding="utf-8") as file:
                file.write("".join(lines))

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(timeout=20)

    def between(self, one=None, other=None):
        """Numbers of wires by their ends; None: any node."""
        return [
            number
            for number, (begin, end) in enumerate(self.routes)
            if one in (None, begin) and (end == other or (other is None and end != "zookeeper"))
        ]

    def zookeeper_ports(self, node):
        return [self.ports[number] for number in self.between(node, "zookeeper")]

    def tell(self, word, numbers, ms=0):
        check(numbers, "there are such wires")
        for number in numbers:
            self.process.stdin.write(f"{word} {number} {ms}\n")
        self.process.stdin.flush()
        for _ in numbers:
            check_equal(self.process.stdout.readline().strip(), "done", f"answer to {word}")

    def heal(self):
        every = range(len(self.routes))
        self.tell("accept", every)
        self.tell("forward", every)
