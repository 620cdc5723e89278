#!/usr/bin/env python3
"""refuse_test: what must be refused is refused with a clear error, and does no harm.

Bad SQL, unknown names with the nearest known one, wrong types, a catalog that does not fit, bytes that are no
message, a key that is not on the list, a key whose role forbids the verb, a busy port, a directory that is not ours
or held by a live controller, a full disk, a corrupt log record.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time

from harness import (
    BIN,
    Cluster,
    append_file,
    check,
    check_equal,
    command,
    environment,
    kill_all,
    main,
    need_programs,
    run,
    say,
    wait_until,
    write_file,
)

CATALOG = """
CREATE STREAM payments (
  user_id BIGINT NOT NULL, country TEXT, amount DECIMAL(12, 2), paid_at TIMESTAMP NOT NULL,
  EVENT TIME paid_at, PARTITION KEY (user_id));
CREATE VIEW spending AS SELECT country, count(*) AS payments, sum(amount) AS spent FROM payments
  GROUP BY country, TUMBLE(paid_at, INTERVAL '1 hour');
"""

ROWS = 20000


def rows_text(count, start=0):
    return "".join(f"{i},c{i % 5},{i % 100}.50,2024-05-01T{i % 24:02d}:00:00Z\n" for i in range(start, start + count))


HEADER = "user_id,country,amount,paid_at\n"


def total(cluster):
    rows = cluster.query("SELECT payments FROM spending")
    return int(rows[0]["payments"] or 0) if rows else 0


BAD_QUERIES = (  # the query, and words of the error
    ("SELECT country payments FROM spending", ("line 1", "column 16", "payments", "expected")),
    ("SELECT FROM spending", ("line 1", "column 8", "FROM")),
    ("SELECT country FROM spending WHERE", ("the end",)),
    ("SELECT country\nFROM spending\nWHERE country = 'a", ("line 3",)),
    ("SELECT country FROM spendin", ("spendin", "spending")),
    ("SELECT contry FROM spending", ("contry", "country", "column 8")),
    ("SELECT paymens FROM spending", ("paymens", "payments")),
    ("SELECT country, payments FROM spending WHERE country > 5", ("TEXT",)),
    ("SELECT country, payments FROM spending WHERE spent > 5", ("spent",)),
    ("SELECT country, payments FROM spending WHERE window_start >= 'yesterday'", ("yesterday",)),
    ("SELECT payments FROM spending WHERE window_start >= '2024-05-01T08:30:00Z'", ("pane", "08:00:00Z")),
    (
        "SELECT payments FROM spending GROUP BY TUMBLE(window_start, INTERVAL '90 minutes')",
        ("pane", "1 hour", "2 hours"),
    ),
    ("SELECT country, payments FROM spending GROUP BY window_start", ("country",)),
    ("SELECT payments + country FROM spending", ("TEXT",)),
    ("SELECT payments FROM spending LIMIT -1", ("column 37", "number")),
    ("SELECT payments FROM spending LIMIT many", ("many",)),
    ("SELECT user_id FROM payments", ("payments",)),
    ("DELETE FROM spending", ("DELETE", "SELECT")),
    ("SELECT payments FROM spending; SELECT payments FROM spending", ("column 32", "expected")),
    ("", ("SELECT",)),
    ("SELECT \0 FROM spending".replace("\0", "\1"), ("column 8",)),
    ("SELECT " + "(" * 5000 + "1" + ")" * 5000 + " FROM spending", ("nested",)),
    ("SELECT payments FROM spending WHERE country IN (" + ", ".join(f"'{i}'" for i in range(12000)) + ", 7)", ("",)),
)


def test_queries(cluster, _directory):
    before = total(cluster)
    wrong = []
    for sql, words in BAD_QUERIES:
        error = cluster.refuse(sql)
        wrong += [
            f"the error of {sql[:80]!r} names '{word}': {error}" for word in words if word.lower() not in error.lower()
        ]
        check(len(error) < 4000, f"an error is short, this has {len(error)} bytes")
    check(not wrong, "".join(wrong))
    check_equal(total(cluster), before, "after refused queries")


BAD_CATALOGS = (  # a part of the catalog, what replaces it, words of the error
    ("CREATE STREAM payments (", "CREATE STREEM payments (", ("line 2", "column 8", "STREAM")),
    ("user_id BIGINT", "user_id BIGNT", ("BIGNT", "BIGINT")),
    ("PARTITION KEY (user_id)", "PARTITION KEY (usr_id)", ("usr_id", "user_id")),
    (", PARTITION KEY (user_id)", "", ("PARTITION KEY",)),
    ("EVENT TIME paid_at", "EVENT TIME user_id", ("user_id", "TIMESTAMP")),
    ("sum(amount)", "sum(country)", ("sum", "TEXT")),
    ("sum(amount)", "summ(amount)", ("summ", "sum")),
    ("sum(amount)", "sum(amont)", ("amont", "amount")),
    ("FROM payments", "FROM payment", ("payment", "payments")),
    ("DECIMAL(12, 2)", "DECIMAL(12, 40)", ("line 3", "DECIMAL(precision, scale)")),
    ("INTERVAL '1 hour'", "INTERVAL '1 fortnight'", ("fortnight",)),
    ("user_id BIGINT NOT NULL", "user_id BIGINT NOT NULL, user_id TEXT", ("user_id",)),
)


def test_catalogs(cluster, directory):
    for part, replacement, words in BAD_CATALOGS:
        check(part in CATALOG, f"the catalog has {part}")
        path = write_file(os.path.join(directory, "bad.sql"), CATALOG.replace(part, replacement))
        result = run([command("anabranch"), "check", path], expect="failure")
        for word in words:
            check(word.lower() in result.err.lower(), f"the error of '{replacement}' names '{word}': {result}")
        cluster.command("apply", path, expect="failure")
    path = write_file(os.path.join(directory, "good.sql"), CATALOG)
    run([command("anabranch"), "check", path])
    nothing = write_file(os.path.join(directory, "nothing.sql"), "-- all is gone\n")
    result = cluster.command("apply", nothing, expect="failure")
    check("no stream" in result.err, f"an empty catalog removes nothing: {result}")
    narrowed = write_file(os.path.join(directory, "narrowed.sql"), CATALOG.replace("country TEXT", "country BIGINT"))
    result = cluster.command("apply", narrowed, expect="failure")
    check("country" in result.err, f"a column's type cannot change: {result}")
    check_equal(total(cluster), ROWS, "after refused catalogs")


def test_usage(cluster, directory):
    absent = os.path.join(directory, "absent")
    for words in (
        (),
        ("frobnicate",),
        ("query",),
        ("query", "SELECT 1", "--formt", "csv"),
        ("import", "payments"),
        ("job", "submit", "recompute", "--ranks", "many"),
        ("job", "submit", "recompute", "--ranks", "0"),
        ("job", "show", "job-999"),
        ("import", "payments", "x.csv", "--format", "xml"),
        ("dead-letters", "list", "payment"),
        ("dead-letters", "list", "payments", "--limit", "x"),
    ):
        result = run(
            [command("anabranch"), *words, *(("--data", cluster.directory) if words else ())], expect="failure"
        )
        check(result.err.strip() != "" and len(result.err) < 6000, f"an error in words: {result}")
    for words in (("status",), ("query", "SELECT payments FROM spending"), ("down",), ("import", "payments", "-")):
        result = run([command("anabranch"), *words, "--data", absent], expect=None, timeout=30, stdin="")
        check(words == ("down",) or result.code > 0, f"refused without a cluster: {result}")
        check(absent in result.text, f"names the directory: {result}")
        check(not os.path.exists(absent), f"{words} makes no directory")
    result = run([command("anabranch"), "status"], expect="failure")
    check("ANABRANCH_DATA" in result.err or "--data" in result.err, f"says how to name the directory: {result}")
    status = run([command("anabranch"), "status"], extra_environment={"ANABRANCH_DATA": cluster.directory})
    check(status.out != "", "ANABRANCH_DATA stands in for --data")


def ports_of(cluster):
    """TCP ports on which the cluster's processes listen, by /proc."""
    inodes = set()
    for program in ("anabranch-speed", "anabranch-serving", "anabranch-controller"):
        for pid in cluster.pids(program):
            for name in os.listdir(f"/proc/{pid}/fd"):
                try:
                    found = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{name}"))
                except OSError:
                    continue
                if found:
                    inodes.add(found.group(1))
    ports = []
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file.readlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                check(words[1].startswith("0100007F"), f"listens on the loopback only: {line}")
                ports.append(int(words[1].split(":")[1], 16))
    return ports


