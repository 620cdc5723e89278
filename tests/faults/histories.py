"""histories: what clients of a cluster sent, were told and read, with times, and whether one cluster that never fails
could have said all of it (after Jepsen's checkers).

Rows have a writer and a number; row n of a writer has the amount that amount(n) says. A history is complete: whoever
sends says so before, and what it is told is noted after.
"""

import bisect
import collections
import re
import threading

from harness import Failure, check

AMOUNTS = 997  # as history_client.c has it


def amount(number):
    return 1 + number % AMOUNTS


class Writer:
    """What one writer sent and what became of it; times rise."""

    def __init__(self):
        self.sent = []  # (when, rows so far, their sum)
        self.told = []  # (when, accepted rows so far, their least possible sum)
        self.batches = {}  # first: (rows, accepted, unknown); until it is told, all are unknown

    def send(self, when, first, rows):
        total = sum(amount(number) for number in range(first, first + rows))
        self.add(self.sent, when, rows, total)
        self.batches[first] = (rows, 0, rows)

    def tell(self, when, first, rows, accepted, unknown):
        amounts = sorted(amount(number) for number in range(first, first + rows))
        self.add(self.told, when, accepted, sum(amounts[:accepted]))
        self.batches[first] = (rows, accepted, unknown)

    @staticmethod
    def add(entries, when, rows, total):
        _, rows_before, total_before = entries[-1] if entries else (0, 0, 0)
        entries.append((when, rows_before + rows, total_before + total))

    def refused(self):
        return sum(rows - accepted - unknown for rows, accepted, unknown in self.batches.values())

    def unknown(self):
        return sum(unknown for _, _, unknown in self.batches.values())

    def at_least(self, when):
        """Rows, and their sum, that were acknowledged before."""
        count = bisect.bisect_left(self.told, (when,))
        return self.told[count - 1][1:] if count > 0 else (0, 0)

    def at_most(self, when):
        """Rows, and their sum, that were sent by then."""
        count = bisect.bisect_right(self.sent, (when, float("inf")))
        return self.sent[count - 1][1:] if count > 0 else (0, 0)


WRONG = ("lost", "duplicated", "reordered", "stale", "torn", "invented")


class Histories:
    """All of a run; any thread may add to them.

    What is wrong has a kind: an acknowledged row that no answer counts at the end is lost, one that counts twice is
    duplicated; an answer that lacks what was acknowledged before the question is stale, one that is behind what its
    reader was told before is reordered, one whose count and sum do not belong together is torn, one of what nobody had
    sent is invented.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.writers, self.reads = {}, []
        self.checked, self.failed = 0, 0
        self.wrong = dict.fromkeys(WRONG, 0)
        self.served = {}  # reader or writer to when its newest question or batch that was done began
        self.reasons = collections.Counter()  # why questions ended with an error, without their numbers
        self.last = {}  # reader: (end of its newest answer, counts); answers of one reader follow one another

    def writer(self, name):
        with self.lock:
            return self.writers.setdefault(name, Writer())

    def sent(self, name, *entry):
        writer = self.writer(name)
        with self.lock:
            writer.send(*entry)

    def told(self, name, *entry):
        writer = self.writer(name)
        with self.lock:
            writer.tell(*entry)
            if entry[3] > 0:
                self.served[f"writer {name}"] = writer.sent[-1][0]

    def read(self, reader, start, end, counts):
        """counts: writer to (events, total)."""
        with self.lock:
            self.reads.append((reader, start, end, counts))
            self.served[f"reader {reader}"] = start

    def fail(self, text):
        check(text.strip(), "a query that failed says why")
        with self.lock:
            self.failed += 1
            self.reasons[re.sub(r"[0-9]+", "N", text.strip())[:200]] += 1

    def not_served(self, since):
        """Readers and writers of whom nothing was done that began later."""
        with self.lock:
            return sorted(name for name, when in self.served.items() if when < since)

    def check(self):
        """Every answer since the last check; returns how many there were."""
        with self.lock:
            reads, self.reads = self.reads, []
            for entry in reads:
                self.check_read(*entry)
            self.checked += len(reads)
            return len(reads)

    def acknowledged(self):
        with self.lock:
            return sum(writer.at_least(float("inf"))[0] for writer in self.writers.values())

    def blame(self, kind, text):
        """Notes what is wrong; with self.lock held."""
        self.wrong[kind] += 1
        return f"{kind}: {text}"

    def check_read(self, reader, start, end, counts):
        what = f"answer to {reader} from {start / 1e6:.3f} to {end / 1e6:.3f}"
        for name in counts:
            if name not in self.writers:
                raise Failure(self.blame("invented", f"{what}: {name!r} has not written anything"))
        before = self.last.get(reader, {})
        for name, writer in self.writers.items():
            events, total = counts.get(name, (0, 0))
            (least, least_sum), (most, most_sum) = writer.at_least(start), writer.at_most(end)
            if not (least <= events <= most and least_sum <= total <= most_sum):
                kind = "stale" if events < least else "duplicated" if events > most else "torn"
                text = (
                    f"{what}: {name}: {events} rows of sum {total}; acknowledged before: {least} of at least "
                    f"{least_sum}; sent until then: {most} of {most_sum}"
                )
                raise Failure(self.blame(kind, text))
            old_events, old_total = before.get(name, (0, 0))
            if events < old_events or total < old_total:
                text = f"{what}: {name} fell from {old_events} rows of {old_total} to {events} of {total}"
                raise Failure(self.blame("reordered", text))
        self.last[reader] = counts

    def check_items(self, items):
        """items: "writer-number" to (events, total), of a cluster that nobody writes to."""
        wrong, expected = [], set()
        for name, writer in sorted(self.writers.items()):
            for first, (rows, accepted, unknown) in writer.batches.items():
                found = 0
                for number in range(first, first + rows):
                    item = f"{name}-{number}"
                    expected.add(item)
                    events, total = items.get(item, (0, 0))
                    found += events
                    if events > 1:
                        wrong.append(self.blame("duplicated", f"{item} counts {events} times"))
                    elif total != events * amount(number):
                        wrong.append(self.blame("torn", f"{item} has the amount {total}"))
                if not accepted <= found <= accepted + unknown:
                    text = (
                        f"{name}: of {rows} rows from {first} on, {accepted} were acknowledged, {unknown} are unknown, "
                        f"{found} count"
                    )
                    wrong.append(self.blame("lost" if found < accepted else "duplicated", text))
        wrong += [self.blame("invented", f"{item} was never sent") for item in items if item not in expected]
        check(not wrong, f"{len(wrong)} rows or batches are wrong: " + "; ".join(wrong[:20]))
        return len(expected)
