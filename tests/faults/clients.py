"""clients: who writes to a cluster under faults, reads from it and has batch jobs run; what they are told is history
(histories.py).
"""

import os
import random
import signal
import subprocess
import threading
import time

from faulty_nodes import PATIENCE, need_tests_program
from harness import (
    SLOW,
    Imported,
    Result,
    append_file,
    check,
    check_equal,
    command,
    environment,
    parse_csv,
    write_file,
)
from histories import Histories, amount

QUESTION = "SELECT writer, events, total FROM by_writer"
CHUNK_ROWS = 300
IMPORTERS = 2
PROGRAMS = 2


def now():
    return time.monotonic_ns() // 1000


class Clients:
    """Who writes and reads all the time; their threads are gone after stop()."""

    def __init__(self, cluster, directory, seed, has_jobs):
        self.cluster, self.directory, self.seed, self.has_jobs = cluster, directory, seed, has_jobs
        self.jobs_done, self.jobs_failed = 0, 0
        self.histories = Histories()
        self.is_ending = threading.Event()
        self.is_given_up = False
        self.errors, self.programs, self.threads = [], [], []

    def start(self):
        for number in range(IMPORTERS):
            self.begin(self.import_all, f"import{number}", random.Random(self.seed * 100 + number))
        for node in self.cluster.nodes:
            self.begin(self.ask, node)
        if self.has_jobs:
            self.begin(self.recompute, random.Random(self.seed * 100 + 99))
        for number in range(PROGRAMS):
            node = 1 + number % len(self.cluster.nodes)
            writer = f"program{number}"
            words = [need_tests_program("history_client"), self.cluster.node_directory(node)]
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

    def recompute(self, rng):
        """Batch jobs, which publish what they computed; under faults they may fail, and say why."""
        words = ["job", "submit", "recompute", "--wait"]
        while not self.is_ending.wait(1.0):
            node = rng.choice(self.cluster.nodes)
            process = subprocess.Popen(
                self.cluster.words_at(node, command("anabranch"), *words, "--data", self.cluster.node_directory(node)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
                cwd="/",
            )
            end = time.monotonic() + 60 * SLOW
            while process.poll() is None and time.monotonic() < end and not self.is_given_up:
                time.sleep(0.1)
            if process.poll() is None:
                process.kill()  # it waits; the job goes on
            out, err = process.communicate()
            if process.returncode == 0:
                self.jobs_done += 1
                continue
            check(process.returncode < 0 or (out + err).strip(), "a job that failed says why")
            self.jobs_failed += 1

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

    def abandon(self):
        """Nothing goes on, and what the clients find wrong is not asked for any more."""
        self.is_given_up = True
        self.is_ending.set()
        for process in self.programs:
            process.kill()
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
