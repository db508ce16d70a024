"""How sure is a score? Intervals over images, paired tests between methods, and Holm's correction.

Images are what is resampled and swapped, with all their objects: objects of one image share its
focus, staining and crowding, so they are no independent draws. Images of one animal are not quite
independent either; where that is known, these intervals are too narrow.

Resampling is SciPy's (`bootstrap`, `permutation_test`), on the per-image rows of `pooling.pooled`:
a score is pooled anew in every resample, never averaged over images. The edge-case contract of
`detection` holds in each of them.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellcount_lib.errors import InputError, unknown_name
from cellcount_lib.scoring.pooling import check_rows, statistic

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("BCa", "percentile")


class Interval(NamedTuple):
    """A score with its bootstrap interval.

    Attributes
    ----------
    value, low, high : float
    level : float
        Of confidence, 0.95 for example.
    method : str
        "BCa" or "percentile", the one that was used in the end.
    n_images, resamples : int
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    n_images: int
    resamples: int


class PairedTest(NamedTuple):
    """The difference of a score between two methods on the same images.

    Attributes
    ----------
    difference : float
        Score of the first minus score of the second.
    p_value : float
        Two-sided.
    method : str
        "exact" if all swaps were tried, "random" otherwise.
    n_images, permutations : int
    """

    difference: float
    p_value: float
    method: str
    n_images: int
    permutations: int


def bootstrap(
    rows: "pd.DataFrame",
    metric: str = "f1",
    *,
    level: float = 0.95,
    resamples: int = 9999,
    method: str | None = None,
    seed: int = 0,
    mpe: str = "released2023",
) -> Interval:
    """Bootstrap interval over images of a pooled score.

    Parameters
    ----------
    rows : DataFrame
        Per-image rows, as for `pooling.pooled`; at least two.
    metric : str
        precision, recall, f1, accuracy (also f1_NAME, ... of further matchings), mae, medae,
        mpe_percent or r2.
    level : float
    resamples : int
    method : {"BCa", "percentile"}, optional
        BCa by default: it corrects for bias and skew, which F1 near 1 and MAE near 0 have. The
        percentile interval for medae, a jumping median that BCa was not made for, and where BCa is
        undefined, as when all images are perfect: then the interval has no width, which shows that
        the images are too easy or too few, not that the score is certain.
    seed : int
    mpe : str
        Name in `counting.MPE_CONVENTIONS`.

    References
    ----------
    Efron (1987), "Better bootstrap confidence intervals", JASA 82:171.

    Taught in: 06_threshold_and_ruler.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"n_true": 4, "n_pred": 4, "tp": [4, 3, 2, 4, 1, 3], "status": "ok"})
    >>> rows = rows.assign(fp=4 - rows.tp, fn=4 - rows.tp)
    >>> interval = bootstrap(rows)
    >>> round(interval.value, 3), interval.low < 0.6 < 0.8 < interval.high
    (0.708, True)
    """
    from scipy import stats

    rows = check_rows("rows", rows)
    columns, score = statistic(metric, mpe=mpe)
    if method is None:
        method = "percentile" if metric == "medae" else "BCa"
    if method not in METHODS:
        raise unknown_name("bootstrap method", method, METHODS)
    if not 0 < level < 1:
        raise InputError(f"level: expected a number in (0, 1), found {level!r}")
    if len(rows) < 2:
        raise InputError(f"rows: expected at least two images to resample, found {len(rows)}")
    data = _columns(rows, columns)
    with warnings.catch_warnings():
        # degenerate cases are recognised below by their NaN
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        result = stats.bootstrap(
            data,
            score,
            paired=True,
            vectorized=True,
            n_resamples=_at_least_one("resamples", resamples),
            batch=1000,  # bounds the memory for large test sets
            axis=-1,
            confidence_level=level,
            method=method,
            random_state=np.random.default_rng(seed),  # `rng` is its name since SciPy 1.15
        )
    low, high = (float(end) for end in result.confidence_interval)
    if not (np.isfinite(low) and np.isfinite(high)):
        method = "percentile"
        tail = 50 * (1 - level)
        low, high = np.percentile(result.bootstrap_distribution, [tail, 100 - tail]).tolist()
    return Interval(float(score(*data)), low, high, level, method, len(rows), resamples)