def daemons_of(cluster):
    return sorted(
        cluster.pids("anabranch-speed") + cluster.pids("anabranch-serving") + cluster.pids("anabranch-controller")
    )


GREETING = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x01"  # ZMTP 3.1; then a mechanism of 20 bytes, as-server and filler


def garbage(source):
    """Openings of connections that no peer of ours makes."""
    null = GREETING + b"NULL".ljust(20, b"\0") + b"\0" * 32
    curve = GREETING + b"CURVE".ljust(20, b"\0") + b"\0" * 32
    yield b""
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield source.randbytes(1 << 20)
    yield null + b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06DEALER" + b"\0\x05hello"
    yield GREETING + b"PLAIN".ljust(20, b"\0") + b"\0" * 32 + b"\x04\x0a\x05HELLO\x01a\x01b"
    yield b"\xff\0\0\0\0\0\0\0\x01\x7f\x01" + b"\0\5DEALER"  # an old protocol: no security at all
    for cut in range(0, len(curve), 7):
        yield curve[:cut]
    yield curve + b"\x04\xc8\x05HELLO" + source.randbytes(194)
    yield curve + b"\x06" + b"\x7f\xff\xff\xff\xff\xff\xff\xff" + b"\x05HELLO" + source.randbytes(
        4096
    )  # a command of 2^63 bytes
    yield curve + b"\x02" + b"\xff" * 8 + source.randbytes(4096)


