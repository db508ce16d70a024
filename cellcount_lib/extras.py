"""Further scores of a protocol, from further columns of its per-image rows.

``pixels``: how pixels were classified, as S2 reports it. Columns px_tp, px_fp, px_fn, px_tn; scores
px_precision, px_recall, px_specificity, px_accuracy, px_f_score, px_mcc, pooled over all pixels.

``instances``: how well touching objects are told apart. Columns splits, merges (objects cut apart,
objects run together, `matching.splits_and_merges`), iou_sum (of objects matched above IoU 0.5) and
ap (of the picture, `segmentation_metrics.average_precision`); scores splits, merges (per 100 true
objects), pq and ap.

Taught in: 08_transfer, 09_touching_cells
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellcount_lib.matching import splits_and_merges
from cellcount_lib.metrics import ratio
from cellcount_lib.pixel_metrics import Confusion, confusion, pixel_scores, scores_of
from cellcount_lib.segmentation_metrics import average_precision, panoptic_quality

if TYPE_CHECKING:
    import pandas as pd

PIXELS = ("px_tp", "px_fp", "px_fn", "px_tn")
PIXEL_SCORES = ("precision", "recall", "specificity", "accuracy", "f_score", "mcc")
INSTANCES = ("splits", "merges", "iou_sum", "ap")
EXTRAS = {"pixels": PIXELS, "instances": INSTANCES}


def pixel_columns(true: NDArray[np.integer], mask: NDArray[np.bool_]) -> dict[str, int]:
    """Count pixels of one picture.

    Examples
    --------
    >>> pixel_columns(np.array([[1, 1, 0]]), np.array([[True, False, False]]))
    {'px_tp': 1, 'px_fp': 0, 'px_fn': 1, 'px_tn': 1}
    """
    return dict(zip(PIXELS, confusion(np.asarray(true) > 0, mask), strict=True))


def instance_columns(
    true: NDArray[np.integer], pred: NDArray[np.integer]
) -> dict[str, int | float]:
    """Count splits and merges, and measure outlines, of one picture.

    Examples
    --------
    >>> instance_columns(np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]]))
    {'splits': 0, 'merges': 1, 'iou_sum': 0.0, 'ap': 0.0}
    """
    errors = splits_and_merges(true, pred)
    quality = panoptic_quality([(true, pred)])
    return {
        "splits": int(errors.splits),
        "merges": int(errors.merges),
        "iou_sum": float(quality.sq * quality.tp),
        "ap": float(average_precision([(true, pred)]).ap),
    }


def pooled_extras(rows: "pd.DataFrame") -> dict[str, float]:
    """Return the further scores that the columns of `rows` allow."""
    found: dict[str, float] = {}
    if set(PIXELS) <= set(rows.columns):
        table = Confusion(*(int(rows[name].sum()) for name in PIXELS))
        scores = pixel_scores(table)
        found |= {f"px_{name}": float(getattr(scores, name)) for name in PIXEL_SCORES}
    if set(INSTANCES) <= set(rows.columns):
        for name in ("pq", "ap", "splits", "merges"):
            columns, score = STATISTICS[name]
            found[name] = float(score(*(rows[c].to_numpy(np.float64) for c in columns)))
    return found


def _sums(columns: tuple[ArrayLike, ...]) -> tuple[NDArray[np.float64], ...]:
    return tuple(np.sum(np.asarray(c, np.float64), axis=-1) for c in columns)


def _pixel(name: str) -> Callable[..., Any]:
    def score(*columns: ArrayLike, axis: int = -1) -> Any:
        return getattr(scores_of(*_sums(columns)), name)

    return score


def _quality(
    iou_sum: ArrayLike, tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, axis: int = -1
) -> Any:
    total, right, false, missed = _sums((iou_sum, tp, fp, fn))
    return ratio(total, right + (false + missed) / 2, (right + false + missed) == 0)


def _per_hundred(errors: ArrayLike, n_true: ArrayLike, axis: int = -1) -> Any:
    number, true = _sums((errors, n_true))
    return 100 * np.asarray(ratio(number, true, np.zeros_like(true, bool)))


def _mean(values: ArrayLike, axis: int = -1) -> Any:
    return np.mean(np.asarray(values, np.float64), axis=-1)


STATISTICS: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    **{f"px_{name}": (PIXELS, _pixel(name)) for name in PIXEL_SCORES},
    "pq": (("iou_sum", "tp", "fp", "fn"), _quality),
    "ap": (("ap",), _mean),
    "splits": (("splits", "n_true"), _per_hundred),
    "merges": (("merges", "n_true"), _per_hundred),
}
"""Columns of a further score, and the function that pools them over the last axis."""
