#!/usr/bin/env python3
"""flights_test: 336,776 real flights, out of time order, against truth that pandas computed (and, for the first half,
exact Python).

First half of the file -> query (speed alone) -> batch -> the file grows -> query (merged) -> batch -> query. At
each of the three moments counts, sums, minima and maxima equal the truth exactly, means and deviations to 1e-12;
distincts are exact up to 256, above that no group is off by more than 3.3 % and the root mean square over groups is
at most 1 %.

    flights_test.py carrier     the partition key is part of two views' keys
    flights_test.py tailnum     no view but one is aligned with the partition key
"""

import csv
import io
import math
import os
import sys
from fractions import Fraction

from harness import (
    Cluster,
    append_file,
    check,
    check_equal,
    check_near,
    drifts,
    integer,
    main,
    need_programs,
    real,
    run,
    say,
    shared_file,
    skip,
    write_file,
)

DISTINCT_EXACT = 256
MISSING_TAIL = "NONE"  # a partition key must not be NULL

MEASURES = """count(*) AS events, count({delay}) AS n, sum({delay}) AS total,
    min({delay}) AS smallest, max({delay}) AS largest,
    avg({delay}) AS mean, stddev_pop({delay}) AS sd_pop, stddev_samp({delay}) AS sd_samp,
    count_distinct(tailnum){tail_filter} AS tails, count_distinct(dest) AS dests,
    sum(distance) AS miles, min(air_time) AS shortest,
    covar_pop({delay}, distance) AS joint, corr({delay}, distance) AS correlation,
    regr_slope({delay}, distance) AS slope, avg_weighted({delay}, distance) AS weighted,
    ratio(distance, air_time) AS speed, skewness({delay}) AS skew, kurtosis({delay}) AS tailed,
    largest({delay}, 3) AS worst, histogram(distance, 500, 1000) AS bands, bool_or(dest = 'LAX') AS to_lax"""

CATALOG = """
CREATE STREAM flights (
  departed TIMESTAMP NOT NULL, carrier TEXT NOT NULL, flight BIGINT NOT NULL,
    tailnum TEXT {tail_null}, origin TEXT NOT NULL,
  dest TEXT NOT NULL, dep_delay DOUBLE CHECK (dep_delay BETWEEN -120 AND 2880), arr_delay BIGINT,
    air_time DECIMAL(8, 2),
  distance BIGINT NOT NULL,
  EVENT TIME departed, PARTITION KEY ({key}));
CREATE VIEW by_carrier_day AS SELECT carrier, {departure}
  FROM flights GROUP BY carrier, TUMBLE(departed, INTERVAL '1 day');
CREATE VIEW by_origin_hour AS SELECT origin, {departure}
  FROM flights GROUP BY origin, TUMBLE(departed, INTERVAL '1 hour');
CREATE VIEW by_carrier AS SELECT carrier, {arrival} FROM flights GROUP BY carrier;
CREATE VIEW by_tailnum AS SELECT tailnum, count(*) AS events FROM flights GROUP BY tailnum;
"""


def catalog(key):
    is_tail = key == "tailnum"
    tail_filter = f" FILTER (WHERE tailnum <> '{MISSING_TAIL}')" if is_tail else ""
    return CATALOG.format(
        key=key,
        tail_null="NOT NULL" if is_tail else "",
        departure=MEASURES.format(delay="dep_delay", tail_filter=tail_filter),
        arrival=MEASURES.format(delay="arr_delay", tail_filter=tail_filter),
    )


