"""Scores of detection from counts of objects, and the contract on edge cases.

The edge-case contract, for every score of this project (here, in `instances`, `pixels`,
`pooling`, `curves`, `counting` and `stats`):

1. A ratio 0/0 is 1.0 when there is nothing to find and nothing was reported (TP = FP = FN = 0), and
   0.0 otherwise. No score is ever NaN.
2. So, for an image or a test set with

   =======================  =========  ======  ===  ========
   true / predicted         precision  recall  F1   accuracy
   =======================  =========  ======  ===  ========
   0 / 0                    1          1       1    1
   0 / n                    0          0       0    0
   n / 0                    0          0       0    0
   =======================  =========  ======  ===  ========

3. A missing prediction (status "missing") and an image on which the method crashed ("failed") count
   as 0 predicted objects: every true object in them is a FN. Their rows stay in the table, with
   their status, and are counted in `pooled`; they are never dropped.
4. Errors of counts (MAE, MPE, ...) are 0 where the counts agree and always finite; what each does
   with an image without cells is said at its definition, in `counting`.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cellcount_lib.scoring.counting import check_counts


class DetectionScores(NamedTuple):
    """Floats for one TP, FP, FN; arrays of their shape for many."""

    precision: Any
    recall: Any
    f1: Any
    accuracy: Any


def ratio(numerator: ArrayLike, denominator: ArrayLike, perfect: ArrayLike) -> Any:
    """Divide; 0/0 is 1.0 where `perfect` (nothing to find, nothing reported) and 0.0 elsewhere.

    Examples
    --------
    >>> ratio(3, 4, perfect=False), ratio(0, 0, perfect=True), ratio(0, 0, perfect=False)
    (0.75, 1.0, 0.0)
    """
    denominator = np.asarray(denominator, np.float64)
    safe = np.where(denominator == 0, 1, denominator)
    value = np.where(denominator == 0, np.asarray(perfect, np.float64), numerator / safe)
    return float(value) if value.ndim == 0 else value


def detection_scores(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> DetectionScores:
    """Precision, recall, F1 and accuracy from counts of objects (S3, Eq. 2-5).

    precision = TP/(TP+FP), recall = TP/(TP+FN), F1 = 2 TP/(2 TP+FP+FN), accuracy = TP/(TP+FP+FN).
    There are no true negatives among objects, so accuracy is the Jaccard index of detection, and
    accuracy = F1/(2 - F1). 0/0 follows the contract at the top of this module.

    R21 adds 0.001 to numerator and denominator of each ratio, R23 adds 0.01 to each denominator.
    That shifts a pooled score by less than 0.001/(TP+FP) (R21; in the last printed digit of its
    notebook: 25/36 is printed as 0.6945) and hides the 0/0. Here ratios are exact. Counts are
    numbers, or arrays of one shape.

    Taught in: 06_threshold_and_ruler.

    Examples
    --------
    >>> detection_scores(tp=3, fp=1, fn=1)
    DetectionScores(precision=0.75, recall=0.75, f1=0.75, accuracy=0.6)
    >>> detection_scores([0, 0], [0, 2], [0, 0]).f1
    array([1., 0.])
    """
    tp, fp, fn = (check_counts(n, v) for n, v in (("tp", tp), ("fp", fp), ("fn", fn)))
    perfect = (tp == 0) & (fp == 0) & (fn == 0)
    return DetectionScores(
        precision=ratio(tp, tp + fp, perfect),
        recall=ratio(tp, tp + fn, perfect),
        f1=ratio(2 * tp, 2 * tp + fp + fn, perfect),
        accuracy=ratio(tp, tp + fp + fn, perfect),
    )
