"""How sure is a score? Intervals over pictures, paired tests between rows, Holm's rule, letters.

The unit of chance is the picture, with all its objects: objects of one picture share its focus,
staining and crowding, so they are no independent draws. All seeds of a row see the same resampled
pictures, and in a test all of a picture's results are swapped together. A score is pooled anew in
every resample, never averaged over pictures; the edge-case contract of `detection` holds in each.

Taught in: 10_results
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.pooling import statistic

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES, LEVEL, ALPHA = 2000, 0.95, 0.05
LOWER_IS_BETTER = ("mae", "medae", "mpe_percent", "splits", "merges")
ADDED_UP = ("tp", "fp", "fn", "px_")  # scores of these columns need their sums over pictures only
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
    """

    pictures: list[str]
    seeds: list[int]
    columns: Mapping[str, NDArray[np.float64]]
    mpe: str

    def score(self, metric: str, picked: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
        """Mean over seeds of the pooled score, for all pictures or for resamples (B, pictures)."""
        names, function = statistic(metric, mpe=self.mpe)
        if missing := [name for name in names if name not in self.columns]:
            raise InputError(
                f"{metric}: expected column {missing[0]!r}, found {list(self.columns)}"
            )
        values = []
        for seed in range(len(self.seeds)):
            rows = [self.columns[name][seed] for name in names]
            if picked is not None:
                rows = [row[picked] for row in rows]
            values.append(function(*rows))
        return np.mean(np.asarray(values, np.float64), axis=0)


def picture_counts(
    tables: "Mapping[int, pd.DataFrame]", *, mpe: str = "released2023"
) -> PictureCounts:
    """Put the pictures of several seeds in one order, by their names.

    Parameters
    ----------
    tables : mapping of int to DataFrame
        Per-image rows by seed, as for `pooling.pooled`, with a column "image".
    mpe : str
        Name in `counting.MPE_CONVENTIONS`.
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
    return PictureCounts(pictures, list(by_seed), columns, mpe)


def interval(
    row: PictureCounts, metric: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a score over pictures.

    Where all pictures are perfect it has no width: the pictures are too easy or too few, which does
    not make the score certain.
    """
    rng = np.random.default_rng(seed)
    n = len(row.pictures)
    values = row.score(metric, rng.integers(0, n, (resamples, n)))
    low, high = np.percentile(values, [50 * (1 - LEVEL), 100 - 50 * (1 - LEVEL)])
    return float(low), float(high)


def permutations_for(rows: int) -> int:
    """Return how many permutations a comparison of all pairs of rows takes.

    The smallest p-value that N permutations can give is 2 / (N + 1). Holm's rule multiplies it by
    the number of pairs, and it must still be well below `ALPHA`, or nothing could ever differ.

    Examples
    --------
    >>> permutations_for(2), permutations_for(17)
    (4999, 43519)
    """
    pairs = rows * (rows - 1) // 2
    return max(5000, round(16 * pairs / ALPHA)) - 1


def permutation_p(
    a: PictureCounts, b: PictureCounts, metric: str, *, permutations: int, seed: int = 0
) -> float | None:
    """Two-sided p-value of the difference between two rows on the same pictures.

    If the rows did not differ, the results of a picture could be swapped. The difference of the
    pooled scores is compared with those after random swaps; the p-value is never 0. Rows that were
    scored on different pictures cannot be compared: None.

    References
    ----------
    Phipson & Smyth (2010), "Permutation p-values should never be zero", SAGMB 9:39.
    """
    if a.pictures != b.pictures:
        return None
    rng = np.random.default_rng(seed)
    n = len(a.pictures)
    swap = (rng.random((permutations, n)) < 0.5).astype(np.float64)
    found = float(a.score(metric) - b.score(metric))
    differences = _swapped(a, b, metric, swap) - _swapped(b, a, metric, swap)
    tolerance = 1e-12 * max(1.0, abs(found))
    share_high = (np.sum(differences >= found - tolerance) + 1) / (permutations + 1)
    share_low = (np.sum(differences <= found + tolerance) + 1) / (permutations + 1)
    return float(min(1.0, 2 * min(share_high, share_low)))


def _swapped(
    a: PictureCounts, b: PictureCounts, metric: str, swap: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Score of `a` with the pictures in `swap` taken from `b`, mean over the seeds of both.

    Every seed of one meets every seed of the other in turn; a row with fewer seeds is repeated.
    """
    names, function = statistic(metric, mpe=a.mpe)
    values = []
    for seed in range(np.lcm(len(a.seeds), len(b.seeds))):
        one, other = seed % len(a.seeds), seed % len(b.seeds)
        mine, theirs = ([s.columns[c][i] for c in names] for s, i in ((a, one), (b, other)))
        if all(name.startswith(ADDED_UP) for name in names):
            rows = [(m.sum() + swap @ (t - m))[:, None] for m, t in zip(mine, theirs, strict=True)]
        else:
            rows = [np.where(swap > 0, t, m) for m, t in zip(mine, theirs, strict=True)]
        values.append(function(*rows))
    return np.mean(np.asarray(values, np.float64), axis=0)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values of several tests by Holm's step-down rule; same order as given.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may be smaller than one
    before it, or exceed 1. Rejecting where the result is <= 0.05 keeps the chance of any false
    rejection at 0.05, whatever the dependence between the tests. (SciPy has
    `false_discovery_control`, which controls the expected share of false rejections instead.)

    References
    ----------
    Holm (1979), "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6:65.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError(f"p_values: expected a list of numbers in [0, 1], found {p_values!r}")
    order = np.argsort(p, kind="stable")
    stepped = p[order] * np.arange(p.size, 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def row_letters(rows: Sequence[PictureCounts], metric: str) -> list[str]:
    """Test every pair of rows, correct by Holm's rule, and give the rows `letters`.

    No row has a letter where there is nothing to compare: one row, or different pictures.
    """
    pairs = list(combinations(range(len(rows)), 2))
    many = permutations_for(len(rows))
    found = [permutation_p(rows[i], rows[j], metric, permutations=many) for i, j in pairs]
    p = [value for value in found if value is not None]
    if not pairs or len(p) < len(pairs):
        return [""] * len(rows)
    same = np.ones((len(rows), len(rows)), bool)
    for (i, j), adjusted in zip(pairs, holm(p), strict=True):
        same[i, j] = same[j, i] = adjusted > ALPHA
    means = [float(row.score(metric)) for row in rows]
    return letters(means, same, higher=metric not in LOWER_IS_BETTER)


def letters(means: Sequence[float], same: NDArray[np.bool_], *, higher: bool = True) -> list[str]:
    """Give rows letters: two rows that share one do not differ significantly.

    The insert-and-absorb algorithm of Piepho (2004); the best row gets an "a".

    Examples
    --------
    >>> same = np.array([[True, True, False], [True, True, True], [False, True, True]])
    >>> letters([0.9, 0.8, 0.7], same)
    ['a', 'ab', 'b']
    """
    n = len(means)
    order = sorted(range(n), key=lambda i: -means[i] if higher else means[i])
    columns: list[set[int]] = [set(range(n))]
    for i, j in combinations(range(n), 2):
        if same[i, j]:
            continue
        split = [c for c in columns if i in c and j in c]
        columns = [c for c in columns if c not in split]
        for column in split:
            columns += [column - {i}, column - {j}]
        columns = [
            c
            for k, c in enumerate(columns)
            if not any(c < d or (c == d and k > m) for m, d in enumerate(columns))
        ]
    columns.sort(key=lambda c: sorted(order.index(i) for i in c))
    names = [_letter(k) for k in range(len(columns))]
    return ["".join(names[k] for k, c in enumerate(columns) if i in c) for i in range(n)]


def _letter(index: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[index] if index < 26 else alphabet[index // 26 - 1] + alphabet[index % 26]
