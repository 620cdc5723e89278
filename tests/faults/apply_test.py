#!/usr/bin/env python3
"""apply_test: definitions change while questions come: the old one answers until the new one is whole.

A definition that comes back, a view that is dropped and made anew under its old name, and measures that only one of two
definitions has. After every change all jobs have to publish.
"""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import Cluster, check, check_equal, main, need_programs, say, wait_until, write_file  # noqa: E402

STREAM = """CREATE STREAM s (k TEXT NOT NULL, v BIGINT, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k));
CREATE VIEW kept AS SELECT k, count(*) AS n FROM s GROUP BY k;
"""
BY_K = "CREATE VIEW moving AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k;\n"
BY_V = "CREATE VIEW moving AS SELECT v, count(*) AS n, max(v) AS largest FROM s GROUP BY v;\n"
ANEW = "CREATE VIEW moving AS SELECT k, count(*) AS n, min(v) AS smallest FROM s GROUP BY k;\n"
ROWS = 5000


class Changing:
    """A cluster whose catalog changes."""

    def __init__(self, cluster, directory):
        self.cluster, self.path = cluster, os.path.join(directory, "next.sql")

    def apply(self, view):
        self.cluster.command("apply", write_file(self.path, STREAM + view))

    def jobs(self):
        listed = json.loads(self.cluster.command("job", "list", "--json").out)
        return listed if isinstance(listed, list) else listed["jobs"]

    def settle(self):
        wait_until(lambda: all(job["state"] in ("done", "failed") for job in self.jobs()), "no job is left")
        check(all(job["state"] == "done" for job in self.jobs()), f"every job publishes: {self.jobs()}")

    def ask(self, what, view="moving"):
        """An answer, or None where the definition in force has no such measure."""
        result = self.cluster.command("query", f"SELECT {what} FROM {view}", "--format", "csv", expect=None)
        is_known = result.code == 0 or "expected a key or a measure" not in result.err
        check(result.code == 0 or not is_known, f"a question about {what} is answered: {result}")
        return int(result.out.split()[1]) if result.code == 0 else None


def definitions_come_back(changing):
    there, back = (BY_V, "total", "largest"), (BY_K, "largest", "total")
    for view, old, new in (there, back, there, back):
        changing.apply(view)
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            for name in ("moving", "kept"):
                check_equal(changing.ask("n", name), ROWS, f"{name} while its definition changes")
            # One of the two definitions answers, at any time; the second question settles a change between the others.
            answers = (changing.ask(measure) for measure in (old, new, old, new))
            check(any(answer is not None for answer in answers), "a measure of either definition is known")
    changing.settle()
    say("definitions that come back are answered at any time")


def view_is_made_anew(changing):
    changing.apply(BY_V)
    changing.settle()
    changing.apply("")
    changing.apply(ANEW)
    changing.settle()
    check_equal(changing.ask("smallest"), 0, "a measure of the view made anew")
    check_equal(changing.ask("n"), ROWS, "rows of the view made anew")
    check(changing.cluster.recompute()["state"] == "done", "later jobs publish")
    check_equal(changing.ask("n"), ROWS, "rows after one more job")
    say("a view made anew under its old name is published")


def test(directory):
    rows = "".join(f"k{i % 70},{i % 9},2024-01-01 {i % 24:02}:00:00\n" for i in range(ROWS))
    path = write_file(os.path.join(directory, "rows.csv"), "k,v,t\n" + rows)
    with Cluster(os.path.join(directory, "cluster"), STREAM + BY_K, partitions=3, workers=2) as cluster:
        changing = Changing(cluster, directory)
        cluster.load("s", path)
        cluster.recompute()
        definitions_come_back(changing)
        view_is_made_anew(changing)


if __name__ == "__main__":
    need_programs("anabranch", "anabranch-batch")
    main(test)
