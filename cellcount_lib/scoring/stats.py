"""How sure is a score? Intervals, differences, the probability of improvement.

A row of a table is a *design*. Its score would change with other trainings of it (seeds) and with
other test pictures; a picture is one draw with all its objects, which share its focus, staining and
crowding. Both levels are resampled, crossed, since all seeds see the same pictures:

- Trainings. Drawing n - 1 of n seeds with replacement has the variance s^2 / n, where s^2 is that
  between the seeds' scores. (Drawing n of n has n - 1 parts in n of it: a fifth too little at five
  seeds.) That is exact, so the seeds need not be drawn; a test draws them.
- Pictures. They are drawn, n - 1 of n as well, the same for all seeds and rows, and every seed's
  score is pooled anew. What the draws do to all seeds alike counts. What they do to one seed and
  not to another is in s^2 already; drawn at both levels it would count three times (Owen 2007).

The two variances add up to a standard error with Satterthwaite's degrees of freedom, and Student's
t makes an interval or a p-value of it: with five seeds, 1.96 standard errors would be too few. Rows
of the same seeds are compared seed by seed. A method without training varies over pictures only.
`benchmarks/coverage.py` measures how often the intervals hold the truth.

Taught in: 10_results

References
----------
McCarthy & Snowden (1985), "The bootstrap and finite population sampling", NCHS series 2, no. 95.
Owen (2007), "The pigeonhole bootstrap", Ann. Appl. Stat. 1:386.
Satterthwaite (1946), "An approximate distribution of estimates of variance components",
Biometrics Bulletin 2:110.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.pooling import statistic

RESAMPLES, LEVEL = 2000, 0.95
SEEDS_FOR_INTERVAL = 3
SIGNED = "mpe_percent"  # better is nearer to 0: a difference of two does not say which
LOWER_IS_BETTER = ("mae", "medae", "splits", "merges")
NO_SHARES = (*LOWER_IS_BETTER, SIGNED, "r2", "px_mcc")  # all other scores go from 0 to 1
ADDED_UP = ("tp", "fp", "fn", "px_")  # scores of these columns need their sums over pictures only
ROUNDING = 1e-12  # of sums of scores: nothing below it is a difference
NO_COUNTS = ("run", "image", "status", "cutoff")


@dataclass(frozen=True, eq=False)
class PictureCounts:
    """What the runs of one row counted: an array (seeds, pictures) for every column of a score.

    Attributes
    ----------
    pictures : list of str
    seeds : list of int
    columns : mapping of str to ndarray
    mpe : str
        Name in `counting.MPE_CONVENTIONS`.
    trained : bool
        False for a method that no seed changes: its one run is all there is to know of it.
    """

    pictures: list[str]
    seeds: list[int]
    columns: Mapping[str, NDArray[np.float64]]
    mpe: str
    trained: bool = True

    def scores(self, metric: str, *, resamples: int = 0, seed: int = 0) -> NDArray[np.float64]:
        """Pooled score of every seed, or (resamples, seeds) of them, on pictures that are drawn."""
        names, function = statistic(metric, mpe=self.mpe)
        if missing := [name for name in names if name not in self.columns]:
            raise InputError(
                f"{metric}: expected column {missing[0]!r}, found {list(self.columns)}"
            )
        columns = [self.columns[name] for name in names]
        if not resamples:
            return np.asarray(function(*columns), np.float64)
        picked, times = _draws(len(self.pictures), resamples, seed)
        if all(name.startswith(ADDED_UP) for name in names):
            return np.asarray(function(*((times @ c.T)[..., None] for c in columns)), np.float64)
        drawn = [function(*(c[i][picked] for c in columns)) for i in range(len(self.seeds))]
        return np.stack(drawn, axis=-1)

    def enough(self, seeds: int) -> bool:
        """Whether there are so many trainings, and pictures that can differ."""
        return len(self.pictures) > 1 and (not self.trained or len(self.seeds) >= seeds)


@lru_cache(maxsize=4)
def _draws(n: int, resamples: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Draw n - 1 of n pictures so many times: their numbers, and how often each was drawn."""
    picked = np.random.default_rng(seed).integers(0, n, (resamples, n - 1))
    times = np.stack([np.bincount(row, minlength=n) for row in picked]).astype(np.float64)
    return picked, times


