"""Findings: of two rows of a table, which scores better, and how sure is that?

A claim names two rows and a score. (`fold ?` names all rows that fit, as one: every picture of a
cross-validation, scored by the network that has not seen it.) Its evidence is what the committed
results say of it, at the longest training that both rows have often enough. There are three
strengths:

- *Shown*: the difference of the designs is not zero, its p-value corrected by Holm's rule for all
  claims that are looked at together.
- *Seen*: too few trainings for that, but each of one row scores better than each of the other, and
  so would these trainings on other pictures.
- *Open*: neither. Then it is said how many trainings would decide, if the difference is as large as
  it seems.

Where the rows are the other way round than claimed, the strength begins with *against*.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from cellcount_lib.data.datasets import is_simulated
from cellcount_lib.errors import DataError, InputError, unknown_name
from cellcount_lib.runs.grid import Grid, Row
from cellcount_lib.scoring.letters import ALPHA, holm
from cellcount_lib.scoring.stats import (
    SEEDS_FOR_INTERVAL,
    SIGNED,
    Difference,
    PictureCounts,
    better,
    difference,
    estimate,
    resampled,
    trainings_to_decide,
)
from cellcount_lib.tables.collect import Results, read_results
from cellcount_lib.tables.committed import SCALES
from cellcount_lib.tables.compare import row_counts
from cellcount_lib.tables.write import plans

SHOWN, SEEN, OPEN, AGAINST = "shown", "seen", "open", "against: "
Scores = Mapping[str, float]
"""Mean scores by row."""


@dataclass(frozen=True)
class Claim:
    """That a row of a table scores better than another one."""

    table: str
    score: str
    row: str
    than: str

    def __post_init__(self) -> None:
        if self.score == SIGNED:
            raise InputError(
                f"{self.table}: {self.row}: expected a score of which more or less is better; "
                f"{SIGNED} has a sign, take mae"
            )


def of_several(label: str) -> bool:
    """Whether a label stands for all rows that fit it, as `fold ?` does."""
    return "?" in label


@dataclass(frozen=True, eq=False)
class Evidence:
    """What committed results say of a claim."""

    claim: Claim
    profile: str
    title: str  # of the score
    simulated: bool
    row: PictureCounts
    than: PictureCounts
    difference: Difference | None  # None with too few trainings, or of different pictures
    strength: str
    trainings: int | None  # that would decide what is open; None if more pictures are needed
    published: float | None  # the published difference
    parts: tuple[Scores, Scores]  # of every row that `row` and `than` stand for

    @property
    def values(self) -> tuple[float, float]:
        """The mean scores of both rows."""
        one, other = (row.scores(self.claim.score).mean() for row in (self.row, self.than))
        return float(one), float(other)


@dataclass(frozen=True, eq=False)
class Tabled:
    """A committed table and the grid that it was made of."""

    profile: str
    grid: Grid
    folder: Path

    @cached_property
    def results(self) -> Results:
        """Its rows, read when they are asked for."""
        return read_results(self.folder, self.grid.name)

    def rows(self, label: str) -> list[Row]:
        """Return the row of the grid, or all rows that fit a label of several."""
        rows = {row.label: row for row in self.grid.rows}
        names = [n for n in rows if fnmatchcase(n, label)] if of_several(label) else [label]
        fit = [rows[name] for name in names if name in rows]
        if not fit:
            raise unknown_name(f"row of {self.grid.name}", label, rows)
        return fit

    def scores(self, label: str, score: str) -> Scores:
        """Return the mean score of the row, or of each of several."""
        counts = ((row.label, self.counts(row.label)) for row in self.rows(label))
        return {name: float(one.scores(score).mean()) for name, one in counts if one is not None}

    def counts(self, label: str) -> PictureCounts | None:
        """Return what the runs of a row counted, or those of several together; None if none."""
        runs, rows = self.results.runs, self.rows(label)
        mine = runs[runs["label"].isin({row.label for row in rows})]
        trained = rows[0].trained
        return row_counts(mine, self.results.images, trained=trained) if len(mine) else None


def tabled(results: Path) -> list[Tabled]:
    """Return all tables in a folder of results, the longest trainings first."""
    every = [Tabled(folder.name, grid, folder) for folder, _, grid in plans(None, results)]
    return sorted(every, key=lambda table: (*SCALES, table.profile).index(table.profile))


def evidence(claims: Sequence[Claim], tables: Iterable[Tabled]) -> list[Evidence]:
    """Return the evidence for claims that are looked at together."""
    tables = list(tables)
    pairs = [_rows(claim, tables) for claim in claims]
    less = [difference(row, than, c.score) for c, (_, row, than) in zip(claims, pairs, strict=True)]
    corrected = iter(holm([d.p for d in less if d is not None]))
    made = []
    for claim, (table, row, than), apart in zip(claims, pairs, less, strict=True):
        strength = _strength(claim, row, than, None if apart is None else float(next(corrected)))
        datasets, decide = table.results.runs["dataset"], None
        if strength.endswith(OPEN) and apart is not None:
            decide = trainings_to_decide(row, than, claim.score)
        made.append(
            Evidence(
                claim=claim,
                profile=table.profile,
                title=table.grid.columns.get(claim.score, claim.score),
                simulated=all(map(is_simulated, set(datasets))),
                row=row,
                than=than,
                difference=apart,
                strength=strength,
                trainings=decide,
                published=_published(claim, table),
                parts=(
                    table.scores(claim.row, claim.score),
                    table.scores(claim.than, claim.score),
                ),
            )
        )
    return made


def _published(claim: Claim, table: Tabled) -> float | None:
    row, than = (
        None if of_several(label) else table.rows(label)[0].published.get(claim.score)
        for label in (claim.row, claim.than)
    )
    return None if row is None or than is None else row - than


def _rows(claim: Claim, tables: Sequence[Tabled]) -> tuple[Tabled, PictureCounts, PictureCounts]:
    """Find both rows, at the longest training with an interval; without one, at the longest."""
    mine = [table for table in tables if table.grid.name == claim.table]
    if not mine:
        raise unknown_name("table", claim.table, {table.grid.name for table in tables})
    pairs = [(table, table.counts(claim.row), table.counts(claim.than)) for table in mine]
    there = [(t, row, than) for t, row, than in pairs if row is not None and than is not None]
    if not there:
        raise DataError(
            f"{claim.table}: expected runs of {claim.row!r} and {claim.than!r} in one table; "
            "take rows that have been run, or run them"
        )
    sure = [found for found in there if all(r.enough(SEEDS_FOR_INTERVAL) for r in found[1:])]
    return (sure or there)[0]


def _strength(claim: Claim, row: PictureCounts, than: PictureCounts, p: float | None) -> str:
    one, other = (better(claim.score, r.scores(claim.score)) for r in (row, than))
    which = "" if one.mean() >= other.mean() else AGAINST
    if p is not None:
        return (which + SHOWN) if p <= ALPHA else OPEN
    twice = all(len(r.seeds) > 1 for r in (row, than) if r.trained)
    apart = min(one) > max(other) or min(other) > max(one)
    if not twice or not apart or row.pictures != than.pictures or len(row.pictures) < 2:
        return OPEN
    as_they_are = (resampled(replace(r, trained=False), claim.score) for r in (row, than))
    return (which + SEEN) if estimate(*as_they_are).p() <= ALPHA else OPEN
