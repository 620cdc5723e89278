#!/usr/bin/env python3
"""import_test: everything `anabranch import` promises, and how `query --format csv` prints values."""

import gzip
import json
import os
import signal
import subprocess
import time
from fractions import Fraction

from harness import (
    SLOW,
    Cluster,
    Imported,
    append_file,
    check,
    check_equal,
    command,
    environment,
    main,
    need_programs,
    run,
    say,
    write_file,
)

CATALOG = """
CREATE STREAM sales (
  shop TEXT NOT NULL, item TEXT, pieces BIGINT CHECK (pieces > 0), weight DOUBLE, price DECIMAL(10, 2), is_gift BOOLEAN,
  sold TIMESTAMP NOT NULL,
  EVENT TIME sold, PARTITION KEY (shop));
CREATE VIEW by_shop AS SELECT shop, count(*) AS n, count(item) AS items, sum(pieces) AS pieces, sum(weight) AS weight,
    sum(price) AS price, min(price) AS cheapest, max(item) AS item, min(sold) AS opened,
    max(sold) AS closed, max(is_gift) AS gift,
    avg(pieces) AS mean, avg(price) AS mean_price, last(weight) AS last_weight
  FROM sales GROUP BY shop;
CREATE VIEW by_hour AS SELECT shop, count(*) AS n FROM sales GROUP BY shop, TUMBLE(sold, INTERVAL '1 hour');
"""

HEADER = "shop,item,pieces,weight,price,is_gift,sold\n"


def lines(count, shop="s", start=0):
    """Sound rows of a shop."""
    return "".join(
        f"{shop},i{i},{i % 9 + 1},{i}.5,{i % 100}.25,true,2024-05-01T{i % 24:02d}:00:00Z\n"
        for i in range(start, start + count)
    )


class Shop:
    """A cluster, a folder for files, and shops that no other case uses."""

    def __init__(self, cluster, directory):
        self.cluster, self.directory = cluster, directory

    def file(self, name, text):
        return write_file(os.path.join(self.directory, name), text)

    def row(self, shop, fields="*"):
        names = "n, items, pieces, weight, price, cheapest, item, opened, closed, gift, mean, mean_price, last_weight"
        rows = self.cluster.query(
            f"SELECT shop, {names if fields == '*' else fields} FROM by_shop WHERE shop = '{shop}'"
        )
        return rows[0] if rows else None

    def count(self, shop):
        row = self.row(shop, "n")
        return int(row["n"]) if row else 0


def test_values(shop):
    """Fields of every type, quoted, empty, escaped; and how they are printed."""
    path = shop.file(
        "values.csv",
        HEADER
        + 'v,"comma, ""quote""",3,0.1,10.10,true,2024-05-01T08:00:00Z\r\n'
        'v,"two\nlines",4,1e-7,20.05,FALSE,2024-05-01 09:30:00\n'
        'v,"",5,,,,2024-05-01T10:00:00.123456Z\n'
        "v,,6,-2.5e10,-0.01,false,2024-05-01T12:00:00+02:00\n",
    )
    check_equal(shop.cluster.load("sales", path), (4, 0, 0), "values.csv")
    row = shop.row("v")
    inexact = {name: float(row.pop(name)) for name in ("weight", "mean_price", "last_weight")}
    check_equal(
        row,
        {
            "shop": "v",
            "n": "4",
            "items": "2",
            "pieces": "18",
            "price": "30.14",
            "cheapest": "-0.01",
            "item": "two\nlines",
            "opened": "2024-05-01T08:00:00Z",
            "closed": "2024-05-01T10:00:00.123456Z",
            "gift": "true",
            "mean": "4.5",
        },
        "values.csv as answered",
    )
    check_equal(
        inexact["weight"],
        float(Fraction(0.1) + Fraction(1e-7) - Fraction(2.5e10)),
        "the exact sum of the weights, rounded once",
    )
    check(abs(inexact["mean_price"] - 30.14 / 3) < 1e-12, f"mean price {inexact}")
    hours = shop.cluster.query(
        "SELECT window_start, window_end, n FROM by_hour WHERE shop = 'v' AND window_start >= '2024-05-01T10:00:00Z'"
    )
    check_equal(
        hours,
        [{"window_start": "2024-05-01T10:00:00Z", "window_end": "2024-05-01T11:00:00Z", "n": "2"}],
        "the hour of 10:00",
    )
    third = shop.cluster.query("SELECT price / 3 AS third, weight AS w FROM by_shop WHERE shop = 'v'")[0]
    check(abs(float(third["third"]) - 30.14 / 3) < 1e-9, f"a third of the price: {third}")


