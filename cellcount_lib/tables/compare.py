"""Means, intervals and tests of a grid's rows; seeds are averaged, pictures are resampled.

The unit of chance is the picture: all seeds of a row see the same resampled pictures, and in a test
all of a picture's results are swapped together. Differences between seeds are shown as a standard
deviation beside the mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.pooling import statistic
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.scoring.stats import holm

if TYPE_CHECKING:
    import pandas as pd

    from cellcount_lib.tables.collect import Results

RESAMPLES, LEVEL, ALPHA = 2000, 0.95, 0.05
ADDED_UP = ("tp", "fp", "fn", "px_")  # scores of these columns need their sums over pictures only


@dataclass(frozen=True, eq=False)
class Sample:
    """Per-picture counts of a row: an array (seeds, pictures) for every column of a score."""

    pictures: list[str]
    seeds: list[int]
    columns: Mapping[str, NDArray[np.float64]]
    mpe: str

    def score(self, metric: str, picked: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
        """Mean over seeds of the pooled score, for all pictures or for resamples (B, pictures)."""
        names, function = statistic(metric, mpe=self.mpe)
        values = []
        for seed in range(len(self.seeds)):
            rows = [self.columns[name][seed] for name in names]
            if picked is not None:
                rows = [row[picked] for row in rows]
            values.append(function(*rows))
        return np.mean(np.asarray(values, np.float64), axis=0)


def sample(runs: "pd.DataFrame", images: "pd.DataFrame") -> Sample | None:
    """Put the pictures of a row's runs in one order; None if no run has any."""
    scored = runs[runs["status"] != "failed"]
    tables = {
        int(seed): images[images["run"] == run].set_index("image")
        for seed, run in zip(scored["seed"], scored["run"], strict=True)
    }
    tables = {seed: table for seed, table in tables.items() if len(table)}
    if not tables:
        return None
    pictures = sorted(next(iter(tables.values())).index)
    for table in tables.values():
        if sorted(table.index) != pictures:
            raise InputError(f"{runs['label'].iloc[0]}: its runs were scored on different pictures")
    numbers = [c for c in images.columns if c not in ("run", "image", "status")]
    columns = {
        c: np.array([t.loc[pictures, c].to_numpy(np.float64) for t in tables.values()])
        for c in numbers
    }
    ruler = protocol(str(scored["protocol"].iloc[0]))
    return Sample(pictures, list(tables), columns, ruler.mpe)


def interval(
    row: Sample, metric: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a score over pictures."""
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
    a: Sample, b: Sample, metric: str, *, permutations: int, seed: int = 0
) -> float | None:
    """Two-sided p-value of the difference between two rows on the same pictures.

    Rows that were scored on different pictures cannot be compared: None.
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


def _swapped(a: Sample, b: Sample, metric: str, swap: NDArray[np.float64]) -> NDArray[np.float64]:
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


def summary(results: "Results", labels: Sequence[str], metrics: Sequence[str]) -> "pd.DataFrame":
    """Return a row per configuration.

    Returns
    -------
    DataFrame
        label, n (runs with scores), n_collapsed, n_failed, seconds; METRIC, METRIC_sd, METRIC_low,
        METRIC_high; and ``letters`` of the first metric, Holm-corrected over all pairs.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    samples: dict[str, Sample] = {}
    for label in labels:
        runs = results.runs[results.runs["label"] == label] if len(results.runs) else results.runs
        row: dict[str, Any] = {"label": label, "n": 0, "n_collapsed": 0, "n_failed": 0}
        rows.append(row)
        if len(runs) == 0:
            continue
        scored = runs[runs["status"] != "failed"]
        row |= {
            "n": len(scored),
            "n_collapsed": int((runs["status"] == "collapsed").sum()),
            "n_failed": int((runs["status"] == "failed").sum()),
            "seconds": float(runs["seconds"].mean()),
        }
        found = sample(runs, results.images)
        if found is None:
            continue
        samples[label] = found
        for metric in metrics:
            values = scored[metric].astype(float)
            row |= {metric: float(values.mean()), f"{metric}_sd": float(values.std(ddof=1))}
            base = "mae" if metric == "mae_objects" else metric
            if metric != "mae_objects":
                row[f"{metric}_low"], row[f"{metric}_high"] = interval(found, base)
    marks = _letters(samples, {str(r["label"]): r for r in rows}, metrics[0])
    return pd.DataFrame([row | {"letters": marks.get(str(row["label"]), "")} for row in rows])


def _letters(
    samples: Mapping[str, Sample], rows: Mapping[str, Mapping[str, Any]], metric: str
) -> dict[str, str]:
    labels = list(samples)
    pairs = list(combinations(range(len(labels)), 2))
    many = permutations_for(len(labels))
    p = [
        permutation_p(samples[labels[i]], samples[labels[j]], metric, permutations=many)
        for i, j in pairs
    ]
    if not pairs or any(value is None for value in p):
        return {}
    same = np.ones((len(labels), len(labels)), bool)
    for (i, j), value in zip(pairs, holm([v for v in p if v is not None]), strict=True):
        same[i, j] = same[j, i] = value > ALPHA
    higher = not metric.startswith(("mae", "medae", "mpe"))
    means = [float(rows[label][metric]) for label in labels]
    return dict(zip(labels, letters(means, same, higher=higher), strict=True))
