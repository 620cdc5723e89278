"""harness: clusters in scratch directories, commands with time limits, answers as rows, and what a test needs to
compare them.

Every test is a program of its own: it ends with 0, with 77 after a line that begins with SKIP, or with a traceback.
A cluster that a test starts is gone when the test ends, however it ends: processes are found by the scratch
directory in their command line.
"""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("ANABRANCH_BIN") or os.path.join(SOURCE, "build", "bin")
SLOW = float(os.environ.get("ANABRANCH_TEST_SLOWNESS", "1"))  # time limits are multiplied by it (sanitizers)
SKIP_CODE = 77
CRASH_WORDS = ("AddressSanitizer", "runtime error:", "ThreadSanitizer", "broken invariant", "Segmentation fault")


class Failure(AssertionError):
    """What a test expected and did not get."""


def say(text):
    print(f"[{time.monotonic() - STARTED:7.2f}s] {text}", flush=True)


STARTED = time.monotonic()


def skip(reason):
    print(f"SKIP: {os.path.basename(sys.argv[0])}: {reason}", flush=True)
    sys.exit(SKIP_CODE)


def check(condition, text):
    if not condition:
        raise Failure(text)


def check_equal(actual, expected, what):
    if actual != expected:
        raise Failure(f"{what}: expected {expected!r}, found {actual!r}")


def check_near(actual, expected, what, relative=1e-12):
    if expected is None or actual is None:
        check_equal(actual, expected, what)
    elif abs(actual - expected) > relative * max(abs(expected), abs(actual)):
        raise Failure(f"{what}: expected {expected!r}, found {actual!r}, more than {relative} apart")


def shared_file(*parts):
    """A file of the shared data, or None: beside the source, or where ANABRANCH_SHARED points."""
    places = [os.environ.get("ANABRANCH_SHARED"), os.path.join(os.path.dirname(SOURCE), "shared")]
    for place in places:
        if place and os.path.exists(os.path.join(place, "data", *parts)):
            return os.path.join(place, "data", *parts)
    return None


def need_programs(*names):
    for name in names:
        check(os.access(os.path.join(BIN, name), os.X_OK), f"{BIN}/{name} is not built")


# ---- processes ----


class Result:
    """How a command ended."""

    def __init__(self, arguments, code, out, err):
        self.arguments, self.code, self.out, self.err = arguments, code, out, err

    def __str__(self):
        return (
            f"{' '.join(self.arguments)}\nexit {self.code}\n--- out\n{self.out[-4000:]}\n--- err\n{self.err[-4000:]}"
        )

    @property
    def text(self):
        return self.out + self.err


def environment():
    """Without what the caller's shell may say of a cluster; MPI may run as root and with more ranks than cores."""
    clean = {k: v for k, v in os.environ.items() if k not in ("ANABRANCH_DATA",)}
    clean.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", LC_ALL="C")
    return clean


def run(arguments, timeout=60, stdin=None, expect=0, cwd=None, extra_environment=None):
    """Runs to the end. expect: an exit code, or None for any, or "failure" for any but 0. stdin: text or bytes."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    surroundings = environment()
    surroundings.update(extra_environment or {})
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=surroundings,
        cwd=cwd,
    )
    try:
        out, err = process.communicate(stdin, timeout=timeout * SLOW)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise Failure(
            f"not finished after {timeout * SLOW:.0f} s: "
            f"{Result(arguments, None, out.decode(errors='replace'), err.decode(errors='replace'))}"
        ) from None
    result = Result(arguments, process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    if expect == "failure":
        check(result.code > 0, f"expected a refusal: {result}")
    elif expect is not None and result.code != expect:
        raise Failure(f"expected exit code {expect}: {result}")
    for word in CRASH_WORDS:
        check(word not in result.err, f"a sanitizer spoke: {result}")
    return result


def command(name):
    return os.path.join(BIN, name)


def processes_of(directory, program=None):
    """Ids of running processes whose command line names the directory; program: only those of this name."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{entry}/stat", "rb") as file:
                state = file.read().rsplit(b")", 1)[1].split()[0]
        except OSError:
            continue
        if state in (b"Z", b"X") or not any(directory.encode() in word for word in words):
            continue
        if program is None or os.path.basename(words[0]).decode() == program:
            found.append(int(entry))
    return found