def picture_counts(
    tables: Mapping[int, pd.DataFrame], *, mpe: str = "released2023", trained: bool = True
) -> PictureCounts:
    """Put the pictures of several seeds in one order, by their names.

    Parameters
    ----------
    tables : mapping of int to DataFrame
        Per-image rows by seed, as for `pooling.pooled`, with a column "image".
    mpe : str
        Name in `counting.MPE_CONVENTIONS`.
    trained : bool
    """
    by_seed = {seed: table.set_index("image") for seed, table in tables.items()}
    first = next(iter(by_seed.values()))
    pictures = sorted(first.index)
    if len(set(pictures)) != len(pictures):
        twice = next(name for name in pictures if pictures.count(name) > 1)
        raise InputError(f"expected every picture once, found {twice!r} repeatedly")
    for seed, table in by_seed.items():
        if sorted(table.index) != pictures:
            raise InputError(f"seed {seed} was scored on different pictures than the first")
    columns = {
        str(c): np.array([t.loc[pictures, c].to_numpy(np.float64) for t in by_seed.values()])
        for c in first.columns
        if c not in NO_COUNTS
    }
    return PictureCounts(pictures, list(by_seed), columns, mpe, trained)


class Resampled(NamedTuple):
    """Scores of a row's seeds on all pictures (seeds,) and on drawn ones (resamples, seeds)."""

    whole: NDArray[np.float64]
    drawn: NDArray[np.float64]
    row: PictureCounts


class Estimate(NamedTuple):
    """A score or a difference of two, its standard error and the degrees of freedom of that."""

    value: float
    error: float
    freedom: float

    def reach(self) -> float:
        """How far the interval goes from the value to either side."""
        from scipy.special import stdtrit

        return float(self.error * stdtrit(self.freedom, (1 + LEVEL) / 2))

    def p(self) -> float:
        """Two-sided p-value of the value 0."""
        from scipy.special import stdtr

        if self.error == 0:
            return float(abs(self.value) < ROUNDING)
        return float(2 * stdtr(self.freedom, -abs(self.value) / self.error))


class Difference(NamedTuple):
    """By how much one row's score exceeds another's, with interval and two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


class Probability(NamedTuple):
    """A probability with its interval."""

    value: float
    low: float
    high: float


def interval(
    row: PictureCounts, metric: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Return the interval of a design's score; None with fewer than three trainings.

    That of a share is taken on its log-odds and lies between 0 and 1. Where pictures and trainings
    all score the same it has no width: they are too easy or too few, which does not make the score
    certain.
    """
    from scipy.special import expit, logit

    if not row.enough(SEEDS_FOR_INTERVAL):
        return None
    score = estimate(resampled(row, metric, resamples=resamples, seed=seed))
    value, reach = score.value, score.reach()
    if metric in NO_SHARES:
        return value - reach, value + reach
    if not 0 < value < 1:
        return max(value - reach, 0.0), min(value + reach, 1.0)
    reach /= value * (1 - value)
    return float(expit(logit(value) - reach)), float(expit(logit(value) + reach))


