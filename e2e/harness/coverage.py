"""The table of `docs/coverage.md`: every sentence of the requirements, and the tests that hold it."""

import pathlib
import re

from .program import ROOT

TABLE = ROOT / "docs" / "coverage.md"
# How many sentences each part of the requirements has.
PARTS = {"S": 35, "E": 8, "C": 13, "M": 10, "P": 15, "X": 10, "R": 11, "A": 17, "T": 3, "N": 5}

_ROW = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \| (.*?) \| (.*?) \|$")
_TEST = re.compile(r"^def (test_((?:[a-z]\d\d_)+)\w+)", re.MULTILINE)


def sentences():
    """Every number there is."""
    return [f"{part}{number}" for part, count in PARTS.items() for number in range(1, count + 1)]


def rows():
    """The table: `{number: (names of its tests, what it still waits for)}`."""
    table = {}
    for line in TABLE.read_text().splitlines():
        if match := _ROW.match(line):
            number, _, tests, waits = match.groups()
            assert number not in table, f"{number} is there twice"
            table[number] = (set(re.findall(r"`(\w+)`", tests)), waits.strip())
    return table


def tests():
    """The tests that carry a number: `{number: names}`."""
    found = {}
    for path in sorted(pathlib.Path(__file__).parents[1].glob("test_*.py")):
        for name, numbers in _TEST.findall(path.read_text()):
            for number in numbers.strip("_").split("_"):
                found.setdefault(f"{number[0].upper()}{int(number[1:])}", set()).add(name)
    return found
