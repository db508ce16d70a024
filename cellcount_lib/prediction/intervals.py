"""Intervals around counts, from pictures that a person has counted, too: ``cellcount calibrate``.

Split conformal prediction: of n pictures the error of each is divided by what errors grow with, the
square root of the count. The k-th smallest of these, k = ceil((n + 1) level), makes the intervals
of all other pictures. If they are exchangeable with those that were counted, an interval holds the
truth with a probability of at least `level`, whatever the model and however errors are distributed.

References
----------
Vovk, Gammerman, Shafer (2005), Algorithmic Learning in a Random World, chapter 2; Lei et al.
(2018), "Distribution-free predictive inference for regression", JASA 113:1094, theorem 2.
"""

from collections.abc import Sequence
from math import ceil, floor, sqrt
from pathlib import Path

import pandas as pd

from cellcount_lib.errors import DataError, InputError


def quantile(counts: Sequence[int], truth: Sequence[float], *, level: float = 0.9) -> float:
    """Return the error, per square root of the count plus one, that intervals allow for.

    Examples
    --------
    >>> quantile([3, 8, 15, 24], [5, 8, 11, 14], level=0.8)  # 2/2, 0/3, 4/4, 10/5
    2.0
    """
    if not 0 < level < 1:
        raise InputError(f"level: expected a number between 0 and 1, found {level!r}")
    errors = sorted(abs(t - c) / sqrt(c + 1) for c, t in zip(counts, truth, strict=True))
    # without the rounding of 0.9 x 10 up to 10
    place = ceil(round((len(errors) + 1) * level, 9))
    if place > len(errors):
        needed = ceil(round(level / (1 - level), 9))
        raise InputError(
            f"expected at least {needed} pictures that a person has counted for intervals at "
            f"{level:.0%}, found {len(errors)}"
        )
    return errors[place - 1]


def interval(count: int, allowed: float) -> tuple[int, int]:
    """Return the smallest and the largest number of cells that the error allows.

    Examples
    --------
    >>> interval(24, 1.5), interval(3, 2.0)
    ((17, 31), (0, 7))
    """
    reach = allowed * sqrt(count + 1)
    return max(0, ceil(round(count - reach, 9))), floor(round(count + reach, 9))


def calibrated(counts: Path, truth: Path, *, level: float = 0.9) -> tuple[pd.DataFrame, int, float]:
    """Return counts with intervals, how many pictures they rest on, and `quantile` of those.

    `truth` has columns image and count; a picture is found by its path, or by its file name.
    """
    ours, theirs = (_table(path) for path in (counts, truth))
    ours = ours[ours["count"].notna()].astype({"count": int})
    for key in (str, lambda image: Path(image).name):
        known = dict(zip(theirs["image"].map(key), theirs["count"], strict=True))
        found = ours["image"].map(key).map(known)
        if found.notna().any():
            break
    both = found.notna()
    if not both.any():
        raise DataError(f"{truth}: expected pictures of {counts}, found none of them")
    if ours[both]["image"].map(key).duplicated().any() or len(known) < len(theirs):
        raise DataError(f"{truth}: expected one row per picture; several have the same name")
    allowed = quantile(ours["count"][both].tolist(), found[both].tolist(), level=level)
    rows = ours[["image", "plane", "count"]] if "plane" in ours else ours[["image", "count"]]
    limits = [interval(count, allowed) for count in ours["count"]]
    low, high = zip(*limits, strict=True)
    if (found[both] % 1 == 0).all():  # else it is a mean, of two persons
        found = found.astype("Int64")
    return rows.assign(low=low, high=high, truth=found), int(both.sum()), allowed


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"image": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a CSV table ({error})") from error
    if missing := {"image", "count"} - set(table):
        raise DataError(f"{path}: expected columns image and count, {sorted(missing)} missing")
    if not pd.api.types.is_numeric_dtype(table["count"]) or (table["count"] < 0).any():
        raise DataError(f"{path}: expected numbers of cells in the column count")
    return table
