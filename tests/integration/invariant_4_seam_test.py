#!/usr/bin/env python3
"""invariant_4_seam_test: every answer is the fold of a prefix, whatever moves between the two branches meanwhile (I4).

A file grows and is imported piece by piece; at the same time jobs follow each other, so that cuts are taken, versions
published and retired (one is retained), spans dropped, logs trimmed. Three askers never stop. A region lives in one
partition, so what is said of it must be exactly the fold of its first N rows, group by group, with N between what was
acknowledged before the question and what had been handed over before the answer, and never less than the asker saw
before. No answer may be partial and none an error.
"""

import os
import random
import re
import threading
import time

from harness import (SLOW, Cluster, append_file, check, check_equal, drifts, main, need_programs, say, wait_until,
                     write_file)

CATALOG = """
CREATE STREAM s (pos BIGINT NOT NULL, region TEXT NOT NULL, k TEXT NOT NULL, v BIGINT, t TIMESTAMP NOT NULL,
  EVENT TIME t, PARTITION KEY (region));
CREATE VIEW by_k AS SELECT region, k, count(*) AS n, sum(pos) AS places, min(v) AS least, max(v) AS most
  FROM s GROUP BY region, k;
CREATE VIEW by_hour AS SELECT region, count(*) AS n, sum(pos) AS places, min(v) AS least, max(v) AS most
  FROM s GROUP BY region, TUMBLE(t, INTERVAL '1 hour');
"""
HEADER = "pos,region,k,v,t\n"
REGIONS, KEYS = 5, 40
PIECES, PIECE_ROWS, SECONDS = 60, 900, 14
QUESTIONS = {  # name: SQL and the columns that tell groups apart
    "groups": ("SELECT region, k, n, places, least, most FROM by_k", ("region", "k")),
    "one region": ("SELECT region, k, n, places, least, most FROM by_k WHERE region = 'r3'", ("region", "k")),
    "hours": ("SELECT region, window_start, n, places, least, most FROM by_hour", ("region", "window_start"))}


class Feed:
    """Rows in the order in which they are given; how many were handed over, and how many acknowledged."""

    def __init__(self, path):
        source = random.Random(4)
        self.path, self.given, self.acknowledged, self.by_region = path, 0, 0, {}
        self.rows = []
        for pos in range(PIECES * PIECE_ROWS):
            hour = source.randrange(48)  # late and early events mixed: spans go by position alone
            at = f"2024-03-{1 + hour // 24:02}T{hour % 24:02}:{source.randrange(60):02}:00"
            region, key = f"r{source.randrange(REGIONS)}", f"k{source.randrange(KEYS)}"
            row = (pos, region, key, source.randrange(-10**6, 10**6), at)
            self.rows.append(row)
            self.by_region.setdefault(row[1], []).append(row)
        write_file(path, HEADER)

    def piece(self, cluster):
        piece = self.rows[self.given:self.given + PIECE_ROWS]
        text = "".join(f"{pos},{region},{key},{value},{at}Z\n" for pos, region, key, value, at in piece)
        self.given += PIECE_ROWS  # before the first of them is sent
        append_file(self.path, text)
        cluster.load("s", self.path)
        self.acknowledged = self.given

    def pieces(self, cluster, end):
        while self.given < len(self.rows) and time.monotonic() < end:
            self.piece(cluster)

    def rows_of(self, region, before):
        """How many rows of a region have a position below `before`."""
        rows = self.by_region[region]
        low, high = 0, len(rows)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if rows[middle][0] < before else (low, middle)
        return low

    def fold(self, region, count, by_hour):
        groups = {}
        for pos, _, key, value, at in self.by_region[region][:count]:
            group = groups.setdefault(at[:13] if by_hour else key, [0, 0, value, value])
            group[0] += 1
            group[1] += pos
            group[2] = min(group[2], value)
            group[3] = max(group[3], value)
        return groups


