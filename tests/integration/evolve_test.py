#!/usr/bin/env python3
"""evolve_test: the catalog changes while the cluster runs; what is old stays exact, what is new becomes whole with its
history.

A stream gains nullable columns, a view is added, one is changed, one is removed. Until a changed view is whole its
old definition answers; a new one says that it is not whole; afterwards both hold all rows, those before the change
too. The same catalog again changes nothing, also after a restart; what cannot be done to a stream is refused.
"""

import os

from harness import Cluster, check, check_equal, main, need_programs, say, wait_until, write_file

BEFORE = """
CREATE STREAM visits (
  page TEXT NOT NULL, visitor BIGINT NOT NULL, seconds DOUBLE, at TIMESTAMP NOT NULL,
  EVENT TIME at, PARTITION KEY (visitor));
CREATE VIEW by_page AS SELECT page, count(*) AS n FROM visits GROUP BY page;
CREATE VIEW by_hour AS SELECT count(*) AS n FROM visits GROUP BY TUMBLE(at, INTERVAL '1 hour');
CREATE VIEW odd AS SELECT count(*) AS n FROM visits WHERE visitor % 2 = 1;
"""

AFTER = """
CREATE STREAM visits (
  page TEXT NOT NULL, visitor BIGINT NOT NULL, seconds DOUBLE, at TIMESTAMP NOT NULL, country TEXT, paid DECIMAL(8, 2),
  EVENT TIME at, PARTITION KEY (visitor));
CREATE VIEW by_page AS SELECT page, count(*) AS n, sum(seconds) AS seconds, count_distinct(visitor) AS visitors
  FROM visits GROUP BY page;
CREATE VIEW by_hour AS SELECT count(*) AS n FROM visits GROUP BY TUMBLE(at, INTERVAL '1 hour');
CREATE VIEW by_country AS SELECT country, count(*) AS n, sum(paid) AS paid FROM visits GROUP BY country;
"""

ROWS = 6000


def rows(start, count, with_new):
    lines = []
    for i in range(start, start + count):
        new = f",{'c' + str(i % 3) if i % 4 else ''},{i % 50}.25" if with_new else ""
        lines.append(f"p{i % 7},{i % 91},{i % 11}.5,2024-06-0{1 + i % 3}T{i % 24:02d}:00:00Z{new}\n")
    return "".join(lines)


def pages(cluster, fields="n"):
    return {
        row["page"]: tuple(row[field] for field in fields.split(", "))
        for row in cluster.query(f"SELECT page, {fields} FROM by_page")
    }


def expected_pages(count):
    truth = {}
    for i in range(count):
        group = truth.setdefault(f"p{i % 7}", [0, 0.0, set()])
        group[0] += 1
        group[1] += i % 11 + 0.5
        group[2].add(i % 91)
    return truth


def check_old(cluster, count, what):
    found = {page: int(n) for page, (n,) in pages(cluster).items()}
    check_equal(found, {page: group[0] for page, group in expected_pages(count).items()}, f"{what}: by_page")
    total = cluster.query("SELECT n FROM by_hour")[0]["n"]
    check_equal(int(total), count, f"{what}: by_hour")


def check_new(cluster, count, what):
    found = {
        page: (int(n), float(seconds), int(visitors))
        for page, (n, seconds, visitors) in pages(cluster, "n, seconds, visitors").items()
    }
    truth = {page: (n, seconds, len(visitors)) for page, (n, seconds, visitors) in expected_pages(count).items()}
    check_equal(found, truth, f"{what}: by_page, changed")
    countries = {
        row["country"]: (int(row["n"]), row["paid"])
        for row in cluster.query("SELECT country, n, paid FROM by_country")
    }
    truth = {}
    for i in range(count):
        name = f"c{i % 3}" if i >= ROWS and i % 4 else None
        n, cents = truth.get(name, (0, None))
        truth[name] = (n + 1, (cents or 0) + i % 50 * 100 + 25 if i >= ROWS else cents)
    truth = {
        name: (n, None if cents is None else f"{cents // 100}.{cents % 100:02d}") for name, (n, cents) in truth.items()
    }
    check_equal(countries, truth, f"{what}: by_country")