def difference(
    a: PictureCounts, b: PictureCounts, metric: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference | None:
    """Return the score of `a` less that of `b`.

    None with fewer than three trainings of either, or where the pictures are not the same.
    """
    if a.pictures != b.pictures or not all(row.enough(SEEDS_FOR_INTERVAL) for row in (a, b)):
        return None
    less = estimate(*(resampled(row, metric, resamples=resamples, seed=seed) for row in (a, b)))
    return Difference(less.value, less.value - less.reach(), less.value + less.reach(), less.p())


def resampled(
    row: PictureCounts, metric: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> Resampled:
    """Score a row on its pictures and on draws of them."""
    drawn = row.scores(metric, resamples=resamples, seed=seed)
    return Resampled(row.scores(metric), drawn, row)


def estimate(one: Resampled, other: Resampled | None = None) -> Estimate:
    """Estimate a score, or that of `one` less that of `other`, which saw the same draws."""
    added = [(one.whole, one.drawn, one.row.trained)]
    if other and one.row.trained and other.row.trained and one.row.seeds == other.row.seeds:
        added = [(one.whole - other.whole, one.drawn - other.drawn, True)]
    elif other:
        added.append((-other.whole, -other.drawn, other.row.trained))
    value = float(sum(whole.mean() for whole, _, _ in added))
    alike = np.sum([drawn.mean(axis=1) for _, drawn, _ in added], axis=0).var(ddof=1)
    parts = []  # a variance, and its degrees of freedom
    for whole, drawn, trained in added:
        if trained:
            parts.append((whole.var(ddof=1) / len(whole), len(whole) - 1))
            apart = drawn - drawn.mean(axis=1, keepdims=True)
            alike -= apart.var(axis=0, ddof=1).mean() / (len(whole) - 1)
    parts.append((max(alike, 0.0), len(one.row.pictures) - 1))
    variance = sum(part for part, _ in parts)
    if variance < ROUNDING**2:  # nothing varies but the last digits of sums
        return Estimate(value, 0.0, 1.0)
    freedom = variance**2 / sum(part**2 / free for part, free in parts)
    return Estimate(value, float(np.sqrt(variance)), float(freedom))


def trainings_to_decide(
    a: PictureCounts, b: PictureCounts, metric: str, *, power: float = 0.8, most: int = 100
) -> int | None:
    """Return how many trainings of each row would show a difference as large as the one found.

    So many that it would be found at the level of the intervals with probability `power`. The
    spreads are those measured, which a few trainings know badly. None if `most` do not suffice,
    because the pictures are too few, or if nothing varies.

    References
    ----------
    Cohen (1988), "Statistical power analysis for the behavioral sciences", chapter 2.
    """
    from scipy.special import stdtrit

    found = [resampled(row, metric) for row in (a, b)]
    less = estimate(*found)
    if less.error == 0:  # nothing varies
        return None
    (one, n), (other, m) = ((f.whole, len(f.whole)) for f in found)
    if a.trained and b.trained and a.seeds == b.seeds:
        spreads, of_seeds = [(one - other).var(ddof=1)], (one - other).var(ddof=1) / n
    else:
        parts = [(w.var(ddof=1), k) for w, k, row in ((one, n, a), (other, m, b)) if row.trained]
        spreads, of_seeds = [v for v, _ in parts], sum(v / k for v, k in parts)
    of_pictures = max(less.error**2 - of_seeds, 0.0)
    for trainings in range(2, most + 1):
        free = [(v / trainings, trainings - 1) for v in spreads]
        free.append((of_pictures, len(a.pictures) - 1))
        variance = sum(v for v, _ in free)
        freedom = variance**2 / sum(v**2 / f for v, f in free)
        reach = stdtrit(freedom, (1 + LEVEL) / 2) + stdtrit(freedom, power)
        if abs(less.value) >= reach * np.sqrt(variance):
            return trainings
    return None


def probability_of_improvement(a: PictureCounts, b: PictureCounts, metric: str) -> Probability:
    """Probability that a training of `a` scores better than one of `b`, on these pictures.

    Every training of one is compared with every one of the other; ties count half. The interval
    holds the probabilities from which the one found is at most 1.96 of *their* standard errors
    away, so it has a width even where all pairs agree. Methods without training have none.

    References
    ----------
    Agarwal et al. (2021), "Deep RL at the edge of the statistical precipice", NeurIPS (`rliable`).
    Newcombe (2006), "Confidence intervals for an effect size measure", Stat. Med. 25:559, method 5.
    """
    one, other = (better(metric, row.scores(metric)) for row in (a, b))
    value = float(np.sign(one[:, None] - other).mean() + 1) / 2
    m, n = len(one), len(other)
    p = np.linspace(0, 1, 2001)
    if a.trained and b.trained:
        variance = p * (1 - p) * (1 + ((m + n) / 2 - 1) * ((1 - p) / (2 - p) + p / (1 + p)))
    else:  # the score of one is known: a share of the other's trainings
        variance = p * (1 - p) * min(m, n) * (a.trained or b.trained)
    likely = p[(p - value) ** 2 <= 1.96**2 * variance / (m * n)]
    return Probability(value, float(min(value, *likely)), float(max(value, *likely)))


def better(metric: str, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers of which the higher is the better."""
    if metric == SIGNED:
        return -np.abs(scores)
    return -scores if metric in LOWER_IS_BETTER else scores
