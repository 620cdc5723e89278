#!/usr/bin/env python3
"""windows_test: every kind of window over events out of order and over real flights, against Python's own answers.

Random clicks of some users around both changes of clocks in New York, imported in two halves: asked of speed alone,
after batch, merged over the seam (sessions that go over it count once), and after batch again. Python's zoneinfo, which
reads the time zones by itself, says where local days begin. Then flights by local day, where the data set is there.
A catalog with an unknown zone is refused, a changed window is built anew, and LAST answers as of now.
"""

import csv
import functools
import io
import json
import math
import os
import random
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from harness import (
    Cluster,
    append_file,
    check,
    check_equal,
    drifts,
    main,
    need_programs,
    run,
    say,
    shared_file,
    write_file,
)

ZONE = ZoneInfo("America/New_York")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GAP = timedelta(minutes=30)

CATALOG = """
CREATE STREAM clicks (at TIMESTAMP NOT NULL, user_name TEXT NOT NULL, worth BIGINT NOT NULL, EVENT TIME at,
  PARTITION KEY (user_name));
CREATE STREAM flights (
  departed TIMESTAMP NOT NULL, carrier TEXT NOT NULL, dep_delay DOUBLE, EVENT TIME departed, PARTITION KEY (carrier));
CREATE VIEW hops AS SELECT user_name, count(*) AS n, sum(worth) AS total, rate(worth) AS pace, p50(worth) AS middle,
  top_k(worth, 3) AS often, decayed_sum(worth, INTERVAL '10 minutes') AS lately FROM clicks
  GROUP BY user_name, HOP(at, INTERVAL '1 day', INTERVAL '7 days');
CREATE VIEW day_by_day AS SELECT user_name, count(*) AS n, sum(worth) AS total FROM clicks
  GROUP BY user_name, TUMBLE(at, INTERVAL '1 day', 'America/New_York');
CREATE VIEW so_far AS SELECT count(*) AS n, sum(worth) AS total FROM clicks
  GROUP BY CUMULATE(at, INTERVAL '1 hour', INTERVAL '1 day', 'America/New_York');
CREATE VIEW visits AS SELECT user_name, count(*) AS n, sum(worth) AS total, rate(worth) AS pace, p50(worth) AS middle,
  top_k(worth, 3) AS often, decayed_sum(worth, INTERVAL '10 minutes') AS lately FROM clicks
  GROUP BY user_name, SESSION(at, INTERVAL '30 minutes');
CREATE VIEW flights_by_day AS SELECT carrier, count(*) AS n, sum(dep_delay) AS total FROM flights
  GROUP BY carrier, TUMBLE(departed, INTERVAL '1 day', 'America/New_York') WITH (keep = '20 years');
CREATE VIEW flights_by_hour AS SELECT carrier, count(*) AS n, sum(dep_delay) AS total FROM flights
  GROUP BY carrier, TUMBLE(departed, INTERVAL '1 hour');
"""


@functools.lru_cache(None)
def text_of(time):
    text = time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return text + "Z"


@functools.lru_cache(None)
def local_day(day):
    """The instant at which a local day begins: midnight exists every day in New York."""
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(timezone.utc)


@functools.lru_cache(None)
def day_of(time):
    return time.astimezone(ZONE).date()


def clicks_make():
    """Bursts of clicks, some of them before 1970, two thirds of them around changes of clocks."""
    chance = random.Random(4)
    centers = [datetime(2024, 3, 10, 7, tzinfo=timezone.utc), datetime(2024, 11, 3, 6, tzinfo=timezone.utc)]
    centers.append(datetime(1969, 12, 28, tzinfo=timezone.utc))
    clicks = []
    for _ in range(700):
        at = chance.choice(centers) + timedelta(seconds=chance.randrange(-5 * 86400, 5 * 86400))
        user = f"u{chance.randrange(6)}"
        for _ in range(chance.randrange(1, 9)):
            clicks.append((at, user, chance.randrange(100)))
            at += chance.choice((MINUTE, 10 * MINUTE, 29 * MINUTE, GAP, GAP + timedelta(microseconds=1)))
    chance.shuffle(clicks)
    return clicks


