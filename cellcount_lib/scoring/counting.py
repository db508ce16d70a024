"""Errors of counts per image: MAE, MedAE, MPE under each of its conventions, and R2.

Errors are 0 where the counts agree and finite always; what an image without cells does is said at
each definition. A missing prediction or a crashed image counts as 0 predicted (the contract in
`detection`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellcount_lib.errors import InputError
from cellcount_lib.registry import Registry

Divisor = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class CountingErrors(NamedTuple):
    """Errors of counts over images; floats, or arrays over the leading axes."""

    mae: Any
    medae: Any
    mpe_percent: Any
    r2: Any


# MPE is defined in five ways in the sources. Sign: +1 is (pred - true), so a negative MPE means
# that too few were counted. Divisor: an image where it is 0 is left out of the mean.
MPE_CONVENTIONS: Registry[tuple[int, Divisor]] = Registry(
    "MPE convention",
    {
        # S3 Eq. 7: (true - pred) / true. Undefined for an image without cells: left out.
        "paper2021": (-1, lambda true: true),
        # S3 Table 1 prints the opposite sign of its Eq. 7: (pred - true) / true.
        "table2021": (+1, lambda true: true),
        # R21: (pred - true) / (true + 1e-6). One false positive in one image without cells adds
        # 10^6 (10^8 percent) to the sum.
        "released2021": (+1, lambda true: true + 1e-6),
        # S1: (true - pred) / max(true, 1) * 100.
        "slides2023": (-1, lambda true: np.maximum(true, 1)),
        # R23: (pred - true) / max(true, 1). Finite for every image, negative for too few: ours.
        "released2023": (+1, lambda true: np.maximum(true, 1)),
    },
)


def mean_percentage_error(
    n_true: ArrayLike, n_pred: ArrayLike, *, convention: str = "released2023"
) -> Any:
    """Mean over images (the last axis) of the percentage error of the count, in percent.

    Parameters
    ----------
    n_true, n_pred : array_like, shape (..., n_images)
    convention : {"paper2021", "table2021", "released2021", "slides2023", "released2023"}
        Sign and treatment of images without cells, see `MPE_CONVENTIONS`. Under the first two
        such images are left out, so false positives in them go unseen; when no image has a cell,
        the error is divided by 1 instead, so that the result stays finite.

    Taught in: 06_threshold_and_ruler.

    Examples
    --------
    One image of 4 cells counted as 3, one empty image in which 1 was counted:

    >>> for name in MPE_CONVENTIONS:
    ...     print(name, round(mean_percentage_error([4, 0], [3, 1], convention=name), 1))
    paper2021 25.0
    table2021 -25.0
    released2021 49999987.5
    slides2023 -37.5
    released2023 37.5
    """
    sign, divisor_of = MPE_CONVENTIONS[convention]
    true, pred = _paired_counts(n_true, n_pred)
    divisor = divisor_of(true)
    divisor = np.where((divisor == 0).all(axis=-1, keepdims=True), 1.0, divisor)
    used = divisor != 0
    errors = np.where(used, sign * (pred - true) / np.where(used, divisor, 1), 0)
    return _plain(100 * errors.sum(axis=-1) / used.sum(axis=-1))


def counting_errors(
    n_true: ArrayLike, n_pred: ArrayLike, *, mpe: str = "released2023"
) -> CountingErrors:
    """MAE, MedAE, MPE and R2 of counts per image (S0, S3 Eq. 6-7).

    MAE and MedAE are mean and median of |true - pred|. R2 = 1 - sum (true - pred)^2 /
    sum (true - mean true)^2: 0 for the prediction of the mean count everywhere, negative for worse.
    When all images have the same true count (one image included) R2 is 1.0 if every prediction is
    right and 0.0 otherwise, as in scikit-learn. Errors are taken over the last axis; `mpe` is a
    name in `MPE_CONVENTIONS`.

    Examples
    --------
    >>> counting_errors([2, 4], [3, 2])
    CountingErrors(mae=1.5, medae=1.5, mpe_percent=0.0, r2=-1.5)
    """
    true, pred = _paired_counts(n_true, n_pred)
    absolute = np.abs(true - pred)
    residual = (absolute**2).sum(axis=-1)
    spread = ((true - true.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    constant = true.max(axis=-1) == true.min(axis=-1)  # exact, unlike spread == 0
    unexplained = residual / np.where(constant, 1, spread)
    return CountingErrors(
        mae=_plain(absolute.mean(axis=-1)),
        medae=_plain(np.median(absolute, axis=-1)),
        mpe_percent=mean_percentage_error(true, pred, convention=mpe),
        r2=_plain(np.where(constant, (residual == 0).astype(float), 1 - unexplained)),
    )


def check_counts(name: str, value: Any) -> NDArray[np.float64]:
    """Counts as float64: exact up to 2^53, and no product of them overflows."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected counts, found {value!r}") from None
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise InputError(f"{name}: expected finite counts >= 0, found {value!r}")
    return array


def _paired_counts(
    n_true: ArrayLike, n_pred: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, pred = check_counts("n_true", n_true), check_counts("n_pred", n_pred)
    if true.shape != pred.shape or true.ndim == 0 or true.shape[-1] == 0:
        raise InputError(
            "n_true, n_pred: expected one count per image, at least one image, and the same number "
            f"in both; found shapes {true.shape} and {pred.shape}"
        )
    return true, pred


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value
