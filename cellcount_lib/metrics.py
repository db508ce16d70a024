"""Scores of detection, pooled over the images of a test set, and the contract on edge cases.

The edge-case contract, for every score of this project (here, in `segmentation_metrics`,
`pixel_metrics`, `curves`, `counting` and `stats`):

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

Pooled means: TP, FP and FN are added up over all images, then the ratio is taken once. Every object
weighs the same, so crowded images weigh more than sparse ones (S3, Eq. 2-5).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cellcount_lib.counting import CountingErrors, check_counts, counting_errors
from cellcount_lib.errors import InputError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

STATUSES = ("ok", "missing", "failed")
COUNT_COLUMNS = ("n_true", "n_pred", "tp", "fp", "fn")


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
    notebook: 25/36 is printed as 0.6945) and hides the 0/0. Here ratios are exact.

    Parameters
    ----------
    tp, fp, fn : int, or arrays of one shape
        Counts >= 0.

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


def pooled(rows: "pd.DataFrame", *, mpe: str = "released2023") -> dict[str, int | float]:
    """Scores of a test set from its per-image rows: detection pooled over objects, and counting.

    Parameters
    ----------
    rows : DataFrame
        One row per image, columns n_true, n_pred, tp, fp, fn, status ("ok", "missing", "failed"),
        as `Protocol.score` makes them, and tp_NAME, fp_NAME, fn_NAME of further matchings; other
        columns are ignored.
    mpe : str
        Name in `counting.MPE_CONVENTIONS`.

    Returns
    -------
    dict
        n_images, n_missing, n_failed; n_true, n_pred, tp, fp, fn summed; precision, recall, f1,
        accuracy; mae, medae, mpe_percent, r2; precision_NAME, recall_NAME, f1_NAME, accuracy_NAME
        of further matchings; and the further scores of `extras` where their columns are there.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"n_true": [3, 1], "n_pred": [4, 0], "tp": [3, 0], "fp": [1, 0],
    ...                      "fn": [0, 1], "status": ["ok", "missing"]})
    >>> scores = pooled(rows)
    >>> scores["n_missing"], scores["tp"], scores["fn"], scores["f1"], scores["mae"]
    (1, 3, 1, 0.75, 1.0)
    """
    rows = check_rows("rows", rows)
    statuses = {f"n_{s}": int((rows["status"] == s).sum()) for s in STATUSES if s != "ok"}
    totals = {name: int(rows[name].sum()) for name in COUNT_COLUMNS}
    scores: dict[str, int | float] = {"n_images": len(rows), **statuses, **totals}
    scores |= detection_scores(totals["tp"], totals["fp"], totals["fn"])._asdict()
    scores |= counting_errors(rows["n_true"], rows["n_pred"], mpe=mpe)._asdict()
    for name in _further(rows):
        columns = (rows[f"{kind}_{name}"].sum() for kind in ("tp", "fp", "fn"))
        further = detection_scores(*columns)._asdict()
        scores |= {f"{score}_{name}": value for score, value in further.items()}
    from cellcount_lib.extras import pooled_extras

    return scores | pooled_extras(rows)


def _further(rows: "pd.DataFrame") -> list[str]:
    """Names of the matchings that are reported beside the primary one."""
    return [str(c)[3:] for c in rows.columns if str(c).startswith("tp_")]


def statistic(
    metric: str, *, mpe: str = "released2023"
) -> tuple[tuple[str, ...], Callable[..., Any]]:
    """Return the columns of per-image rows that a score needs, and the function that pools them.

    The function takes one array per column and pools over the last axis (`axis` is what SciPy calls
    it with), so that many resamples of a test set are scored at once.

    Parameters
    ----------
    metric : str
        precision, recall, f1, accuracy, or one of these with _NAME of a further matching; mae,
        medae, mpe_percent, r2; a name of `extras.STATISTICS`.
    mpe : str
        Name in `counting.MPE_CONVENTIONS`.

    Examples
    --------
    >>> columns, score = statistic("f1")
    >>> columns, score([[1, 1], [1, 0]], [[0, 1], [0, 0]], [[0, 1], [0, 1]]).round(2).tolist()
    (('tp', 'fp', 'fn'), [0.67, 0.67])
    """
    if metric in CountingErrors._fields:

        def errors(n_true: ArrayLike, n_pred: ArrayLike, axis: int = -1) -> Any:
            return getattr(counting_errors(n_true, n_pred, mpe=mpe), metric)

        return ("n_true", "n_pred"), errors
    from cellcount_lib.extras import STATISTICS

    if metric in STATISTICS:
        return STATISTICS[metric]
    name, _, further = metric.partition("_")
    if name not in DetectionScores._fields:
        known = (*DetectionScores._fields, *CountingErrors._fields, *STATISTICS)
        raise unknown_name("metric", metric, known)

    def scores(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, axis: int = -1) -> Any:
        totals = (np.sum(np.asarray(column), axis=-1) for column in (tp, fp, fn))
        return getattr(detection_scores(*totals), name)

    suffix = f"_{further}" if further else ""
    return (f"tp{suffix}", f"fp{suffix}", f"fn{suffix}"), scores


def check_rows(name: str, rows: Any) -> "pd.DataFrame":
    """Return `rows` if they are per-image rows that can be scored, else raise InputError."""
    if not hasattr(rows, "columns"):
        raise InputError(f"{name}: expected a DataFrame of per-image rows, found {type(rows)}")
    further = [f"{kind}_{n}" for n in _further(rows) for kind in ("tp", "fp", "fn")]
    counts = [*COUNT_COLUMNS, *further]
    if missing := [c for c in (*counts, "status") if c not in rows.columns]:
        raise InputError(f"{name}: expected column {missing[0]!r}, found {list(rows.columns)}")
    if len(rows) == 0:
        raise InputError(f"{name}: expected at least one image, found none")
    for column in counts:
        check_counts(f"{name}[{column!r}]", rows[column])
    if unknown := set(rows["status"]) - set(STATUSES):
        raise unknown_name("status of an image", sorted(map(str, unknown))[0], STATUSES)
    without = rows[rows["status"] != "ok"]
    if (without[["n_pred", "tp", "fp"]] != 0).any(axis=None):
        raise InputError(
            f"{name}: expected n_pred = tp = fp = 0 where the status is missing or failed, found "
            f"{without[['n_pred', 'tp', 'fp', 'status']].iloc[0].to_dict()}"
        )
    return rows