def kill_all(directory):
    """Ends what still runs on the directory; returns how many there were."""
    ended = set()
    for _ in range(50):
        pids = processes_of(directory)
        if not pids:
            break
        for pid in pids:
            ended.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return len(ended)


def wait_until(condition, what, timeout=30, pause=0.05):
    """The first true value of condition()."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {timeout * SLOW:.0f} s for: {what}")
        time.sleep(pause)


@contextlib.contextmanager
def scratch():
    """A directory that is gone afterwards, unless ANABRANCH_KEEP is set."""
    directory = tempfile.mkdtemp(prefix="anabranch-test-")
    try:
        yield directory
    finally:
        kill_all(directory)
        if os.environ.get("ANABRANCH_KEEP"):
            say(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


# ---- answers ----


def parse_csv(text):
    """Header and rows of CSV text; a row is a dict of column to text, None for an empty field."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader)
    rows = []
    for fields in reader:
        fields = fields or [""]  # an empty line is one empty field
        check_equal(len(fields), len(header), f"fields of the row {fields!r}")
        rows.append({name: field if field != "" else None for name, field in zip(header, fields)})
    return header, rows


def integer(text):
    return None if text is None else int(text)


def real(text):
    return None if text is None else float(text)


def write_file(path, text):
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return path


def append_file(path, text):
    with open(path, "ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


class Imported:
    """The three numbers an import ends with."""

    def __init__(self, result):
        self.result = result
        found = re.fullmatch(
            r"rows accepted (\d+), duplicates (\d+), dead letters (\d+)", (result.out.splitlines() or [""])[-1]
        )
        check(found, f"the import does not end with its counts: {result}")
        self.accepted, self.duplicates, self.dead_letters = map(int, found.groups())

    def __eq__(self, other):
        return (self.accepted, self.duplicates, self.dead_letters) == other

    def __repr__(self):
        return repr((self.accepted, self.duplicates, self.dead_letters))


# ---- clusters ----


def check_logs(directory):
    """No daemon and no job fell over something that a restart has covered up."""
    for folder in ("logs", "jobs"):
        for place, _, names in os.walk(os.path.join(directory, folder)):
            for name in names:
                with open(os.path.join(place, name), encoding="utf-8", errors="replace") as file:
                    for line in file:
                        check(
                            not any(word in line for word in CRASH_WORDS),
                            f"{place}/{name}: {line}{file.read(3000)}",
                        )


def show_logs(directory):
    for folder in ("logs", "jobs"):
        for place, _, names in sorted(os.walk(os.path.join(directory, folder))):
            for name in sorted(name for name in names if name == "log" or name.endswith(".log")):
                with open(os.path.join(place, name), "rb") as file:
                    file.seek(max(0, os.path.getsize(file.name) - 3000))
                    text = file.read().decode(errors="replace")
                    print(f"--- {file.name}\n{text}", flush=True)


class Cluster:
    """One cluster of one machine. Use as a context: at the end nothing of it runs."""

    def __init__(self, directory, catalog, partitions=None, workers=None):
        self.directory = directory
        self.catalog = directory + ".catalog.sql"
        self.partitions, self.workers = partitions, workers
        write_file(self.catalog, catalog)

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.down()
            left = processes_of(self.directory)
            check(not left, f"'down' left processes: {left}")
            self.check_logs()
            return
        self.show_logs()
        kill_all(self.directory)

    def check_logs(self):
        check_logs(self.directory)

    def show_logs(self):
        show_logs(self.directory)

    def command(self, *arguments, **options):
        return run([command("anabranch"), *arguments, "--data", self.directory], **options)

    def up(self, *extra, **options):
        words = ["up", "--catalog", self.catalog, *extra]
        if self.partitions is not None:
            words += ["--partitions", str(self.partitions)]
        if self.workers is not None:
            words += ["--workers", str(self.workers)]
        options.setdefault("timeout", 60)
        return self.command(*words, **options)

    def down(self, **options):
        return self.command("down", **options)

    def status(self):
        return json.loads(self.command("status", "--json").out)

    def load(self, stream, path, *extra, expect=0, timeout=120, stdin=None):
        """Imports; the result of a failed one is returned as it is."""
        result = self.command("import", stream, path, *extra, expect=expect, timeout=timeout, stdin=stdin)
        return Imported(result) if expect == 0 else result

    def query(self, sql, timeout=60):
        """Rows of an answer, as dicts of text."""
        return parse_csv(self.command("query", sql, "--format", "csv", timeout=timeout).out)[1]

    def refuse(self, sql):
        """What the command says of a query that must be refused."""
        result = self.command("query", sql, "--format", "csv", expect="failure")
        check(result.out == "", f"a refused query printed an answer: {result}")
        return result.err

    def recompute(self, *extra, timeout=180):
        """Runs the batch layer and returns the job's record."""
        result = self.command("job", "submit", "recompute", "--wait", *extra, timeout=timeout)
        found = re.search(r"job-\d+", result.text)
        check(found, f"no job id in: {result}")
        return self.job(found.group())

    def job(self, name):
        record = json.loads(self.command("job", "show", name, "--json").out)
        return record.get("job", record)

    def dead_letters(self, stream, limit=10000):
        result = self.command("dead-letters", "list", stream, "--limit", str(limit), "--format", "csv")
        return parse_csv(result.out)[1] if result.out.strip() else []

    def contents(self, view):
        """Digests of keys and states in the newest directory of a view's version in force: shard to (rows, content)."""
        entry = next(entry for entry in self.status()["views"] if entry["name"] == view)
        definition, place = entry["version"].split("/")
        found = {}
        version = os.path.join(self.directory, "versions", f"{view}-{definition}", place)
        for shard in sorted(os.listdir(version)):
            with open(os.path.join(version, shard, "manifest.json"), encoding="utf-8") as file:
                manifest = json.load(file)
            found[shard] = (manifest["rows"], manifest["content"])
        return found

    def pids(self, program):
        return processes_of(self.directory, program)


class Nodes(Cluster):
    """A cluster of several nodes on this machine, with its ZooKeeper."""

    def __init__(self, directory, catalog, nodes=3, **options):
        super().__init__(directory, catalog, **options)
        self.nodes = range(1, nodes + 1)

    def up(self, *extra, **options):
        options.setdefault("timeout", 120)
        return super().up("--nodes", str(len(self.nodes)), *extra, **options)

    def node_directory(self, node):
        return os.path.join(self.directory, f"node-{node}")

    def check_logs(self):
        for node in self.nodes:
            check_logs(self.node_directory(node))

    def show_logs(self):
        show_logs(self.directory)
        for node in self.nodes:
            show_logs(self.node_directory(node))

    def query_at(self, node, sql, timeout=60):
        """Rows of an answer that a node gives."""
        words = ["query", sql, "--format", "csv", "--data", self.node_directory(node)]
        return parse_csv(run([command("anabranch"), *words], timeout=timeout).out)[1]

    def kill_node(self, node):
        """Ends all processes of a node, as a crash would."""
        return self.command("node", "kill", str(node))

    def start_node(self, node):
        return self.command("up", "--node", str(node), timeout=120)

    def acting_node(self):
        """The node whose controller acts; None while nobody does."""
        return (self.status()["cluster"]["controller"] or {}).get("node")

    def wait_in_sync(self, timeout=60):
        """Until every partition has a live leader and all of its replicas in sync."""

        def is_whole():
            cluster = self.status()["cluster"]
            return all(cluster.get(key) == 0 for key in ("leaderless", "under_replicated", "not_created"))

        wait_until(is_whole, "all replicas in sync", timeout, pause=0.2)


def need_zookeeper():
    """Skips where there is no ZooKeeper server, or no Java for it."""
    for path in ("/usr/bin/java", "/usr/share/java/zookeeper.jar"):
        if not os.path.exists(path):
            skip(f"no {path}; cluster/install-packages --cluster installs it")


def drifts(report):
    """Every number named drift in a job's report, at any depth."""
    found = []
    if isinstance(report, dict):
        for key, value in report.items():
            if key.startswith("drift") and isinstance(value, (int, str, bool)):
                found.append(int(value))
            found += drifts(value)
    elif isinstance(report, list):
        for value in report:
            found += drifts(value)
    return found


def main(test):
    """Runs a test's cases: test(directory)."""
    try:
        with scratch() as directory:
            test(directory)
    except BaseException:
        say("FAILED")
        raise
    say("passed")