class Group:
    """Exact truth of one group, computed here."""

    def __init__(self):
        self.events, self.values, self.tails, self.dests, self.miles, self.air_times = 0, [], set(), set(), 0, []
        self.distances, self.bands = [], [0, 0, 0]

    def add(self, row, delay):
        self.events += 1
        if row[delay]:
            self.values.append(int(row[delay]))
        if row["air_time"]:
            self.air_times.append(int(row["air_time"]))
        if row["tailnum"] and row["tailnum"] != MISSING_TAIL:
            self.tails.add(row["tailnum"])
        self.dests.add(row["dest"])
        distance = int(row["distance"])
        self.miles += distance
        self.bands[(distance >= 500) + (distance >= 1000)] += 1
        if row[delay]:
            self.distances.append(distance)

    def finish(self):
        n, total = len(self.values), sum(self.values)
        squares = (
            n * sum(value * value for value in self.values) - total * total
        )  # n times the sum of squared deviations
        return {
            "events": self.events,
            "n": n,
            "total": total if n else None,
            "smallest": min(self.values, default=None),
            "largest": max(self.values, default=None),
            "mean": float(Fraction(total, n)) if n else None,
            "sd_pop": math.sqrt(Fraction(squares, n * n)) if n else None,
            "sd_samp": math.sqrt(Fraction(squares, n * (n - 1))) if n > 1 else None,
            "tails": len(self.tails),
            "dests": len(self.dests),
            "miles": self.miles,
            "shortest": min(self.air_times, default=None),
            "speed": float(Fraction(self.miles, sum(self.air_times))) if self.air_times else None,
            "worst": json_list(sorted(self.values, reverse=True)[:3]),
            "bands": json_list(self.bands),
            "to_lax": "true" if "LAX" in self.dests else "false",
            **self.finish_moments(squares),
        }

    def finish_moments(self, squares):
        n, total, far = len(self.values), sum(self.values), sum(self.distances)
        products = sum(a * b for a, b in zip(self.values, self.distances))
        joint = n * products - total * far
        spread = n * sum(b * b for b in self.distances) - far * far
        cubes, fourths = (sum(value**power for value in self.values) for power in (3, 4))
        second = (squares + total * total) // max(n, 1)  # the sum of squares
        third = n * n * cubes - 3 * n * total * second + 2 * total**3
        fourth = n**3 * fourths - 4 * n * n * total * cubes + 6 * n * total * total * second - 3 * total**4
        return {
            "joint": float(Fraction(joint, n * n)) if n else None,
            "correlation": joint / math.sqrt(spread * squares) if spread and squares else None,
            "slope": float(Fraction(joint, spread)) if spread else None,
            "weighted": float(Fraction(products, far)) if far else None,
            "skew": third / math.sqrt(squares) ** 3 if squares else None,
            "tailed": float(Fraction(fourth, squares * squares) - 3) if squares else None,
        }


def json_list(values):
    return "[" + ",".join(str(value) for value in values) + "]" if values else None


def truth_of(rows, key, delay):
    groups = {}
    for row in rows:
        name = key(row)
        if name not in groups:
            groups[name] = Group()
        groups[name].add(row, delay)
    return {name: group.finish() for name, group in groups.items()}


def by_carrier_day(row):
    return row["carrier"], row["departed"][:10] + "T00:00:00Z"


def by_origin_hour(row):
    return row["origin"], row["departed"][:13] + ":00:00Z"


def truths(rows):
    return {
        "by_carrier_day": truth_of(rows, by_carrier_day, "dep_delay"),
        "by_origin_hour": truth_of(rows, by_origin_hour, "dep_delay"),
        "by_carrier": truth_of(rows, lambda row: (row["carrier"],), "arr_delay"),
    }


def published(name, keys):
    """The committed truth in the shape of Group.finish."""
    with open(shared_file("nycflights13", "truth", name), newline="") as file:
        return {tuple(row[key] for key in keys): row for row in csv.DictReader(file)}