def test_seventeen_digits(shop):
    path = shop.file(
        "digits.csv", HEADER + "d,i,1,0.1,1.00,,2024-05-01T08:00:00Z\nd,i,1,0.2,1.00,,2024-05-01T08:00:01Z\n"
    )
    check_equal(shop.cluster.load("sales", path), (2, 0, 0), "digits.csv")
    # The exact sum of the doubles 0.1 and 0.2, rounded once, is not 0.3, and the printed digits tell the two apart.
    check_equal(float(shop.row("d")["weight"]), float(Fraction(0.1) + Fraction(0.2)), "a sum in full digits")


def test_compressed(shop):
    text = HEADER + lines(3000, "gz")
    path = shop.file("plain.csv.gz", gzip.compress(text.encode()))
    check_equal(shop.cluster.load("sales", path), (3000, 0, 0), ".gz")
    check_equal(shop.count("gz"), 3000, ".gz counted")
    run(
        [
            "zstd",
            "-q",
            "-f",
            "-o",
            os.path.join(shop.directory, "plain.csv.zst"),
            shop.file("zst.csv", HEADER + lines(3000, "zst")),
        ]
    )
    check_equal(shop.cluster.load("sales", os.path.join(shop.directory, "plain.csv.zst")), (3000, 0, 0), ".zst")
    check_equal(shop.count("zst"), 3000, ".zst counted")
    # The same source compressed otherwise is the same prefix: it is the decompressed bytes that count.
    again = shop.cluster.load("sales", shop.file("other.csv", text), "--source", path)
    check_equal((again.accepted, again.dead_letters), (0, 0), "the same rows, decompressed, under the same source")
    cut = shop.file("cut.csv.gz", gzip.compress((HEADER + lines(5000, "cut")).encode())[:-200])
    result = shop.cluster.load("sales", cut, expect="failure")
    check("cut.csv.gz" in result.text, f"a truncated .gz is named: {result}")


def test_json_lines(shop):
    rows = [
        {
            "shop": "j",
            "item": 'ä "x"\n',
            "pieces": 2,
            "weight": 0.25,
            "price": "12.34",
            "is_gift": True,
            "sold": "2024-05-01T08:00:00Z",
        },
        {"sold": "2024-05-01 09:00:00", "shop": "j", "price": 1.5, "pieces": None},
        {"shop": "j", "sold": "2024-05-01T10:00:00Z", "unknown": [1, {"a": 2}], "pieces": 3},
    ]
    path = shop.file(
        "rows.jsonl", "\n".join(json.dumps(row) for row in rows) + "\nnot json\n" + '{"shop": "j", "sold": "never"}\n'
    )
    check_equal(shop.cluster.load("sales", path), (3, 0, 2), "rows.jsonl by its name")
    row = shop.row("j")
    check_equal(
        (row["n"], row["items"], row["pieces"], row["price"], row["item"]),
        ("3", "1", "5", "13.84", 'ä "x"\n'),
        "JSON lines",
    )
    other = shop.file("rows.txt", json.dumps(rows[0]).replace('"j"', '"k"') + "\n")
    check_equal(shop.cluster.load("sales", other, "--format", "jsonl"), (1, 0, 0), "--format jsonl")
    check_equal(shop.count("k"), 1, "--format jsonl counted")


def test_options(shop):
    path = shop.file("options.csv", "laden;amount;NULLED;sold\no;3;-;1714550400\no;-;-;1714550460\n")
    result = shop.cluster.load(
        "sales",
        path,
        "--delimiter",
        ";",
        "--null",
        "-",
        "--rename",
        "shop=laden",
        "--rename",
        "pieces=amount",
        "--time-unit",
        "s",
    )
    check_equal(result, (2, 0, 0), "--delimiter, --null, --rename, --time-unit")
    row = shop.row("o")
    check_equal((row["n"], row["pieces"], row["opened"]), ("2", "3", "2024-05-01T08:00:00Z"), "with options")
    for unit, scale in (("ms", 1000), ("us", 1000000)):
        path = shop.file(f"{unit}.csv", f"shop,sold\n{unit},{1714550400 * scale + scale // 2}\n")
        check_equal(shop.cluster.load("sales", path, "--time-unit", unit), (1, 0, 0), f"--time-unit {unit}")
        check_equal(shop.row(unit)["opened"], "2024-05-01T08:00:00.5Z", f"--time-unit {unit} as answered")
    path = shop.file("tabs.tsv", "shop\tsold\ntab\t2024-05-01T08:00:00Z\n")
    check_equal(shop.cluster.load("sales", path, "--delimiter", "\t"), (1, 0, 0), "--delimiter of a tab")
    result = shop.cluster.load(
        "sales",
        shop.file("wrong.csv", "shop,sold\nx,2024-05-01T08:00:00Z\n"),
        "--rename",
        "shpo=laden",
        expect="failure",
    )
    check("shpo" in result.err and "shop" in result.err, f"an unknown column of --rename, and the nearest: {result}")
    check_equal(shop.count("x"), 0, "a refused import imports nothing")


