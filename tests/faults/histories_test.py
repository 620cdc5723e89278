#!/usr/bin/env python3
"""histories_test: the checker of histories finds what is wrong with one, and nothing wrong with one that is right."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import Failure, check, say  # noqa: E402
from histories import Histories, amount  # noqa: E402


def total(numbers):
    return sum(map(amount, numbers))


def history():
    """Ten rows acknowledged at 20, ten more sent at 30 of which six are acknowledged at 50, and the rest unknown."""
    histories = Histories()
    histories.sent("w", 10, 0, 10)
    histories.told("w", 20, 0, 10, 10, 0)
    histories.sent("w", 30, 10, 10)
    histories.told("w", 50, 10, 10, 6, 4)
    return histories


def items(numbers):
    return {f"w-{number}": (1, amount(number)) for number in numbers}


def refused(what, reads=(), found=None, reason=""):
    histories = history()
    try:
        for read in reads:
            histories.read(*read)
        histories.check()
        if found is not None:
            histories.check_items(found)
    except Failure as failure:
        check(reason in str(failure), f"why {what} is wrong: {failure}")
        say(f"{what}: found")
        return
    raise Failure(f"{what} is not found")


def test():
    right = history()
    right.read("r", 0, 9, {})
    right.read("r", 12, 15, {"w": (3, total(range(3)))})
    right.read("r", 21, 31, {"w": (12, total(range(12)))})
    right.read("other", 21, 31, {"w": (10, total(range(10)))})
    right.read("r", 60, 70, {"w": (16, total(range(16)))})
    check(right.check() == 5, "five answers are right")
    right.check_items(items(range(16)))
    right.check_items(items(range(20)))
    everything = {"w": (10, total(range(10)))}
    refused("a lost row", [("r", 21, 22, {"w": (9, total(range(9)))})], reason="acknowledged before: 10")
    refused("a writer that is missing", [("r", 21, 22, {})], reason="acknowledged before: 10")
    refused("a row twice", [("r", 21, 22, {"w": (11, total(range(10)) + 1)})], reason="sent until then: 10")
    refused("a wrong sum", [("r", 21, 22, {"w": (10, total(range(10)) + 1)})], reason="sum")
    refused("a row before it is sent", [("r", 1, 9, everything)], reason="sent until then: 0")
    refused("a stranger", [("r", 1, 9, {"x": (1, 1)})], reason="has not written")
    backwards = [("r", 12, 40, everything), ("r", 13, 40, {"w": (9, total(range(9)))})]
    refused("an answer that goes back", backwards, reason="fell")
    refused("a lost item", found=items(range(1, 20)), reason="9 count")
    refused("a lost item among unknown ones", found=items(range(15)), reason="6 were acknowledged")
    refused("an item twice", found={**items(range(20)), "w-3": (2, 2 * amount(3))}, reason="w-3 counts 2 times")
    refused("an item of another amount", found={**items(range(20)), "w-3": (1, 1)}, reason="w-3 has the amount")
    refused("an item of nobody", found=items(range(21)), reason="w-20 was never sent")


if __name__ == "__main__":
    test()
