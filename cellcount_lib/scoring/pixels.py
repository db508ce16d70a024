"""Scores per pixel: Dice, IoU, specificity, MCC, ... as S2 reports them.

A pixel is positive if it belongs to a cell. Background outnumbers cells by far (99.4% of FNC v1,
about 90% of S2's crops), so accuracy and specificity are close to 1 for any prediction; Dice, IoU
and MCC are not.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.checks import check_mask, check_same_shape
from cellcount_lib.errors import InputError
from cellcount_lib.scoring.detection import ratio


class Confusion(NamedTuple):
    """Numbers of pixels."""

    tp: int
    fp: int
    fn: int
    tn: int


class PixelScores(NamedTuple):
    """Scores in [0, 1], but for `mcc` in [-1, 1]."""

    precision: float
    recall: float
    specificity: float
    accuracy: float
    f_score: float
    iou: float
    mcc: float

    @property
    def dice(self) -> float:
        """Dice coefficient: for binary masks the same number as the F score."""
        return self.f_score


def confusion(true: NDArray[np.bool_], pred: NDArray[np.bool_] | None) -> Confusion:
    """Count pixels of a true and a predicted mask; None (missing) is a prediction of no cell.

    Examples
    --------
    >>> confusion(np.array([[True, True, False]]), np.array([[True, False, False]]))
    Confusion(tp=1, fp=0, fn=1, tn=1)
    """
    true = check_mask("true", true)
    pred = np.zeros_like(true) if pred is None else check_mask("pred", pred)
    check_same_shape(["true", "pred"], [true, pred])
    tp = int(np.count_nonzero(true & pred))
    fp = int(np.count_nonzero(pred)) - tp
    fn = int(np.count_nonzero(true)) - tp
    return Confusion(tp, fp, fn, true.size - tp - fp - fn)


def pixel_scores(table: Confusion) -> PixelScores:
    """All scores of a confusion table.

    precision = TP/(TP+FP), recall = TP/(TP+FN), specificity = TN/(TN+FP),
    accuracy = (TP+TN)/all, F = Dice = 2 TP/(2 TP+FP+FN), IoU = TP/(TP+FP+FN), and
    MCC = (TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN)).

    0/0 follows the contract in `detection`. Two ratios are not about cells alone: specificity 0/0
    (no true background) and MCC 0/0 (truth or prediction of one class only) are 1.0 if all pixels
    are right and 0.0 otherwise. (In scikit-learn the MCC of a perfect, empty prediction is 0.)

    Taught in: 08_transfer.

    Examples
    --------
    >>> pixel_scores(Confusion(tp=2, fp=1, fn=1, tn=5)).mcc.__round__(3)
    0.5
    >>> pixel_scores(Confusion(tp=0, fp=0, fn=0, tn=9)).dice
    1.0
    """
    tp, fp, fn, tn = (int(n) for n in table)  # Python integers: the products exceed 64 bits
    if min(tp, fp, fn, tn) < 0 or tp + fp + fn + tn == 0:
        raise InputError(f"table: expected counts >= 0 of at least one pixel, found {table}")
    return scores_of(tp, fp, fn, tn)


def scores_of(tp: Any, fp: Any, fn: Any, tn: Any) -> PixelScores:
    """All scores of `pixel_scores` from numbers, or from arrays of many tables."""
    nothing = (tp + fp + fn) == 0
    right = (fp + fn) == 0
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return PixelScores(
        precision=ratio(tp, tp + fp, nothing),
        recall=ratio(tp, tp + fn, nothing),
        specificity=ratio(tn, tn + fp, right),
        accuracy=(tp + tn) / (tp + fp + fn + tn),
        f_score=ratio(2 * tp, 2 * tp + fp + fn, nothing),
        iou=ratio(tp, tp + fp + fn, nothing),
        mcc=ratio(tp * tn - fp * fn, product**0.5, right),
    )


PIXELS = ("px_tp", "px_fp", "px_fn", "px_tn")


def pixel_columns(true: NDArray[np.integer], mask: NDArray[np.bool_]) -> dict[str, int]:
    """Count pixels of one picture.

    Examples
    --------
    >>> pixel_columns(np.array([[1, 1, 0]]), np.array([[True, False, False]]))
    {'px_tp': 1, 'px_fp': 0, 'px_fn': 1, 'px_tn': 1}
    """
    return dict(zip(PIXELS, confusion(np.asarray(true) > 0, mask), strict=True))
