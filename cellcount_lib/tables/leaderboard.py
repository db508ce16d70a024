"""Leaderboards: the rows of all tables by what they were scored on, the best first.

Only scores under one protocol, on the same test pictures, can be ranked. So there is a board for
each protocol and dataset, and it holds what was scored on the pictures of its newest run: earlier
versions of the simulator drew others. A run that several tables show stands in a board once.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from cellcount_lib.scoring.stats import PictureCounts, interval
from cellcount_lib.tables.findings import Tabled

SCORE = "f1"  # by the first rule of a protocol
CONTROLS = ("oracle", "predict-zero", "predict-mean")  # they show the ends of a scale


class Board(NamedTuple):
    """What scores must share to be ranked."""

    dataset: str
    protocol: str


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of a table, with what its runs counted."""

    table: str
    profile: str
    label: str
    method: str | None  # None for a training
    counts: PictureCounts

    @property
    def score(self) -> float:
        """The mean over its trainings."""
        return float(self.counts.scores(SCORE).mean())

    @property
    def interval(self) -> tuple[float, float] | None:
        """That of the design; None with too few trainings."""
        return interval(self.counts, SCORE)


def leaderboards(tables: Iterable[Tabled]) -> dict[Board, list[Entry]]:
    """Return every board with its rows, the best first; rows of the same runs only once."""
    tables = list(tables)
    runs = pd.concat([table.results.runs for table in tables])
    newest = runs.sort_values("finished").groupby("dataset")["data"].last()
    boards: dict[Board, list[Entry]] = {}
    seen: set[tuple[str, ...]] = set()
    for table in tables:
        runs = table.results.runs
        for row in table.grid.rows:
            mine, counts = runs[runs["label"] == row.label], table.counts(row.label)
            key = tuple(sorted(mine["run"]))
            earlier = (mine["data"] != newest[mine["dataset"]].array).any()
            if counts is None or key in seen or earlier:
                continue
            seen.add(key)
            # how many patches a network was trained on says nothing about those of the test
            dataset = re.sub(r"^patches:\d+:", "patches:", str(mine["dataset"].iloc[0]))
            board = Board(dataset, str(mine["protocol"].iloc[0]))
            method = None if row.trained else str(row.runs[0].parameters["method"])
            entry = Entry(table.grid.name, table.profile, row.label, method, counts)
            boards.setdefault(board, []).append(entry)
    return {board: sorted(rows, key=lambda e: -e.score) for board, rows in boards.items()}