class Asker(threading.Thread):
    """Asks one question again and again; the first wrong answer ends it."""

    def __init__(self, cluster, feed, name, stop):
        super().__init__(daemon=True)
        self.cluster, self.feed, self.question, self.stop = cluster, feed, name, stop
        self.sql, self.keys = QUESTIONS[name]
        self.seen, self.cuts, self.answers, self.failure = {}, [0], 0, None

    def run(self):
        try:
            while not self.stop.is_set():
                self.ask()
        except BaseException as failure:  # pylint: disable=broad-except
            self.failure = failure

    def ask(self):
        at_least = self.feed.acknowledged
        result = self.cluster.command("query", self.sql, "--format", "csv", "--verbose", expect=None)
        at_most = self.feed.given
        check(result.code == 0, f"{self.question}: an answer at any time: {result}")
        token = re.search(r"cut (\d+).*\bcomplete", result.err)
        check(token, f"{self.question}: a complete answer with its token: {result.err}")
        self.cuts.append(int(token.group(1)))
        check(self.cuts[-1] >= self.cuts[-2], f"{self.question}: the version goes back: cuts {self.cuts[-2:]}")
        regions = {}
        for line in result.out.splitlines()[1:]:
            region, key, *numbers = line.split(",")
            place = regions.setdefault(region, {})
            check(key[:13] not in place, f"{self.question}: a group twice: {line}")
            place[key[:13]] = [int(number) for number in numbers]
        for region in ("r3",) if self.question == "one region" else self.feed.by_region:
            self.check_region(region, regions.get(region, {}), at_least, at_most)
        self.answers += 1

    def check_region(self, region, groups, at_least, at_most):
        count = sum(group[0] for group in groups.values())
        what = f"{self.question}: {region}, cut {self.cuts[-1]}, {count} rows"
        low, high = self.feed.rows_of(region, at_least), self.feed.rows_of(region, at_most)
        check(low <= count <= high, f"{what}: {low} were acknowledged before, {high} handed over until then")
        check(count >= self.seen.get(region, 0), f"{what}: fewer than the {self.seen.get(region)} seen before")
        self.seen[region] = count
        check_equal(groups, self.feed.fold(region, count, self.question == "hours"), f"{what}: the fold of a prefix")


def settle_small(cluster):
    """Few versions, small segments, frequent flushes: everything moves all the time."""
    cluster.up()
    cluster.down()
    path = os.path.join(cluster.directory, "config", "node.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for key, value in (("retained_versions", 1), ("flush_interval_ms", 50), ("segment_bytes", 1 << 20)):
        text, count = re.subn(rf"(?m)^{key}:.*$", f"{key}: {value}", text)
        check_equal(count, 1, f"{key} in {path}")
    write_file(path, text)


def test(directory):
    feed = Feed(os.path.join(directory, "rows.csv"))
    cluster = Cluster(os.path.join(directory, "cluster"), CATALOG, partitions=3, workers=2)
    settle_small(cluster)
    with cluster:
        stop = threading.Event()
        askers = [Asker(cluster, feed, name, stop) for name in QUESTIONS]
        feed.piece(cluster)
        for asker in askers:
            asker.start()
        jobs = 0
        end = time.monotonic() + SECONDS * SLOW
        importer = threading.Thread(target=feed.pieces, args=(cluster, end), daemon=True)
        importer.start()
        while importer.is_alive() and all(asker.failure is None for asker in askers):
            record = cluster.recompute("--ranks", str(1 + jobs % 2))
            found = drifts(record.get("report", record))
            check(found and not any(found), f"drift 0 in the report, found {found}: {record}")
            jobs += 1
        importer.join()
        if not any(asker.failure for asker in askers):  # and when nothing moves any more, everything is there
            feed.acknowledged = feed.given
            before = [asker.answers for asker in askers]
            wait_until(lambda: all(asker.failure or asker.answers > count + 1 for asker, count in zip(askers, before)),
                       "everybody asks again")
        stop.set()
        for asker in askers:
            asker.join()
            if asker.failure is not None:
                raise asker.failure
        for asker in askers:
            say(f"{asker.question}: {asker.answers} answers over {len(set(asker.cuts)) - 1} versions")
        versions = max(len(set(asker.cuts)) for asker in askers)
        check(versions > 3 and jobs > 3, f"askers saw {versions} versions of {jobs} jobs: too few moved")
        spans = [partition["spans"] for partition in cluster.status()["speed"]["partitions"]]
        check(max(spans) <= 4, f"spans were retired: {spans}")


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
