#!/usr/bin/env python3
"""disks_test: a power cut undoes what a disk had not made durable, and nothing else.

A program under the name of a daemon, with the shim in front of it, changes a folder at random: what a disk that lied
leaves is the folder of before, byte for byte; what an honest one leaves has everything that was synced.
"""

import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import check, check_equal, main, say, skip  # noqa: E402
from disks import (  # noqa: E402
    CLOCK_US,
    MET,
    NO_SPACE,
    READ_ONLY,
    SYNC_ERRORS,
    WRITES_LOST,
    WRITES_TORN,
    Disk,
    flip,
    need_shim,
)

# What runs as anabranch-speed: random operations, in the order that the seed says.
OPERATIONS = """
import os, random, sys
root, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
def files():
    found = [os.path.join(place, name) for place, _, names in os.walk(root) for name in sorted(names)]
    return [path for path in found if "durable" not in path]
def folders():
    return [place for place, _, _ in os.walk(root)]
def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
for number in range(count):
    kinds = ("write", "write", "append", "truncate", "make", "rename", "replace", "unlink", "mkdir", "sync")
    kind = rng.choice(kinds)
    some = files()
    if kind == "mkdir":
        os.mkdir(os.path.join(rng.choice(folders()), f"folder-{seed}-{number}"), 0o700)
    elif kind == "make" or not some:
        path = os.path.join(rng.choice(folders()), f"file-{seed}-{number}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, bytes([65 + number % 26]) * rng.randrange(1, 5000))
        os.close(fd)
    elif kind in ("write", "append"):
        fd = os.open(rng.choice(some), os.O_RDWR | (os.O_APPEND if kind == "append" else 0))
        size = os.fstat(fd).st_size
        data = bytes([97 + number % 26]) * rng.randrange(1, 9000)
        os.write(fd, data) if kind == "append" else os.pwrite(fd, data, size)
        os.close(fd)
    elif kind == "truncate":
        fd = os.open(rng.choice(some), os.O_RDWR)
        os.ftruncate(fd, rng.randrange(os.fstat(fd).st_size + 100))
        os.close(fd)
    elif kind == "rename":
        os.rename(rng.choice(some), os.path.join(rng.choice(folders()), f"renamed-{seed}-{number}"))
    elif kind == "replace" and len(some) > 1:
        os.rename(*rng.sample(some, 2))
    elif kind == "unlink":
        os.unlink(rng.choice(some))
    elif kind == "sync":
        sync(rng.choice(some + folders()))
    if number % 25 == 24 and len(sys.argv) > 4:
        path = os.path.join(root, f"durable-{number}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.write(fd, path.encode() * 100)
        os.fsync(fd)
        os.close(fd)
        os.rename(path, path + ".kept")
        sync(root)
        os.write(os.open(path + ".kept", os.O_WRONLY | os.O_APPEND), b"not synced")
"""


def as_speed(disk, program, *arguments, expect=0):
    process = subprocess.run(
        ["anabranch-speed", "-c", program, *map(str, arguments)],
        executable=sys.executable,
        env={**os.environ, **disk.environment()},
        capture_output=True,
        check=False,
    )
    check_equal(process.returncode, expect, f"end of the program: {process.stderr.decode()}")
    return process.stdout.decode()


def content(root):
    found = {}
    for place, _, names in os.walk(root):
        found[os.path.relpath(place, root)] = None
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = file.read()
    return found


def disk_at(directory, name):
    root = os.path.join(directory, name)
    os.mkdir(root)
    return Disk(root + ".faults", root)


def test_a_disk_that_lied_is_as_before(directory):
    for seed in range(8):
        disk = disk_at(directory, f"lies-{seed}")
        as_speed(disk, OPERATIONS, disk.root, seed, 60)
        before = content(disk.root)
        disk.lie(1)
        as_speed(disk, OPERATIONS, disk.root, 1000 + seed, 120)
        check(content(disk.root) != before, "something was changed")
        undone = disk.power_cut(random.Random(seed), False)
        check(undone > 50 and content(disk.root) == before, f"seed {seed}: the folder is as it was before the lie")
    say("a disk that lied: as before")


def test_what_was_synced_stays(directory):
    for seed in range(8):
        disk = disk_at(directory, f"honest-{seed}")
        disk.lie(2)
        as_speed(disk, OPERATIONS, disk.root, seed, 200, "durable")
        disk.power_cut(random.Random(seed), False)
        found = content(disk.root)
        for number in range(24, 200, 25):
            name = f"durable-{number}"
            is_there = found.get(name + ".kept") == os.path.join(disk.root, name).encode() * 100
            check(is_there, f"seed {seed}: {name} is there as it was synced")
    say("an honest disk: what was synced, and not what was written after it")


WRITE = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
try:
    os.pwrite(fd, b"0123456789" * 10, os.fstat(fd).st_size)
    os.fsync(fd)
    print("done", os.fstat(fd).st_size)
except OSError as error:
    print(error.errno)
"""


def test_each_fault_is_met(directory):
    disk = disk_at(directory, "faults")
    path = os.path.join(disk.root, "log", "0.seg")
    os.mkdir(os.path.dirname(path))
    check_equal(as_speed(disk, WRITE, path), "done 100\n", "no fault")
    for slot, value, outcome in ((SYNC_ERRORS, 1, "5\n"), (NO_SPACE, 2, "28\n"), (WRITES_LOST, 1, "done 200\n")):
        met = disk.get(MET)
        disk.set(slot, value)
        check_equal(as_speed(disk, WRITE, path), outcome, f"fault {slot}")
        check(disk.get(MET) > met, f"fault {slot} is met")
        disk.heal()
    disk.set(READ_ONLY, 1)
    check("Read-only" in subprocess_error(disk, path), "a disk that is not written")
    disk.heal()
    disk.set(WRITES_TORN, 1)
    as_speed(disk, WRITE, path, expect=-9)
    check_equal(os.path.getsize(path), 250, "a half of a write")
    now = "import time; print(time.time() - time.monotonic())"
    shown = float(as_speed(disk, now))
    disk.set(CLOCK_US, -300 * 1000000)
    check(abs(float(as_speed(disk, now)) - shown + 300) < 1, "a clock that is five minutes behind")
    flip(path, 3)
    with open(path, "rb") as file:
        check_equal(file.read(5), b"01274", "a bit that flipped")
    say("each fault is met")


def subprocess_error(disk, path):
    process = subprocess.run(
        ["anabranch-speed", "-c", WRITE, path],
        executable=sys.executable,
        env={**os.environ, **disk.environment()},
        capture_output=True,
        check=False,
    )
    check(process.returncode != 0, "the file is not opened")
    return process.stderr.decode()


def test(directory):
    test_a_disk_that_lied_is_as_before(directory)
    test_what_was_synced_stays(directory)
    test_each_fault_is_met(directory)


if __name__ == "__main__":
    if not need_shim():
        skip("tests/fault_shim.so was not built")
    main(test)