def check_published(whole):
    """Our own truth of the whole file is the committed one, so the half's, computed alike, is right too."""
    for view, name, keys in (
        ("by_carrier_day", "carrier_day_dep_delay.csv", ("carrier", "day_start")),
        ("by_origin_hour", "origin_hour_dep_delay.csv", ("origin", "hour_start")),
        ("by_carrier", "carrier_arr_delay.csv", ("carrier",)),
    ):
        committed = published(name, keys)
        check_equal(set(committed), set(whole[view]), f"groups of {name}")
        for group, row in committed.items():
            ours = whole[view][group]
            for mine, theirs in (
                ("events", "events"),
                ("n", "n"),
                ("total", "sum"),
                ("smallest", "min"),
                ("largest", "max"),
                ("tails", "distinct_tailnum"),
                ("dests", "distinct_dest"),
            ):
                if theirs == "sum" and ours["n"] == 0:
                    continue
                check_equal(ours[mine], integer(row[theirs] or None), f"{name} {group} {theirs}")
            for mine, theirs in (("mean", "mean"), ("sd_pop", "stddev_pop"), ("sd_samp", "stddev_samp")):
                check_near(ours[mine], real(row[theirs] or None), f"{name} {group} {theirs}")


class Distincts:
    """Errors of distinct counts above the exact range."""

    def __init__(self):
        self.errors = []

    def check(self, estimate, truth, what):
        if truth <= DISTINCT_EXACT:
            check_equal(estimate, truth, what)
            return
        error = estimate / truth - 1
        check(abs(error) <= 0.033, f"{what}: {estimate} for {truth} is {error:+.2%}")
        self.errors.append(error)

    def finish(self, what):
        if self.errors:
            rms = math.sqrt(sum(error * error for error in self.errors) / len(self.errors))
            check(rms <= 0.01, f"{what}: root mean square of {len(self.errors)} distincts is {rms:.2%}")


def check_group(row, truth, distincts, what):
    for name in ("events", "n", "miles"):
        check_equal(integer(row[name]), truth[name], f"{what} {name}")
    for name in ("total", "smallest", "largest", "shortest"):
        check_equal(real(row[name]), truth[name], f"{what} {name}")
    for name in ("worst", "bands", "to_lax"):
        check_equal(row[name], truth[name], f"{what} {name}")
    for name in MEANS:
        check_near(real(row[name]), truth[name], f"{what} {name}")
    for name in ("tails", "dests"):
        distincts.check(integer(row[name]), truth[name], f"{what} {name}")


MEANS = ("mean", "sd_pop", "sd_samp", "joint", "correlation", "slope", "weighted", "speed", "skew", "tailed")
FIELDS = (
    "events, n, total, smallest, largest, mean, sd_pop, sd_samp, tails, dests, miles, shortest, joint, correlation, "
    "slope, weighted, speed, skew, tailed, worst, bands, to_lax"
)


def check_view(cluster, truth, view, keys, sql, moment):
    distincts = Distincts()
    rows = cluster.query(sql)
    answer = {tuple(row[key] for key in keys): row for row in rows}
    check_equal(len(answer), len(rows), f"{moment}: {view}: groups are answered once")
    check_equal(set(answer), set(truth), f"{moment}: groups of {view}")
    for group, expected in truth.items():
        check_group(answer[group], expected, distincts, f"{moment}: {view} {group}")
    distincts.finish(f"{moment}: {view}")


def check_moment(cluster, truth, rows, moment):
    check_view(
        cluster,
        truth["by_carrier_day"],
        "by_carrier_day",
        ("carrier", "window_start"),
        f"SELECT carrier, window_start, {FIELDS} FROM by_carrier_day",
        moment,
    )
    check_view(
        cluster,
        truth["by_origin_hour"],
        "by_origin_hour",
        ("origin", "window_start"),
        f"SELECT origin, window_start, {FIELDS} FROM by_origin_hour",
        moment,
    )
    check_view(
        cluster, truth["by_carrier"], "by_carrier", ("carrier",), f"SELECT carrier, {FIELDS} FROM by_carrier", moment
    )
    # Rolled up over panes and keys: the same rows seen from farther away.
    check_view(
        cluster,
        truth_of(rows, lambda row: (row["carrier"],), "dep_delay"),
        "carriers of by_carrier_day",
        ("carrier",),
        f"SELECT carrier, {FIELDS} FROM by_carrier_day GROUP BY carrier",
        moment,
    )
    check_view(
        cluster,
        truth_of(rows, lambda row: (row["departed"][:10] + "T00:00:00Z",), "dep_delay"),
        "days of by_origin_hour",
        ("window_start",),
        (
            f"SELECT TUMBLE(window_start, INTERVAL '1 day') AS window_start, {FIELDS} FROM by_origin_hour "
            "GROUP BY TUMBLE(window_start, INTERVAL '1 day')"
        ),
        moment,
    )
    check_view(
        cluster,
        {(): truth_of(rows, lambda row: (), "dep_delay")[()]},
        "all of by_origin_hour",
        (),
        f"SELECT {FIELDS} FROM by_origin_hour",
        moment,
    )
    check_tails(cluster, rows, moment)
    say(f"{moment}: all views equal the truth")