def add(groups, key, worth):
    n, total = groups.get(key, (0, 0))
    groups[key] = (n + 1, total + worth)


def hops_of(clicks, size=7 * DAY):
    groups = {}
    for at, user, worth in clicks:
        start = EPOCH + (at - EPOCH) // DAY * DAY
        while start + size > at:
            add(groups, (user, text_of(start), text_of(start + size)), worth)
            start -= DAY
    return groups


def days_of(clicks, first=day_of, following=lambda day: day + DAY):
    groups = {}
    for at, user, worth in clicks:
        day = first(at)
        add(groups, (user, text_of(local_day(day)), text_of(local_day(following(day)))), worth)
    return groups


def weeks_of(clicks):
    return days_of(clicks, lambda at: day_of(at) - day_of(at).weekday() * DAY, lambda day: day + 7 * DAY)


def months_of(clicks):
    return days_of(clicks, lambda at: day_of(at).replace(day=1), lambda day: (day + 32 * DAY).replace(day=1))


def so_far_of(clicks):
    groups = {}
    for at, _, worth in clicks:
        start, end = local_day(day_of(at)), local_day(day_of(at) + DAY)
        until = start + HOUR
        while until <= end:
            if until > at:
                add(groups, (text_of(start), text_of(until)), worth)
            until += HOUR
    return groups


def visits_of(clicks):
    sessions = []
    for at, user, worth in sorted(clicks, key=lambda click: (click[1], click[0])):
        if not sessions or sessions[-1][0] != user or at - sessions[-1][2] > GAP:
            sessions.append([user, at, at, 0, 0])
        sessions[-1][2] = at
        sessions[-1][3] += 1
        sessions[-1][4] += worth
    return {(user, text_of(first), text_of(last + GAP)): (n, total) for user, first, last, n, total in sessions}


def check_answer(cluster, sql, keys, expected, what):
    rows = cluster.query(sql)
    answer = {tuple(row[key] for key in keys): (int(row["n"]), int(row["total"])) for row in rows}
    check_equal(len(answer), len(rows), f"{what}: windows are answered once")
    for key in sorted(set(answer) | set(expected)):
        check_equal(answer.get(key), expected.get(key), f"{what}: {key}")


BY_USER = ("user_name", "window_start", "window_end")
SELECT = "SELECT user_name, window_start, window_end, n, total FROM "


def check_moment(cluster, clicks, moment):
    check_answer(cluster, SELECT + "hops", BY_USER, hops_of(clicks), f"{moment}: HOP")
    chosen = {
        key: group
        for key, group in hops_of(clicks).items()
        if key[1] >= "2024-03-05T00:00:00Z" and key[2] <= "2024-03-14"
    }
    check(chosen, "some windows are chosen")
    check_answer(
        cluster,
        SELECT + "hops WHERE window_start >= '2024-03-05' AND window_end < '2024-03-14'",
        BY_USER,
        chosen,
        f"{moment}: HOP, chosen",
    )
    check_answer(cluster, SELECT + "day_by_day", BY_USER, days_of(clicks), f"{moment}: local days")
    for unit, expected in (("week", weeks_of(clicks)), ("month", months_of(clicks))):
        sql = SELECT + f"day_by_day GROUP BY user_name, TUMBLE(window_start, INTERVAL '1 {unit}')"
        check_answer(cluster, sql, BY_USER, expected, f"{moment}: local {unit}s")
    sql = "SELECT window_start, window_end, n, total FROM so_far"
    check_answer(cluster, sql, BY_USER[1:], so_far_of(clicks), f"{moment}: CUMULATE")
    visits = visits_of(clicks)
    check_answer(cluster, SELECT + "visits", BY_USER, visits, f"{moment}: SESSION")
    chosen = {
        key: group
        for key, group in visits.items()
        if "2024-03-09T12:34:56Z" <= key[1] and key[2] <= "2024-03-11T00:00:00Z"
    }
    check_answer(
        cluster,
        SELECT + "visits WHERE window_start >= '2024-03-09 12:34:56' AND window_end <= '2024-03-11'",
        BY_USER,
        chosen,
        f"{moment}: SESSION, chosen",
    )
    longest = cluster.query(SELECT + "visits ORDER BY n DESC, user_name, window_start LIMIT 3")
    expected = sorted(visits.items(), key=lambda item: (-item[1][0], item[0]))[:3]
    found = [tuple(row[key] for key in BY_USER) for row in longest]
    check_equal(found, [key for key, _ in expected], f"{moment}: the longest visits")
    one_user = [click for click in clicks if click[1] == "u3"]
    check_answer(
        cluster, SELECT + "visits WHERE user_name = 'u3'", BY_USER, visits_of(one_user), f"{moment}: one user's visits"
    )
    check_measures(cluster, clicks, "hops", len(hops_of(clicks)), moment)
    check_measures(cluster, clicks, "visits", len(visits), moment)
    say(f"{moment}: all windows equal Python's")