def paired_permutation_test(
    rows_a: "pd.DataFrame",
    rows_b: "pd.DataFrame",
    metric: str = "f1",
    *,
    permutations: int = 9999,
    seed: int = 0,
    mpe: str = "released2023",
) -> PairedTest:
    """Test whether two methods differ in a pooled score on the same images.

    If they did not, the two results of an image could be swapped. The difference of the pooled
    scores is compared with those after random swaps. The two-sided p-value is twice the smaller
    one-sided share, at most 1, where a share of random swaps is (count + 1)/(permutations + 1), so
    that it is never 0. With no more than `permutations` possible swaps (13 images for 9999) all of
    them are tried, and the p-value is exact.

    Parameters
    ----------
    rows_a, rows_b : DataFrame
        Per-image rows under the same protocol, with a column "image" that holds each name once; the
        order may differ. Images that are missing or failed take part with nothing found.
    metric, mpe : str
        As in `bootstrap`.
    permutations, seed : int

    References
    ----------
    Phipson & Smyth (2010), "Permutation p-values should never be zero", SAGMB 9:39.

    Taught in: 06_threshold_and_ruler.
    """
    from scipy import stats

    rows_a, rows_b = _same_images(rows_a, rows_b)
    columns, score = statistic(metric, mpe=mpe)
    both = [
        np.concatenate(pair)
        for pair in zip(_columns(rows_a, columns), _columns(rows_b, columns), strict=True)
    ]
    n = len(rows_a)

    # SciPy swaps single numbers, an image has several: swap their positions.
    def difference(a: NDArray[np.intp], b: NDArray[np.intp], axis: int) -> NDArray[np.float64]:
        result: NDArray[np.float64] = np.subtract(
            score(*(column[a] for column in both)), score(*(column[b] for column in both))
        )
        return result

    result = stats.permutation_test(
        (np.arange(n), np.arange(n, 2 * n)),
        difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_at_least_one("permutations", permutations),
        batch=1000,
        axis=-1,
        random_state=np.random.default_rng(seed),
    )
    exact = 2**n <= permutations
    tried = len(result.null_distribution)
    found = float(result.statistic)
    return PairedTest(found, float(result.pvalue), "exact" if exact else "random", n, tried)


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


def _columns(rows: "pd.DataFrame", columns: Sequence[str]) -> list[NDArray[np.float64]]:
    if missing := [c for c in columns if c not in rows.columns]:
        raise InputError(f"rows: expected column {missing[0]!r}, found {list(rows.columns)}")
    return [rows[c].to_numpy(np.float64) for c in columns]


def _same_images(
    rows_a: "pd.DataFrame", rows_b: "pd.DataFrame"
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Both tables in the order of the first, checked to hold the same images."""
    named = []
    for name, rows in (("rows_a", rows_a), ("rows_b", rows_b)):
        rows = check_rows(name, rows)
        if "image" not in rows.columns:
            raise InputError(f"{name}: expected column 'image', found {list(rows.columns)}")
        if (twice := rows["image"].duplicated()).any():
            repeated = rows["image"][twice].iloc[0]
            raise InputError(f"{name}: expected each image once, found {repeated!r} repeatedly")
        named.append(rows.set_index("image"))
    a, b = named
    if odd := sorted(map(str, a.index.symmetric_difference(b.index))):
        raise InputError(
            f"rows_a, rows_b: expected the same images, found {odd[0]!r} in one of them only "
            f"({len(odd)} such images)"
        )
    return a, b.loc[a.index]


def _at_least_one(name: str, value: int) -> int:
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name}: expected a whole number >= 1, found {value!r}")
    return int(value)
