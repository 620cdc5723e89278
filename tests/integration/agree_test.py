#!/usr/bin/env python3
"""agree_test: the same states, bit for bit, however they were computed.

On one log: 1, 2 and 4 ranks, incremental and --full, give directories of the same content, and all answers are
equal to the last digit. Across separate imports of the same rows: 1 and 2 workers, 1 and 8 partitions, another
order of the rows give the same answers; first and last too, because no two rows of a group have the same time. Sums
of floating point are the exact sum rounded once.
"""

import os
import random
from fractions import Fraction

from harness import Cluster, append_file, check, check_equal, drifts, main, need_programs, real, say, write_file

ROWS = 40000

CATALOG = """
CREATE STREAM events (
  id BIGINT NOT NULL, who TEXT NOT NULL, place TEXT, x DOUBLE, price DECIMAL(12, 2), flag BOOLEAN,
    at TIMESTAMP NOT NULL,
  EVENT TIME at, PARTITION KEY (who));
CREATE VIEW by_who AS SELECT who, {measures} FROM events GROUP BY who, TUMBLE(at, INTERVAL '1 hour');
CREATE VIEW by_place AS SELECT place, flag, {measures} FROM events GROUP BY place, flag;
CREATE VIEW by_day AS SELECT {measures} FROM events WHERE price > 1.00 GROUP BY TUMBLE(at, INTERVAL '1 day');
CREATE VIEW totals AS SELECT {measures} FROM events;
"""

MEASURES = {
    "n": "count(*)",
    "xs": "count(x)",
    "sum_x": "sum(x)",
    "sum_price": "sum(price)",
    "sum_both": "sum(price * id)",
    "avg_x": "avg(x)",
    "avg_price": "avg(price)",
    "min_x": "min(x)",
    "max_x": "max(x)",
    "min_place": "min(place)",
    "max_at": "max(at)",
    "vp_x": "var_pop(x)",
    "vs_price": "var_samp(price)",
    "sp_price": "stddev_pop(price)",
    "ss_x": "stddev_samp(x)",
    "ids": "count_distinct(id)",
    "places": "count_distinct(place)",
    "first_x": "first(x)",
    "last_price": "last(price)",
    "first_id": "first(id)",
    "last_place": "last(place)",
    "flagged": "sum(price) FILTER (WHERE flag)",
    "unflagged": "count(*) FILTER (WHERE NOT flag)",
}

QUERIES = {
    "by_who": "SELECT who, window_start, {m} FROM by_who",
    "by_who, days": (
        "SELECT who, TUMBLE(window_start, INTERVAL '1 day') AS day, {m} FROM by_who "
        "GROUP BY who, TUMBLE(window_start, INTERVAL '1 day')"
    ),
    "by_who, all": "SELECT {m} FROM by_who",
    "by_place": "SELECT place, flag, {m} FROM by_place",
    "by_day": "SELECT window_start, {m} FROM by_day",
    "totals": "SELECT {m} FROM totals",
}

VIEWS = ("by_who", "by_place", "by_day", "totals")


def catalog():
    return CATALOG.format(measures=", ".join(f"{text} AS {name}" for name, text in MEASURES.items()))


def rows_make(count, seed):
    """Rows whose floating values span 300 binary orders of magnitude and cancel; no two at the same time."""
    source = random.Random(seed)
    rows = []
    for i in range(count):
        x = source.choice(("", "0", "-0", "1e-310", repr(source.uniform(-1, 1) * 2.0 ** source.randint(-150, 150))))
        if i % 7 == 6 and rows[-1][3] not in ("", "0", "-0"):
            x = rows[-1][3][1:] if rows[-1][3].startswith("-") else "-" + rows[-1][3]
        seconds = i * 7 % (3 * 86400)
        at = (
            f"2024-02-{27 + seconds // 86400:02d}T{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}"
            f":{seconds % 60:02d}.{i:06d}Z"
        )
        rows.append(
            [
                str(i * 977 % 10007),
                f"user-{int(source.paretovariate(0.7)) % 60}",
                source.choice(("", "é", "köln", "a,b", 'q"q', "x")),
                x,
                f"{source.randint(-500, 99999) / 100:.2f}",
                source.choice(("true", "false", "")),
                at,
            ]
        )
    source.shuffle(rows)
    return rows