def time_of(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def check_measures(cluster, clicks, view, count, moment):
    """Rates and decayed sums over the real bounds of each window, and sketches, against the clicks that are in it."""
    by_user = {}
    for at, user, worth in clicks:
        by_user.setdefault(user, []).append((at, worth))
    rows = cluster.query(
        "SELECT user_name, window_start, window_end, pace, middle, often, quantile(middle, 1) AS most, lately "
        f"FROM {view}"
    )
    check_equal(len(rows), count, f"{moment}: windows of {view}")
    for row in rows:
        start, end = time_of(row["window_start"]), time_of(row["window_end"])
        inside = [(at, worth) for at, worth in by_user[row["user_name"]] if start <= at < end]
        worths = sorted(worth for _, worth in inside)
        lately = sum(worth * 2.0 ** ((at - end) / (10 * MINUTE)) for at, worth in inside)
        counts = sorted(((-worths.count(worth), worth) for worth in set(worths)))[:3]
        often = [{"value": worth, "count": -less, "error": 0} for less, worth in counts]
        what = f"{moment}: {view}: {row}"
        check(math.isclose(float(row["pace"]), sum(worths) / (end - start).total_seconds(), rel_tol=1e-12), what)
        check(math.isclose(float(row["lately"]), lately, rel_tol=1e-10), f"{what}, expected {lately}")
        for name, exact in (("middle", worths[(len(worths) - 1) // 2]), ("most", worths[-1])):
            check(math.isclose(float(row[name]), exact, rel_tol=0.0079), f"{what}, expected {exact}")
        check_equal(json.loads(row["often"]), often, what)


def check_last(cluster, clicks, moment):
    until = datetime(2024, 3, 12, tzinfo=timezone.utc)
    expected = {}
    for at, user, worth in clicks:
        if until - 3 * DAY <= at < until:
            add(expected, (user, text_of(until - 3 * DAY), text_of(until)), worth)
    sql = SELECT + "hops GROUP BY user_name, LAST(window_start, INTERVAL '3 days', TIMESTAMP '2024-03-12')"
    check_answer(cluster, sql, BY_USER, expected, f"{moment}: LAST")


def check_now(cluster, directory):
    """Clicks of this moment are in the last hour that LAST names, on the edges of panes, and nothing older is."""
    now = datetime.now(timezone.utc)
    path = write_file(os.path.join(directory, "now.csv"), as_csv([(now, "now", 5), (now - 90 * DAY, "now", 7)]))
    check_equal(cluster.load("clicks", path).accepted, 2, "clicks of now")
    sql = "hops WHERE user_name = 'now' GROUP BY user_name, LAST(window_start, INTERVAL '2 days')"
    rows = cluster.query(SELECT + sql)
    check_equal([row["n"] for row in rows], ["1"], "LAST as of now")
    end = EPOCH + ((datetime.now(timezone.utc) - EPOCH) // DAY + 1) * DAY
    check(rows[0]["window_end"] in (text_of(end), text_of(end - DAY)), f"where LAST ends: {rows}")
    say("LAST answers as of now")


def as_csv(clicks):
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("at", "user_name", "worth"))
    writer.writerows((text_of(at), user, worth) for at, user, worth in clicks)
    return out.getvalue()


def batch_run(cluster, moment):
    record = cluster.recompute("--ranks", "2")
    found = drifts(record.get("report", record))
    check(found and not any(found), f"{moment}: drift 0 in the reconcile report, found {found}: {record}")


def flights_test(cluster, directory):
    if shared_file("nycflights13", "flights.csv.zst") is None:
        say("the data set nycflights13 is not there: flights are left out")
        return
    text = run(["zstd", "-dcq", shared_file("nycflights13", "flights.csv.zst")]).out
    rows = list(csv.DictReader(io.StringIO(text, newline="")))[::12]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ("departed", "carrier", "dep_delay"), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = write_file(os.path.join(directory, "flights.csv"), out.getvalue())
    check_equal(cluster.load("flights", path).accepted, len(rows), "flights accepted")
    days, hops = {}, {}
    for row in rows:
        at = datetime.fromisoformat(row["departed"].replace("Z", "+00:00"))
        at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
        day, worth = day_of(at), int(row["dep_delay"] or 0)
        add(days, (row["carrier"], text_of(local_day(day)), text_of(local_day(day + DAY))), worth)
        start = EPOCH + (at - EPOCH) // DAY * DAY
        while start + 7 * DAY > at:
            add(hops, (row["carrier"], text_of(start), text_of(start + 7 * DAY)), worth)
            start -= DAY
    keys = ("carrier", "window_start", "window_end")
    select = "SELECT carrier, window_start, window_end, n, coalesce(total, 0.0) AS total FROM "
    hop = "flights_by_hour GROUP BY carrier, HOP(window_start, INTERVAL '1 day', INTERVAL '7 days')"
    for moment in ("speed alone", "after batch"):
        for sql, expected in ((select + "flights_by_day", days), (select + hop, hops)):
            answer = {}
            for row in cluster.query(sql):
                answer[tuple(row[key] for key in keys)] = (int(row["n"]), int(float(row["total"])))
            check_equal(answer, expected, f"{moment}: {sql}")
        say(f"{moment}: flights by local day and by week, day by day")
        if moment == "speed alone":
            batch_run(cluster, "flights")


def changes_test(cluster, directory):
    """An unknown zone is refused with its place; a changed window is another definition and is built anew."""
    path = write_file(os.path.join(directory, "unknown.sql"), CATALOG.replace("America/New_York", "America/New_Yorc"))
    refused = cluster.command("apply", path, expect=None)
    check(refused.code != 0 and "did you mean America/New_York?" in refused.text, f"an unknown zone: {refused}")
    path = write_file(os.path.join(directory, "same.sql"), CATALOG)
    said = cluster.command("apply", path).text
    check("rebuilt" not in said, f"the same catalog changes nothing, its zones are pinned: {said}")
    changed = CATALOG.replace("SESSION(at, INTERVAL '30 minutes')", "SESSION(at, INTERVAL '31 minutes')")
    path = write_file(os.path.join(directory, "changed.sql"), changed)
    said = cluster.command("apply", path).text
    check("visits: changed, will be rebuilt" in said and "day_by_day" not in said, f"a changed window: {said}")
    say("an unknown zone is refused, a changed window is built anew")


def test(directory):
    clicks = clicks_make()
    half = len(clicks) // 2
    with Cluster(os.path.join(directory, "cluster"), CATALOG, partitions=3, workers=2) as cluster:
        path = write_file(os.path.join(directory, "clicks.csv"), as_csv(clicks[:half]))
        check_equal(cluster.load("clicks", path).accepted, half, "first half accepted")
        check_moment(cluster, clicks[:half], "first half, speed alone")
        batch_run(cluster, "first half")
        check_moment(cluster, clicks[:half], "first half, after batch")
        append_file(path, as_csv(clicks[half:]).split("\n", 1)[1])
        check_equal(cluster.load("clicks", path).accepted, len(clicks) - half, "second half accepted")
        check_moment(cluster, clicks, "both halves, merged over the seam")
        check_last(cluster, clicks, "merged over the seam")
        batch_run(cluster, "both halves")
        check_moment(cluster, clicks, "both halves, after batch")
        check_now(cluster, directory)
        flights_test(cluster, directory)
        changes_test(cluster, directory)


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