def test_changes(cluster, directory):
    path = write_file(os.path.join(directory, "old.csv"), "page,visitor,seconds,at\n" + rows(0, ROWS, False))
    check_equal(cluster.load("visits", path), (ROWS, 0, 0), "rows before the change")
    cluster.recompute()
    after = write_file(os.path.join(directory, "after.sql"), AFTER)
    dry = cluster.command("apply", after, "--dry-run")
    for word in ("country", "paid", "by_page", "by_country", "odd"):
        check(word in dry.text, f"--dry-run names '{word}': {dry}")
    check("by_hour" not in dry.out, f"--dry-run leaves out what does not change: {dry}")
    check_old(cluster, ROWS, "after --dry-run")
    applied = cluster.command("apply", after)
    say(applied.text.strip().replace("\n", "; "))
    new = write_file(
        os.path.join(directory, "new.csv"), "page,visitor,seconds,at,country,paid\n" + rows(ROWS, ROWS, True)
    )
    check_equal(cluster.load("visits", new), (ROWS, 0, 0), "rows after the change")
    check_old(cluster, 2 * ROWS, "while the new definition is filled")
    error = cluster.command("query", "SELECT n FROM odd", expect="failure").err
    check("odd" in error, f"the removed view is unknown: {error}")
    result = cluster.command("query", "SELECT country, n FROM by_country", "--format", "csv", expect=None)
    check(result.code == 0 or "whole" in result.err, f"a new view is whole, or says that it is not: {result}")


def become_whole(cluster):
    """The backfill is submitted by `apply`; one more run makes sure that every partition carries the change."""
    wait_until(
        lambda: all(job["state"] in ("done", "failed") for job in cluster.status()["jobs"]), "the backfill", timeout=60
    )
    cluster.recompute()
    entry = next(view for view in cluster.status()["views"] if view["name"] == "by_country")
    check(entry.get("is_whole"), f"by_country is whole: {entry}")


def refuse_changes(cluster, directory):
    for part, replacement, word in (
        ("seconds DOUBLE", "seconds BIGINT", "seconds"),
        ("visitor BIGINT NOT NULL, ", "", "visitor"),
        ("PARTITION KEY (visitor)", "PARTITION KEY (page)", "PARTITION KEY"),
        ("country TEXT", "country TEXT NOT NULL", "country"),
        ("paid DECIMAL(8, 2)", "paid DECIMAL(8, 2), more TEXT NOT NULL", "more"),
    ):
        path = write_file(os.path.join(directory, "refused.sql"), AFTER.replace(part, replacement))
        result = cluster.command("apply", path, expect="failure")
        check(word in result.err, f"'{replacement}' is refused, naming '{word}': {result}")


def test(directory):
    with Cluster(os.path.join(directory, "cluster"), BEFORE, partitions=3, workers=2) as cluster:
        test_changes(cluster, directory)
        become_whole(cluster)
        check_new(cluster, 2 * ROWS, "whole")
        say("new and changed views are whole, with the rows before the change")
        refuse_changes(cluster, directory)
        cluster.down()
        cluster.catalog = write_file(os.path.join(directory, "again.sql"), AFTER)
        cluster.up()
        check_new(cluster, 2 * ROWS, "after a restart")
        more = write_file(
            os.path.join(directory, "more.csv"), "page,visitor,seconds,at,country,paid\n" + rows(2 * ROWS, 500, True)
        )
        check_equal(cluster.load("visits", more), (500, 0, 0), "rows after a restart")
        check_new(cluster, 2 * ROWS + 500, "merged after a restart")
        cluster.recompute("--full", "--ranks", "2")
        check_new(cluster, 2 * ROWS + 500, "computed anew over old and new rows")


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
