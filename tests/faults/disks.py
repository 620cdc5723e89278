"""disks: what the shim in front of a node's programs is told (tests/support/fault_shim.h), and what a power cut leaves
of a disk.
"""

import mmap
import os
import random
import struct

from harness import BIN, check

SHIM = os.path.join(os.path.dirname(BIN), "tests", "fault_shim.so")
SLOTS = 32  # as fault_shim.h numbers them
LYING, SYNC_DELAY_US, SYNC_ERRORS, NO_SPACE, READ_ONLY, READ_ERRORS = range(6)
WRITES_LOST, WRITES_ASTRAY, WRITES_TORN, CLOCK_US, NO_FILES = range(6, 11)
SYNCS, MET = 16, 17


def need_shim():
    """False where it was not built: a sanitizer's runtime wants to be the first library."""
    return os.path.exists(SHIM)


class Disk:
    """Disk, clock and wires of a node."""

    def __init__(self, directory, root):
        self.directory, self.root = directory, root
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, "control")
        with open(path, "wb") as file:
            file.write(bytes(SLOTS * 8))
        os.chmod(path, 0o666)
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), SLOTS * 8)

    def environment(self):
        return {"LD_PRELOAD": SHIM, "ANABRANCH_FAULT_DIR": self.directory, "ANABRANCH_FAULT_ROOT": self.root}

    def get(self, slot):
        return struct.unpack_from("<q", self.memory, slot * 8)[0]

    def set(self, slot, value):
        struct.pack_into("<q", self.memory, slot * 8, value)

    def heal(self):
        """All but the clock."""
        for slot in (*range(CLOCK_US), NO_FILES):
            self.set(slot, 0)

    def lie(self, mode):
        """From now on syncs do nothing (1), or are written down as what they make durable (2)."""
        open(os.path.join(self.directory, "undo"), "w", encoding="utf-8").close()
        self.set(LYING, mode)

    def power_cut(self, rng, is_prefix_kept):
        """What was not durable is gone; nothing of the node runs. With is_prefix_kept a disk that lied has written its
        first so many operations. Returns how many operations are undone."""
        with open(os.path.join(self.directory, "undo"), encoding="utf-8") as file:
            lines = [line.split() for line in file]
        keep = rng.randrange(len(lines) + 1) if is_prefix_kept and rng.random() < 0.5 else 0
        self.set(LYING, 0)
        return Undo().run(lines[keep:])


class Undo:
    """Operations of a disk, undone from the last to the first, but for what a later sync made durable."""

    def __init__(self):
        self.synced = set()  # files and folders that are synced later than the line that is looked at
        self.alias = {}  # what a file of then is called now; None: it is gone
        self.undone = 0

    def run(self, lines):
        for kind, *words in reversed(lines):
            getattr(self, f"undo_{kind}")(*words)
        return self.undone

    def now(self, path):
        return self.alias.get(path, path)

    def is_durable(self, path):
        return os.path.dirname(path) in self.synced

    def undo_sync(self, path):
        self.synced.add(path)

    def undo_size(self, path, size, kept=None):
        path_now = self.now(path)
        if path in self.synced or path_now is None or not os.path.exists(path_now):
            return
        with open(path_now, "r+b") as file:
            file.truncate(int(size))
            if kept is not None:
                file.seek(int(size))
                with open(kept, "rb") as rest:
                    file.write(rest.read())
        self.undone += 1

    def undo_made(self, path):
        path_now = self.now(path)
        if not self.is_durable(path) and path_now is not None and os.path.exists(path_now):
            os.unlink(path_now)
            self.undone += 1
        self.synced.discard(path)
        self.alias[path] = None

    def undo_folder(self, path):
        if not self.is_durable(path) and os.path.isdir(path):
            for place, folders, files in os.walk(path, topdown=False):
                for name in files:
                    os.unlink(os.path.join(place, name))
                for name in folders:
                    os.rmdir(os.path.join(place, name))
            os.rmdir(path)
            self.undone += 1

    def undo_rmdir(self, path):
        if not self.is_durable(path):
            made_for = os.stat(os.path.dirname(path))
            os.mkdir(path, 0o700)
            os.chown(path, made_for.st_uid, made_for.st_gid)
            self.undone += 1

    def undo_gone(self, path, kept):
        is_back = not self.is_durable(path) and not os.path.exists(path)
        if is_back and os.path.isdir(os.path.dirname(path)):
            os.link(kept, path)
            self.undone += 1
        self.synced.discard(path)
        self.alias[path] = path if is_back else None

    def undo_name(self, old, new, kept=None):
        new_now = self.now(new)
        if self.is_durable(new) or new_now is None or not os.path.exists(new_now):
            self.alias[old], self.alias[new] = new_now, None
        else:
            os.rename(new_now, old)
            self.alias[old] = old
            if kept is not None:
                os.link(kept, new)
            self.alias[new] = new if kept is not None else None
            self.undone += 1
        # A sync after the renaming was of the file that had the old name before.
        if new in self.synced and new_now is not None:
            self.synced.add(old)
        self.synced.discard(new)


# ---- what was right on a disk and is not any more ----


def segments(root):
    """Log segments of a node that hold something."""
    found = []
    for place, _, names in os.walk(root):
        if os.path.basename(place) == "log":
            found += [os.path.join(place, name) for name in names if name.endswith(".seg")]
    return sorted(path for path in found if os.path.getsize(path) > 0)


def flip(path, position):
    """One bit of a file is another one."""
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)
        check(byte, f"{path} has a byte at {position}")
        file.seek(position)
        file.write(bytes([byte[0] ^ 0x04]))


def records(path):
    """Headers of a segment: (offset, leader epoch, append time in microseconds, place, bytes), as record.h has them."""
    with open(path, "rb") as file:
        data = file.read()
    found, place = [], 0
    while place + 128 <= len(data) and data[place : place + 4] == b"ABR1":
        verdict, body = struct.unpack_from("<II", data, place + 8)
        epoch, offset, time_us = struct.unpack_from("<QQq", data, place + 40)
        size = (128 + verdict + body + 7) // 8 * 8
        found.append((offset, epoch, time_us, place, data[place : place + size]))
        place += size
    check(place == len(data), f"{path} is whole to its end, at {place} of {len(data)}")
    return found


def tables(root):
    """Files of a node's stores that hold states."""
    return sorted(
        os.path.join(place, name) for place, _, names in os.walk(root) for name in names if name.endswith(".sst")
    )


def rot(root, paths, rng):
    """A bit of one of the files is another one; says where."""
    path = rng.choice(paths)
    position = rng.randrange(os.path.getsize(path))
    flip(path, position)
    return f"{os.path.relpath(path, root)} at {position}"


def check_logs_agree(roots):
    """Of a cluster that nobody writes to: replicas hold the same bytes, and append times rise. Returns how many records
    were looked at."""
    count = 0
    logs = {}
    for root in roots:
        for path in segments(root):
            log = logs.setdefault(os.path.relpath(os.path.dirname(path), root), {})
            for record in records(path):
                log.setdefault(record[0], []).append((root, record))
    for name, log in logs.items():
        before = None
        for offset in sorted(log):
            copies = log[offset]
            check(len({record[4] for _, record in copies}) == 1, f"{name}: replicas hold the same record {offset}")
            time_us = copies[0][1][2]
            is_later = before is None or time_us > before
            check(is_later, f"{name}: append times rise at {offset}: {time_us} after {before}")
            before = time_us
            count += len(copies)
        check({len(copies) for copies in log.values()} <= {len(roots)}, f"{name}: every replica holds every record")
    return count
