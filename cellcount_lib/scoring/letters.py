"""Which rows of a table differ: all pairs compared, Holm's rule, letters.

Taught in: 10_results
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.stats import SIGNED, PictureCounts, better, estimate, resampled

ALPHA = 0.05
SEEDS_FOR_LETTERS = 5


def letters(rows: Sequence[PictureCounts], metric: str) -> list[str]:
    """Compare every pair of rows, correct by Holm's rule, and mark those that share a group.

    A design with fewer than five trainings has no letter, and is in no comparison. No row has one
    where fewer than two can be compared, none of them is trained, or pictures differ; nor for an
    error with a sign, of which two may be equally wrong and differ.
    """
    marked = [i for i, row in enumerate(rows) if row.enough(SEEDS_FOR_LETTERS)]
    marks = [""] * len(rows)
    alike = len({tuple(rows[i].pictures) for i in marked}) == 1
    if metric == SIGNED or len(marked) < 2 or not alike or not any(rows[i].trained for i in marked):
        return marks
    scores = [resampled(rows[i], metric) for i in marked]
    pairs = list(combinations(range(len(marked)), 2))
    same = np.ones((len(marked), len(marked)), bool)
    adjusted = holm([estimate(scores[i], scores[j]).p() for i, j in pairs])
    for (i, j), p in zip(pairs, adjusted, strict=True):
        same[i, j] = same[j, i] = p > ALPHA
    means = [float(better(metric, score.whole).mean()) for score in scores]
    for i, mark in zip(marked, letter_groups(means, same), strict=True):
        marks[i] = mark
    return marks


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


def letter_groups(means: Sequence[float], same: NDArray[np.bool_]) -> list[str]:
    """Give rows letters: two rows that share one do not differ significantly.

    The insert-and-absorb algorithm of Piepho (2004); the row with the highest mean gets an "a".

    Examples
    --------
    >>> same = np.array([[True, True, False], [True, True, True], [False, True, True]])
    >>> letter_groups([0.9, 0.8, 0.7], same)
    ['a', 'ab', 'b']
    """
    n = len(means)
    order = sorted(range(n), key=lambda i: -means[i])
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
