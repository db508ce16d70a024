"""Numbers that prose quotes from committed results, by their address.

A number of a chapter or page is a Markdown link. Its text is the number, its address the place::

    [0.33](result:losses/dice/f1_iou)            the mean over the runs of a row
    [0.35](result:losses/dice/f1_iou/seed0)      the run with seed 0; or sd, min, max
    [0.69](result:losses@gpu/dice/f1_iou)        of a profile; else of the one that `table` takes
    [0.735](published:losses/dice/f1_iou)        as published, beside the row
    [7.78](result:calibration.csv/cells-per-image-mean/simulated)

A row is named by its label in small letters, with a hyphen for everything but letters and digits.
``tools/quoted_numbers.py`` checks and types the numbers; in the book they lead to their runs.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cellcount_lib.errors import DataError, unknown_name
from cellcount_lib.tables.committed import Committed, results_folder, table

SCHEMES = ("result:", "published:")
LINK = re.compile(r"\[(-?\d[\d,]*(?:\.\d+)?%?)\]\(((?:result|published):[^\s()]+)\)")


@dataclass(frozen=True)
class Quoted:
    """A quoted value, and the runs that it is made of: none if nothing was run for it."""

    value: float
    profile: str
    runs: tuple[str, ...] = ()

    def typed_like(self, text: str) -> str:
        """Return the value with as many decimals as `text`, as a percentage if it is one.

        Examples
        --------
        >>> quoted = Quoted(0.34567, "laptop")
        >>> quoted.typed_like("0.3"), quoted.typed_like("9.9%")
        ('0.3', '34.6%')
        """
        percent = text.endswith("%")
        number = text.removesuffix("%")
        decimals = len(number.partition(".")[2])
        comma = "," if "," in number else ""
        typed = f"{self.value * (100 if percent else 1):z{comma}.{decimals}f}"
        return typed + ("%" if percent else "")


def slug(label: str) -> str:
    """Return the name of a row in an address.

    Examples
    --------
    >>> slug("BCE, low (w_cell=50)")
    'bce-low-w-cell-50'
    """
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def resolve(address: str, results: Path | None = None) -> Quoted:
    """Return the value at an address, in a folder of committed results."""
    scheme, _, place = address.partition(":")
    name, *parts = place.split("/")
    if f"{scheme}:" not in SCHEMES or not 2 <= len(parts) <= 3:
        raise DataError(
            f"{address}: expected result:TABLE/ROW/SCORE, result:TABLE/ROW/SCORE/STATISTIC or "
            "published:TABLE/ROW/SCORE"
        )
    folder = results or results_folder()
    if name.endswith(".csv"):
        return Quoted(_in_file(folder / name, *parts), profile="")
    name, _, profile = name.partition("@")
    made = _table(folder, name, profile or None)
    row, score, statistic = (*parts, "mean")[:3]
    if scheme == "published":
        label = _known("published row", row, made.published.index)
        known = made.plan["published"][label]
        return Quoted(float(known[_known("published score", score, known)]), made.profile)
    runs = made.results.runs
    mine = runs[(runs["label"] == _known("row", row, runs["label"])) & (runs["status"] != "failed")]
    values = mine[_known("score", score, runs.select_dtypes("number").columns)].astype(float)
    if statistic.startswith("seed"):
        of_seed = mine["seed"].astype(str) == statistic.removeprefix("seed")
        if of_seed.sum() != 1:
            seeds = ", ".join(f"seed{seed}" for seed in mine["seed"])
            raise DataError(f"{address}: expected one of {seeds}, found {statistic}")
        mine, values, statistic = mine[of_seed], values[of_seed], "mean"
    among = {"mean": "mean", "sd": "std", "min": "min", "max": "max"}
    value = float(values.agg(among[_known("statistic", statistic, among)]))
    return Quoted(value, made.profile, tuple(mine["run"]))


@cache
def _table(folder: Path, name: str, profile: str | None) -> Committed:
    return table(name, profile, folder)


def _in_file(path: Path, row: str, column: str) -> float:
    if not path.exists():
        raise DataError(f"{path}: expected a file of results there")
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    rows = {next(iter(cells.values())): cells for cells in csv.DictReader(lines)}
    cells = rows[_known(f"row of {path.name}", row, rows)]
    return float(cells[_known(f"column of {path.name}", column, cells)])


def _known(kind: str, wanted: str, labels: Iterable[str]) -> str:
    """Return the one label that an address means."""
    by_slug = {slug(label): label for label in labels}
    if slug(wanted) not in by_slug:
        raise unknown_name(kind, wanted, sorted(by_slug))
    return by_slug[slug(wanted)]