def test_garbage(cluster, _directory):
    """Bytes on the ports: the daemons live on, memory does not grow, others are served meanwhile."""
    ports = ports_of(cluster)
    check(len(ports) >= 3, f"speed, serving and controller listen: {ports}")
    pids = daemons_of(cluster)
    source = random.Random(3)
    held = []
    for port in ports:
        for text in garbage(source):
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            try:
                connection.sendall(text)
            except OSError:
                pass  # closed on us: just as well
            held.append(connection)
        for _ in range(50):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=5))
    check_equal(total(cluster), ROWS, "while connections with garbage are open")
    for connection in held:
        connection.close()
    check_equal(total(cluster), ROWS, "after garbage")
    check_equal(daemons_of(cluster), pids, "no daemon died of garbage")


def test_messages(cluster, _directory):
    """Good keys, every verb, payloads that mean nothing: denied or refused in words; nothing dies, nothing changes."""
    pids = daemons_of(cluster)
    result = run(
        [os.path.join(os.path.dirname(BIN), "tests", "messages"), cluster.directory], timeout=120, expect=None
    )
    say(result.out.strip().replace("\n", "; "))
    check(result.code == 0, f"messages: {result}")
    check_equal(daemons_of(cluster), pids, "no daemon died of a message")
    check_equal(total(cluster), ROWS, "after messages")
    report = cluster.recompute()["report"]
    check_equal(report["drift"], 0, "drift after messages")
    check_equal(total(cluster), ROWS, "after messages and batch")