def as_csv(rows):
    def field(text):
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"') else text

    return "".join(",".join(map(field, row)) + "\n" for row in rows)


HEADER = "id,who,place,x,price,flag,at\n"


def answers(cluster):
    """All answers, in key order as they come."""
    measures = ", ".join(MEASURES)
    return {name: cluster.query(sql.format(m=measures)) for name, sql in QUERIES.items()}


def check_same(found, expected, what):
    for name in QUERIES:
        check_equal(len(found[name]), len(expected[name]), f"{what}: rows of {name}")
        for mine, theirs in zip(found[name], expected[name]):
            for column in theirs:
                check_equal(mine[column], theirs[column], f"{what}: {name}: {column} of {theirs}")


def check_sums(found, rows):
    """The exact sum, rounded once."""
    exact = float(sum(Fraction(float(row[3])) for row in rows if row[3]))
    for name in ("totals", "by_who, all"):
        check_equal(real(found[name][0]["sum_x"]), exact, f"{name}: the exact sum")
        check_equal(int(found[name][0]["n"]), len(rows), f"{name}: rows")


def recompute(cluster, *options):
    record = cluster.recompute(*options)
    found = drifts(record.get("report", record))
    check(found and not any(found), f"drift 0 in the report, found {found}: {record}")
    return {view: cluster.contents(view) for view in VIEWS}


def test_one_log(directory, rows):
    half = len(rows) // 2
    with Cluster(os.path.join(directory, "one"), catalog(), partitions=4, workers=2) as cluster:
        path = write_file(os.path.join(directory, "events.csv"), HEADER + as_csv(rows[:half]))
        check_equal(cluster.load("events", path), (half, 0, 0), "first half")
        speed_half = answers(cluster)
        first = recompute(cluster, "--ranks", "1")
        check_same(answers(cluster), speed_half, "first half: incremental, 1 rank, against speed")
        second = recompute(cluster, "--full", "--ranks", "2")
        check_equal(second, first, "content of the first span: incremental with 1 rank, full with 2")
        append_file(path, as_csv(rows[half:]))
        check_equal(cluster.load("events", path).accepted, len(rows) - half, "second half")
        merged = answers(cluster)
        check_sums(merged, rows)
        recompute(cluster, "--ranks", "4")
        check_same(answers(cluster), merged, "whole: incremental, 4 ranks, against version and speed merged")
        full = {}
        for ranks in ("4", "1", "2"):
            full[ranks] = recompute(cluster, "--full", "--ranks", ranks)
            check_same(answers(cluster), merged, f"whole: full, {ranks} ranks")
            check_equal(full[ranks], full["4"], f"content of the whole: full with 4 ranks and with {ranks}")
        say("one log: incremental and full with 1, 2 and 4 ranks hold the same states")
        return merged


def test_imports(directory, rows, expected):
    shuffled = rows[:]
    random.Random(5).shuffle(shuffled)
    for workers, partitions, order in ((1, 1, rows), (2, 8, shuffled)):
        name = f"{workers}w{partitions}p"
        with Cluster(os.path.join(directory, name), catalog(), partitions=partitions, workers=workers) as cluster:
            path = write_file(os.path.join(directory, name + ".csv"), HEADER + as_csv(order))
            check_equal(cluster.load("events", path), (len(rows), 0, 0), f"import with {name}")
            check_same(answers(cluster), expected, f"{workers} workers, {partitions} partitions: speed")
            recompute(cluster, "--ranks", "2")
            check_same(answers(cluster), expected, f"{workers} workers, {partitions} partitions: batch")
            say(f"{workers} workers, {partitions} partitions: the same answers")


def test(directory):
    rows = rows_make(ROWS, 11)
    merged = test_one_log(directory, rows)
    test_imports(directory, rows, merged)


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
