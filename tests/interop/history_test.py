#!/usr/bin/env python3
"""history_test: another engine reads the sealed history. DuckDB counts and adds up the Parquet files; `anabranch
query` agrees.

DuckDB comes from npm (@duckdb/node-api, for tests alone) into a folder of the build; skipped where npm cannot be
reached.
"""

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import (
    BIN,
    Cluster,
    append_file,
    check,
    check_equal,
    command,
    main,
    need_programs,
    run,
    say,
    skip,  # noqa: E402
    write_file,
)

PACKAGE = "@duckdb/node-api"
READER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "read_history.mjs")
MODULES = os.path.join(os.path.dirname(BIN), "interop")
ROWS = 30000

SQL = {
    "countries": (
        "SELECT country, strftime(date_trunc('hour', paid_at), '%Y-%m-%dT%H:%M:%SZ') AS hour, count(*) AS payments,"
        " sum(amount) AS spent, min(amount) AS smallest, max(amount) AS largest, count(*) FILTER (WHERE is_fraud) AS"
        " frauds FROM rows GROUP BY ALL"
    ),
    "users": "SELECT user_id, count(*) AS payments, sum(amount) AS spent FROM rows GROUP BY ALL",
    "places": (
        "SELECT count(*) AS n, count(DISTINCT (filename, _offset, _row)) AS places, count(_append_time) AS times, "
        "count(DISTINCT payment_id) AS ids FROM rows"
    ),
    "letters": (
        "SELECT count(*) AS n, count(DISTINCT (source, position)) AS places, count(reason) AS reasons FROM letters"
    ),
    "types": (
        "SELECT typeof(any_value(amount)) AS amount, typeof(any_value(paid_at)) AS paid_at,"
        " typeof(any_value(is_fraud)) AS is_fraud, typeof(any_value(user_id)) AS user_id, typeof(any_value(country))"
        " AS country FROM rows"
    ),
}


def install():
    """DuckDB's module under the build, once."""
    if os.path.isdir(os.path.join(MODULES, "node_modules", *PACKAGE.split("/"))):
        return
    if shutil.which("node") is None or shutil.which("npm") is None:
        skip("node and npm are not installed, so DuckDB cannot be had")
    os.makedirs(MODULES, exist_ok=True)
    write_file(os.path.join(MODULES, "package.json"), '{"private": true, "type": "module"}\n')
    result = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--loglevel", "error", PACKAGE],
        cwd=MODULES,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if result.returncode != 0:
        shutil.rmtree(os.path.join(MODULES, "node_modules"), ignore_errors=True)
        skip(f"npm cannot install {PACKAGE}: {result.stderr.strip()[-300:]}")


def duckdb(cluster):
    """Answers of DuckDB over the history: name to rows, values as text."""
    history = os.path.join(cluster.directory, "history")
    views = {
        "rows": os.path.join(history, "payments", "partition-*", "span-*.parquet"),
        "letters": os.path.join(history, "_dead_letters", "payments", "partition-*", "span-*.parquet"),
    }
    script = shutil.copy2(READER, os.path.join(MODULES, "read_history.mjs"))
    result = run(["node", script], stdin=json.dumps({"views": views, "queries": SQL}), timeout=120)
    return json.loads(result.out)


def check_groups(cluster, answer):
    ours = cluster.query(
        "SELECT country, window_start, payments, spent, smallest, largest, frauds FROM spending_by_country"
    )
    theirs = {(row["country"], row["hour"]): row for row in answer["countries"]}
    check_equal({(row["country"], row["window_start"]) for row in ours}, set(theirs), "groups of countries and hours")
    for row in ours:
        other = theirs[row["country"], row["window_start"]]
        for column in ("payments", "frauds"):
            check_equal(int(row[column]), int(other[column]), f"{other}: {column}")
        for column in ("spent", "smallest", "largest"):
            check_equal(Decimal(row[column]), Decimal(other[column]), f"{other}: {column}")
    ours = cluster.query("SELECT user_id, payments, spent FROM spending_by_user GROUP BY user_id")
    found = {row["user_id"]: (int(row["payments"]), Decimal(row["spent"])) for row in ours}
    check_equal(
        found, {row["user_id"]: (int(row["payments"]), Decimal(row["spent"])) for row in answer["users"]}, "users"
    )


def check_rows(answer, accepted, dead):
    places = answer["places"][0]
    check_equal(int(places["n"]), accepted, "rows in the history")
    check_equal(
        (int(places["places"]), int(places["times"])),
        (accepted, accepted),
        "places in the log, and times of appending",
    )
    letters = answer["letters"][0]
    check_equal(
        {name: int(value) for name, value in letters.items()},
        {"n": dead, "places": dead, "reasons": dead},
        "dead letters",
    )
    types = answer["types"][0]
    check_equal(
        types,
        {
            "amount": "DECIMAL(12,2)",
            "paid_at": types["paid_at"],
            "is_fraud": "BOOLEAN",
            "user_id": "BIGINT",
            "country": "VARCHAR",
        },
        "types as DuckDB sees them",
    )
    check(types["paid_at"].startswith("TIMESTAMP"), f"paid_at is a TIMESTAMP: {types}")


def test(directory):
    install()
    catalog = run([command("anabranch-bench"), "generate", "--catalog"]).out
    lines = run(
        [command("anabranch-bench"), "generate", "--rows", str(ROWS), "--users", "300", "--broken", "0.01"]
    ).out.splitlines(keepends=True)
    with Cluster(os.path.join(directory, "cluster"), catalog, partitions=3, workers=2) as cluster:
        path = write_file(os.path.join(directory, "payments.csv"), "".join(lines[: ROWS // 2]))
        first = cluster.load("payments", path)
        cluster.recompute("--ranks", "2")
        append_file(path, "".join(lines[ROWS // 2 :]))
        second = cluster.load("payments", path)
        cluster.recompute("--ranks", "1")
        answer = duckdb(cluster)
        check_groups(cluster, answer)
        check_rows(answer, first.accepted + second.accepted, first.dead_letters + second.dead_letters)
        check_equal(first.accepted + second.accepted + first.dead_letters + second.dead_letters, ROWS, "rows given")
        say(f"DuckDB and the query agree on {len(answer['countries'])} groups of {answer['places'][0]['n']} rows")


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch", "anabranch-bench")
    main(test)