def test_wrong_key(cluster, directory):
    """A copy of the client's side of a directory with keys of another cluster: the handshake is refused."""
    other = Cluster(os.path.join(directory, "other"), CATALOG, partitions=1, workers=1)
    with other:
        strange = os.path.join(directory, "strange")
        shutil.copytree(
            cluster.directory,
            strange,
            ignore=shutil.ignore_patterns("partition-*", "logs", "history", "versions", "*.lock"),
        )
        keys = [name for name in os.listdir(os.path.join(strange, "keys")) if name.endswith(".key")]
        check(len(keys) >= 5, f"a key for each role: {keys}")
        for name in keys:
            mode = os.stat(os.path.join(cluster.directory, "keys", name)).st_mode & 0o777
            check(mode & 0o077 == 0, f"{name} is for its owner alone: {mode:o}")
        for role in ("query", "producer", "operator"):
            shutil.copy2(
                os.path.join(other.directory, "keys", f"{role}.key"), os.path.join(strange, "keys", f"{role}.key")
            )
    for words in (
        ("query", "SELECT payments FROM spending"),
        ("import", "payments", "-"),
        ("job", "submit", "recompute"),
        ("status",),
    ):
        result = run(
            [command("anabranch"), *words, "--data", strange],
            expect="failure",
            timeout=60,
            stdin=HEADER + rows_text(10),
        )
        check(result.err.strip() != "", f"a stranger gets an error: {result}")
    check_equal(total(cluster), ROWS, "after a stranger")


def test_wrong_role(cluster, directory):
    """A key that is on the list, but not for this verb."""
    swapped = os.path.join(directory, "swapped")
    shutil.copytree(
        cluster.directory,
        swapped,
        ignore=shutil.ignore_patterns("partition-*", "logs", "history", "versions", "*.lock"),
    )
    keys = os.path.join(swapped, "keys")

    def use(have, need):
        shutil.copy2(os.path.join(cluster.directory, "keys", f"{have}.key"), os.path.join(keys, f"{need}.key"))

    use("query", "producer")
    use("query", "operator")
    for words in (("import", "payments", "-"), ("job", "submit", "recompute"), ("apply", cluster.catalog)):
        result = run(
            [command("anabranch"), *words, "--data", swapped],
            expect="failure",
            timeout=60,
            stdin=HEADER + rows_text(10),
        )
        check(
            "role" in result.err or "not allowed" in result.err or "may not" in result.err or "forbid" in result.err,
            f"the error says that the role forbids it: {result}",
        )
    use("producer", "query")
    use("producer", "operator")
    result = run(
        [command("anabranch"), "query", "SELECT payments FROM spending", "--data", swapped],
        expect="failure",
        timeout=60,
    )
    check(
        "role" in result.err or "not allowed" in result.err or "may not" in result.err or "forbid" in result.err,
        f"a producer's key may not query: {result}",
    )
    check_equal(total(cluster), ROWS, "after wrong roles")
    # A key that others can read is not used.
    os.chmod(os.path.join(keys, "query.key"), 0o644)
    result = run(
        [command("anabranch"), "query", "SELECT payments FROM spending", "--data", swapped],
        expect="failure",
        timeout=60,
    )
    check("query.key" in result.err, f"a key that others can read is refused by name: {result}")


def test_up_again(cluster, directory):
    """A live controller holds the directory; another number of partitions is refused; the same is not."""
    result = cluster.up(expect="failure")
    check(
        cluster.directory in result.err and any(word in result.err for word in ("runs", "running", "held")),
        f"'up' on a running cluster is refused: {result}",
    )
    cluster.down()
    other = Cluster(cluster.directory, CATALOG, partitions=7)
    result = other.up(expect="failure")
    check(
        "7" in result.err and str(cluster.partitions) in result.err,
        f"another number of partitions is refused with both: {result}",
    )
    check(not cluster.pids("anabranch-controller"), "a refused 'up' leaves nothing running")
    stored = Cluster(cluster.directory, CATALOG)
    stored.up()
    check_equal(total(cluster), ROWS, "without --partitions the stored number is taken")
    record = cluster.command("apply", cluster.catalog)
    check(
        "no change" in record.text.lower() or "nothing" in record.text.lower() or "unchanged" in record.text.lower(),
        f"the same catalog changes nothing: {record}",
    )


