"""Precision against recall over cutoffs, and the area under that curve (the AUC of S0)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellcount_lib.errors import InputError
from cellcount_lib.registry import Registry
from cellcount_lib.scoring.counting import check_counts
from cellcount_lib.scoring.detection import detection_scores


class PRCurve(NamedTuple):
    """Points by rising recall, one per recall."""

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


def pr_curve(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> PRCurve:
    """Precision/recall points of a sweep over cutoffs, in order of recall.

    - A cutoff at which nothing is reported has no precision: it is left out. (When there is nothing
      to find, such cutoffs are the perfect point (1, 1) of the contract and the others are left
      out: they have no recall.)
    - Of several cutoffs with the same recall, the one of highest precision stays.
    - A curve of objects need not run to one side: a lower cutoff can merge two cells and lose
      recall. Sorting by recall makes the curve a function nevertheless.

    Counts are pooled over images, one per cutoff.

    Examples
    --------
    >>> pr_curve(tp=[8, 6, 0], fp=[8, 0, 0], fn=[2, 4, 10])
    PRCurve(recall=array([0.6, 0.8]), precision=array([1. , 0.5]))
    """
    tp, fp, fn = (check_counts(n, v) for n, v in (("tp", tp), ("fp", fp), ("fn", fn)))
    if not (tp.ndim == 1 and tp.shape == fp.shape == fn.shape and tp.size):
        raise InputError(
            "tp, fp, fn: expected one count per cutoff, found shapes "
            f"{tp.shape}, {fp.shape} and {fn.shape}"
        )
    scores = detection_scores(tp, fp, fn)
    kept = np.where(tp + fn == 0, fp == 0, tp + fp > 0)
    recall, precision = scores.recall[kept], scores.precision[kept]
    order = np.lexsort((-precision, recall))
    recall, first = np.unique(recall[order], return_index=True)
    return PRCurve(recall, precision[order][first])


def _trapezoid(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    return float(np.trapezoid(precision, recall))


def _steps(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    return float((np.diff(recall) * precision[1:]).sum())


AREA_RULES: Registry[Callable[[NDArray[np.float64], NDArray[np.float64]], float]] = Registry(
    "area rule", {"trapezoid": _trapezoid, "steps": _steps}
)


def pr_area(curve: PRCurve, *, rule: str = "trapezoid") -> float:
    """Area under precision over recall, from recall 0 to the highest recall reached.

    Left end: from recall 0 to the first point, precision is that of the first point. Right end:
    recall that no cutoff reaches adds nothing, so the area never exceeds the highest recall; a
    sweep that starts at cutoff 0.5 gives a smaller area than one that starts at 0. A curve without
    points has area 0.

    Between points, rule "trapezoid" connects precisions by straight lines. "steps" takes the
    precision of the point with the higher recall, as average precision does in scikit-learn; it is
    the lower of the two where precision falls. No source says how the published AUC was integrated;
    straight lines are the usual way of "area under the curve", and over 20 close cutoffs the two
    differ little.

    References
    ----------
    Davis & Goadrich (2006), "The relationship between precision-recall and ROC curves", ICML: why
    straight lines are too kind where points are far apart.

    Examples
    --------
    >>> curve = PRCurve(np.array([0.5, 1.0]), np.array([1.0, 0.5]))
    >>> pr_area(curve), pr_area(curve, rule="steps")
    (0.875, 0.75)
    """
    area = AREA_RULES[rule]
    if curve.recall.size == 0:
        return 0.0
    recall = np.concatenate([[0.0], curve.recall])
    precision = np.concatenate([curve.precision[:1], curve.precision])
    return area(recall, precision)