def check_tails(cluster, rows, moment):
    counts = {}
    for row in rows:
        counts[row["tailnum"]] = counts.get(row["tailnum"], 0) + 1
    counts = {name: count for name, count in counts.items() if name not in ("", MISSING_TAIL)}
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:100]
    answer = cluster.query("SELECT tailnum, events FROM by_tailnum ORDER BY events DESC, tailnum LIMIT 101")
    found = [(row["tailnum"], int(row["events"])) for row in answer if row["tailnum"] not in (None, MISSING_TAIL)]
    check_equal(found[:100], expected, f"{moment}: the 100 most frequent tail numbers")


def read_rows(key):
    text = run(["zstd", "-dcq", shared_file("nycflights13", "flights.csv.zst")]).out
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if key == "tailnum":
        for row in rows:
            row["tailnum"] = row["tailnum"] or MISSING_TAIL
    return rows


def as_csv(rows, with_header):
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    if with_header:
        writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def batch_run(cluster, moment):
    record = cluster.recompute("--ranks", "2")
    found = drifts(record.get("report", record))
    check(found and not any(found), f"{moment}: drift 0 in the reconcile report, found {found}: {record}")
    compared = record["report"]["compared"]
    check(compared > 0, f"{moment}: digests of speed and batch were compared: {record}")
    say(f"{moment}: batch done, drift 0, {compared} digests compared")


def test(directory):
    key = sys.argv[1] if len(sys.argv) > 1 else "carrier"
    rows = read_rows(key)
    half = len(rows) // 2
    whole = truths(rows)
    check_published(whole)
    say("truth computed, and equal to the committed one")
    with Cluster(
        os.path.join(directory, "cluster"), catalog(key), partitions=4 if key == "carrier" else 3, workers=2
    ) as cluster:
        path = write_file(os.path.join(directory, "flights.csv"), as_csv(rows[:half], True))
        imported = cluster.load("flights", path)
        check_equal((imported.accepted, imported.dead_letters), (half, 0), "first half: accepted, dead letters")
        say("first half imported")
        first = truths(rows[:half])
        check_moment(cluster, first, rows[:half], "first half, speed alone")
        batch_run(cluster, "first half")
        append_file(path, as_csv(rows[half:], False))
        imported = cluster.load("flights", path)
        check_equal(
            (imported.accepted, imported.dead_letters), (len(rows) - half, 0), "second half: accepted, dead letters"
        )
        check_moment(cluster, whole, rows, "whole file, merged")
        batch_run(cluster, "whole file")
        check_moment(cluster, whole, rows, "whole file, after batch")
        top = published("top100_tailnum.csv", ("tailnum",))
        answer = cluster.query("SELECT tailnum, events FROM by_tailnum ORDER BY events DESC, tailnum LIMIT 101")
        found = [(row["tailnum"], row["events"]) for row in answer if row["tailnum"] not in (None, MISSING_TAIL)][:100]
        check_equal(found, [(name, row["events"]) for (name,), row in top.items()], "the committed 100 tail numbers")


if __name__ == "__main__":
    if shared_file("nycflights13", "flights.csv.zst") is None:
        skip("the shared data set nycflights13 is not beside the source (ANABRANCH_SHARED names another place)")
    need_programs("anabranch", "anabranch-batch")
    main(test)