def test_stdin(shop):
    text = HEADER + lines(10, "in")
    first = shop.cluster.load("sales", "-", stdin=text)
    check_equal(first, (10, 0, 0), "standard input")
    check("source" in first.result.text.lower(), f"says that standard input is a new source: {first.result}")
    check_equal(shop.cluster.load("sales", "-", stdin=text), (10, 0, 0), "standard input again is new rows")
    check_equal(shop.count("in"), 20, "standard input counted twice")
    named = HEADER + lines(10, "named")
    check_equal(
        shop.cluster.load("sales", "-", "--source", "pipe", stdin=named), (10, 0, 0), "standard input with a source"
    )
    again = shop.cluster.load("sales", "-", "--source", "pipe", stdin=named + lines(5, "named", 10))
    check_equal((again.accepted, again.dead_letters), (5, 0), "standard input with the same source goes on")
    check_equal(shop.count("named"), 15, "a named source counts once")


def test_idempotent(shop):
    path = shop.file("grows.csv", HEADER + lines(500, "g"))
    check_equal(shop.cluster.load("sales", path), (500, 0, 0), "first import")
    again = shop.cluster.load("sales", path)
    check_equal((again.accepted, again.dead_letters), (0, 0), "the same file again")
    append_file(path, lines(300, "g", 500))
    grown = shop.cluster.load("sales", path)
    check_equal((grown.accepted, grown.dead_letters), (300, 0), "a file that grew")
    check_equal(shop.count("g"), 800, "a file that grew, counted")
    # A relative path is the same source.
    relative = run(
        [command("anabranch"), "import", "sales", "grows.csv", "--data", shop.cluster.directory], cwd=shop.directory
    )
    check_equal(Imported(relative).accepted, 0, "by a relative path")
    check_equal(shop.count("g"), 800, "a relative path, counted")
    # Equal rows at different positions are different events.
    same = "e,i,1,1,1.00,,2024-05-01T08:00:00Z\n" * 7
    check_equal(shop.cluster.load("sales", shop.file("equal.csv", HEADER + same)), (7, 0, 0), "equal rows")
    check_equal(shop.count("e"), 7, "equal rows count each")
    # Another source with the same rows is other events.
    check_equal(shop.cluster.load("sales", path, "--source", "other"), (800, 0, 0), "another source")
    check_equal(shop.count("g"), 1600, "another source counts")


def test_changed_prefix(shop):
    text = HEADER + lines(400, "p")
    path = shop.file("changes.csv", text)
    check_equal(shop.cluster.load("sales", path), (400, 0, 0), "before the change")
    changed = text.replace("p,i7,", "p,i8,", 1)
    check(changed != text and len(changed) == len(text), "the test changes a byte")
    write_file(path, changed + lines(10, "p", 400))
    result = shop.cluster.load("sales", path, expect="failure")
    check(
        any(word in result.err for word in ("changed", "differ", "not the same"))
        and any(c.isdigit() for c in result.err),
        f"a changed prefix is refused with the place: {result}",
    )
    check_equal(shop.count("p"), 400, "nothing of the changed file is counted")
    write_file(path, HEADER + lines(100, "p"))
    result = shop.cluster.load("sales", path, expect="failure")
    check(
        "short" in result.err or "shrunk" in result.err or "changed" in result.err or "less" in result.err,
        f"a file that shrank is refused: {result}",
    )
    write_file(path, text + lines(10, "p", 400))
    check_equal(shop.cluster.load("sales", path).accepted, 10, "with its old prefix it goes on")
    check_equal(shop.count("p"), 410, "the restored file, counted")


BAD = (
    ("b,i,zero,1,1.00,,2024-05-01T08:00:00Z", "pieces"),  # line 3
    ("b,i,0,1,1.00,,2024-05-01T08:00:00Z", "CHECK"),  # line 4
    ("b,i,1,1,1.005,,2024-05-01T08:00:00Z", "price"),
    ("b,i,1,1,123456789012.00,,2024-05-01T08:00:00Z", "price"),
    (",i,1,1,1.00,,2024-05-01T08:00:00Z", "partition key"),
    ("b,i,1,1,1.00,,", "sold"),
    ("b,i,1,1,1.00,maybe,2024-05-01T08:00:00Z", "is_gift"),
    ("b,i,1,1,1.00,,2024-02-30T08:00:00Z", "sold"),
    ("b,i,1", "field"),
    ("b,i,1,1,1.00,,2024-05-01T08:00:00Z,more", "field"),
    ("b,i,99999999999999999999,1,1.00,,2024-05-01T08:00:00Z", "pieces"),
)