def test_not_ours(_cluster, directory):
    """A folder with somebody's files is left as it is."""
    theirs = os.path.join(directory, "theirs")
    os.makedirs(theirs)
    write_file(os.path.join(theirs, "letter.txt"), "dear diary\n")
    catalog = write_file(os.path.join(directory, "theirs.sql"), CATALOG)
    result = run([command("anabranch"), "up", "--data", theirs, "--catalog", catalog], expect="failure")
    check(theirs in result.err, f"names the directory: {result}")
    check_equal(os.listdir(theirs), ["letter.txt"], "nothing was written")
    file = os.path.join(theirs, "letter.txt")
    result = run([command("anabranch"), "up", "--data", file, "--catalog", catalog], expect="failure")
    check(file in result.err, f"a file is no directory: {result}")
    broken = Cluster(os.path.join(directory, "broken"), CATALOG.replace("BIGINT", "BIGINTT"), partitions=1)
    broken.up(expect="failure")
    check(
        not os.path.exists(os.path.join(broken.directory, "cluster.json")), "'up' with a bad catalog makes no cluster"
    )
    newer = os.path.join(directory, "newer")
    os.makedirs(newer)
    write_file(
        os.path.join(newer, "cluster.json"),
        '{"format":99,"cluster_id":"' + "0" * 32 + '","partitions":1,"hash":"xxh3-64/1"}',
    )
    result = run([command("anabranch"), "up", "--data", newer, "--catalog", catalog], expect="failure")
    check("99" in result.err or "newer" in result.err, f"a newer format is refused: {result}")


def test_busy_port(_cluster, directory):
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    cluster = Cluster(os.path.join(directory, "port"), CATALOG, partitions=1, workers=1)
    result = cluster.up("--listen", f"127.0.0.1:{port}", expect="failure")
    check(str(port) in result.text or "in use" in result.text, f"the busy port is named: {result}")
    wait_until(lambda: not cluster.pids("anabranch-controller"), "a failed 'up' leaves nothing running")
    taken.close()