def test_dead_letters(shop):
    text = HEADER + lines(1, "b") + "".join(line + "\n" for line, _ in BAD) + lines(5, "b", 1)
    path = shop.file("bad.csv", text)
    before = len(shop.cluster.dead_letters("sales"))
    check_equal(shop.cluster.load("sales", path), (6, 0, len(BAD)), "bad.csv")
    check_equal(shop.count("b"), 6, "sound rows of bad.csv")
    check_bad(shop, path, before)
    again = shop.cluster.load("sales", path)
    check_equal(again.accepted, 0, "bad.csv again")
    check_bad(shop, path, before)
    shop.cluster.recompute()
    check_bad(shop, path, before)
    limited = shop.cluster.dead_letters("sales", 3)
    check_equal(len(limited), 3, "--limit 3")


def check_bad(shop, path, before):
    letters = shop.cluster.dead_letters("sales")
    check_equal(len(letters), before + len(BAD), "each bad row is one dead letter")
    mine = {}
    for letter in letters:
        if letter.get("source") == path:
            mine[int(letter.get("position") or letter.get("line"))] = letter
    check_equal(len(mine), len(BAD), f"positions are told apart in {letters[:3]}")
    for number, (position, (line, word)) in enumerate(zip(sorted(mine), BAD)):
        letter = mine[position]
        check(
            word.lower() in letter["reason"].lower(),
            f"bad row {number}: '{line}': the reason names '{word}': {letter}",
        )
        check_equal(position - min(mine), number, "positions of bad rows follow each other")
    check(min(mine) in (2, 3), f"the first bad row is line 3, or row 2: {min(mine)}")


def test_bad_header(shop):
    result = shop.cluster.load(
        "sales", shop.file("noheader.csv", "itm,sold\nx,2024-05-01T08:00:00Z\n"), expect="failure"
    )
    check("shop" in result.err, f"a header without the partition key is refused, naming it: {result}")
    result = shop.cluster.load(
        "sales", shop.file("twice.csv", "shop,shop,sold\na,b,2024-05-01T08:00:00Z\n"), expect="failure"
    )
    check("shop" in result.err, f"a column twice in the header is refused: {result}")
    result = shop.cluster.load("sales", os.path.join(shop.directory, "absent.csv"), expect="failure")
    check("absent.csv" in result.err, f"an absent file is named: {result}")
    result = shop.cluster.load("sale", shop.file("x.csv", HEADER), expect="failure")
    check("sales" in result.err, f"an unknown stream, and the nearest: {result}")


def test_killed(shop):
    """Killed at three moments and run again, every row counts once."""
    count = 120000
    path = shop.file("killed.csv", HEADER + lines(count, "kill"))
    arguments = [command("anabranch"), "import", "sales", path, "--data", shop.cluster.directory]
    for delay in (0.05, 0.15, 0.3):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment())
        time.sleep(delay * SLOW)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        say(f"killed after {delay} s with {shop.count('kill')} of {count} rows in")
    shop.cluster.load("sales", path)
    check_equal(shop.count("kill"), count, "a killed import, run again")
    row = shop.row("kill")
    check_equal(int(row["pieces"]), sum(i % 9 + 1 for i in range(count)), "pieces of a killed import")


def test_pipe_output(shop):
    """In a pipe the progress is plain lines."""
    result = shop.cluster.command("import", "sales", shop.file("plainer.csv", HEADER + lines(2000, "pl")))
    check("\r" not in result.text and "\x1b" not in result.text, f"plain lines in a pipe: {result.text!r}")


CASES = (
    test_values,
    test_seventeen_digits,
    test_compressed,
    test_json_lines,
    test_options,
    test_stdin,
    test_idempotent,
    test_changed_prefix,
    test_bad_header,
    test_killed,
    test_pipe_output,
    test_dead_letters,
)


def test(directory):
    failed = []
    with Cluster(os.path.join(directory, "cluster"), CATALOG, partitions=4, workers=2) as cluster:
        for case in CASES:
            try:
                case(Shop(cluster, directory))
                say(f"{case.__name__}: good")
            except (AssertionError, KeyError, TypeError, ValueError, IndexError) as error:
                failed.append(case.__name__)
                say(f"{case.__name__}: {type(error).__name__}: {error}")
    check(not failed, f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    need_programs("anabranch")
    main(test)