def snapshot(directory):
    """Content of every file below, by path, without what says who runs."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, directory)
            if relative.split(os.sep)[0] in ("run", "logs"):
                continue
            with open(path, "rb") as file:
                found[relative] = hashlib.sha256(file.read()).hexdigest()
    return found


def test_corrupt_log(_cluster, directory):
    """A flipped byte in the middle of the log: 'up' fails, names the place, and changes no record."""
    cluster = Cluster(os.path.join(directory, "corrupt"), CATALOG, partitions=1, workers=1)
    with cluster:
        path = write_file(os.path.join(directory, "corrupt.csv"), HEADER)
        for part in range(6):
            append_file(path, rows_text(1000, part * 1000))
            cluster.load("payments", path)
    segments = []
    for folder, _, names in os.walk(os.path.join(cluster.directory, "partition-0", "log")):
        segments += [os.path.join(folder, name) for name in names]
    segment = max(segments, key=os.path.getsize)
    size = os.path.getsize(segment)
    with open(segment, "rb") as file:
        data = bytearray(file.read())
    used = len(bytes(data).rstrip(b"\0"))
    data[used // 2] ^= 0x10
    write_file(segment, bytes(data))
    before = snapshot(os.path.join(cluster.directory, "partition-0", "log"))
    result = cluster.up(expect="failure", timeout=120)
    say(f"a flipped byte at {used // 2} of {size}: {result.err.strip()[-300:]}")
    check(
        os.path.basename(segment) in result.text or "offset" in result.text or "partition" in result.text,
        f"names the place: {result}",
    )
    wait_until(lambda: not cluster.pids("anabranch-speed"), "a failed 'up' leaves nothing running")
    check_equal(snapshot(os.path.join(cluster.directory, "partition-0", "log")), before, "the log is as it was")
    data[used // 2] ^= 0x10
    write_file(segment, bytes(data))
    with cluster:
        check_equal(total(cluster), 6000, "mended, everything is there")


def mounted(directory, megabytes):
    """A small tmpfs, or None where we may not mount."""
    os.makedirs(directory)
    result = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", directory], capture_output=True, check=False
    )
    return directory if result.returncode == 0 else None


def test_full_disk(_cluster, directory):
    """The disk fills up: the import is refused, nothing acknowledged is lost, and it goes on when there is room."""
    place = mounted(os.path.join(directory, "small"), 48)
    if place is None:
        say("SKIP: test_full_disk: cannot mount a tmpfs (not root, or not allowed)")
        return
    try:
        cluster = Cluster(os.path.join(place, "cluster"), CATALOG, partitions=1, workers=1)
        ballast = os.path.join(place, "ballast")
        with cluster:
            path = write_file(os.path.join(directory, "full.csv"), HEADER + rows_text(2000))
            check_equal(cluster.load("payments", path).accepted, 2000, "with room")
            free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
            with open(ballast, "wb") as file:
                file.write(b"\0" * max(0, free - (1 << 20)))
            append_file(path, rows_text(200000, 2000))
            result = cluster.load("payments", path, expect=None, timeout=240)
            say(
                f"full disk: exit {result.code}: {result.err.strip()[-200:]}"
                if not hasattr(result, "accepted")
                else "no refusal"
            )
            check(not hasattr(result, "accepted") and result.code > 0, "an import on a full disk fails")
            check(total(cluster) <= 202000, "nothing is counted twice on a full disk")
            check(total(cluster) >= 2000, "queries are answered on a full disk")
            job = cluster.command("job", "submit", "recompute", "--wait", expect=None, timeout=120)
            say(f"full disk: batch: exit {job.code}: {job.err.strip()[-150:]}")
            os.unlink(ballast)
        write_file(path, HEADER + rows_text(30000))
        with cluster:
            check(total(cluster) >= 2000, "what was acknowledged is there")
            cluster.load("payments", path)
            check_equal(total(cluster), 30000, "with room again the same import goes on")
            cluster.recompute()
            check_equal(total(cluster), 30000, "with room again, after batch")
    finally:
        kill_all(place)
        subprocess.run(["umount", "-l", place], check=False)


def test_oversize(cluster, directory):
    """One row of many megabytes is refused or set aside; the rest of the file counts."""
    before = total(cluster)
    path = os.path.join(directory, "wide.csv")
    write_file(
        path,
        HEADER + '1,"' + "x" * (40 << 20) + '",1.00,2024-05-01T00:00:00Z\n' + "2,wide,1.00,2024-05-01T00:00:00Z\n",
    )
    result = cluster.load("payments", path, expect=None)
    if hasattr(result, "accepted"):
        check_equal(result.accepted, 1, "the sound row beside an oversize one")
    after = int(cluster.query("SELECT payments FROM spending WHERE country = 'wide'")[0]["payments"] or 0)
    check(after <= 1 and total(cluster) == before + after, "an oversize row is not counted")
    return after


CASES = (
    test_queries,
    test_catalogs,
    test_usage,
    test_garbage,
    test_messages,
    test_wrong_key,
    test_wrong_role,
    test_up_again,
    test_oversize,
    test_not_ours,
    test_busy_port,
    test_corrupt_log,
    test_full_disk,
)


def test(directory):
    failed = []
    cluster = Cluster(os.path.join(directory, "cluster"), CATALOG, partitions=3, workers=2)
    with cluster:
        path = write_file(os.path.join(directory, "rows.csv"), HEADER + rows_text(ROWS))
        check_equal(cluster.load("payments", path), (ROWS, 0, 0), "rows.csv")
        for case in CASES:
            begun = time.monotonic()
            own = os.path.join(directory, case.__name__)
            os.makedirs(own)
            try:
                case(cluster, own)
                say(f"{case.__name__}: good, {time.monotonic() - begun:.1f} s")
            except (AssertionError, KeyError, TypeError, ValueError, IndexError, OSError) as error:
                failed.append(case.__name__)
                say(f"{case.__name__}: {type(error).__name__}: {error}")
                kill_all(own)
    check(not failed, f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-speed", "anabranch-serving", "anabranch-controller")
    main(test)
