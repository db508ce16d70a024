"""Scores of a test set, pooled over its pictures: the columns they need, and how they are taken.

Pooled means: TP, FP and FN are added up over all images, then the ratio is taken once. Every object
weighs the same, so crowded images weigh more than sparse ones (S3, Eq. 2-5).

A protocol may report further scores, from further columns of its per-image rows.
``pixels``: how pixels were classified, as S2 reports it; columns px_tp, px_fp, px_fn, px_tn, scores
px_precision, px_recall, px_specificity, px_accuracy, px_f_score, px_mcc. ``instances``: how well
touching objects are told apart; columns splits, merges (`matching.splits_and_merges`), iou_sum (of
objects matched above IoU 0.5) and ap (of the picture), scores splits, merges (per 100 true
objects), pq and ap.

Taught in: 06_threshold_and_ruler, 09_touching_cells
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cellcount_lib.errors import InputError, unknown_name
from cellcount_lib.registry import Registry
from cellcount_lib.scoring.counting import CountingErrors, check_counts, counting_errors
from cellcount_lib.scoring.detection import DetectionScores, detection_scores, ratio
from cellcount_lib.scoring.pixels import PIXELS, scores_of

STATUSES = ("ok", "missing", "failed")
COUNT_COLUMNS = ("n_true", "n_pred", "tp", "fp", "fn")


def pooled(rows: pd.DataFrame, *, mpe: str = "released2023") -> dict[str, int | float]:
    """Scores of a test set from its per-image rows: detection pooled over objects, and counting.

    A row has columns n_true, n_pred, tp, fp, fn, status ("ok", "missing", "failed"), as
    `Protocol.score` makes them, and tp_NAME, fp_NAME, fn_NAME of further matchings. Scores are
    n_images, n_missing, n_failed; n_true, n_pred, tp, fp, fn summed; precision, recall, f1,
    accuracy; mae, medae, mpe_percent (by a convention of `counting.MPE_CONVENTIONS`), r2;
    precision_NAME, ... of further matchings; and further scores where their columns are there.

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
    for name in _further_matchings(rows):
        columns = (rows[f"{kind}_{name}"].sum() for kind in ("tp", "fp", "fn"))
        further = detection_scores(*columns)._asdict()
        scores |= {f"{score}_{name}": value for score, value in further.items()}
    return scores | _further_scores(rows)


def _further_matchings(rows: pd.DataFrame) -> list[str]:
    """Names of the matchings that are reported beside the primary one."""
    return [str(c)[3:] for c in rows.columns if str(c).startswith("tp_")]


def statistic(
    metric: str, *, mpe: str = "released2023"
) -> tuple[tuple[str, ...], Callable[..., Any]]:
    """Return the columns of per-image rows that a score needs, and the function that pools them.

    The function takes one array per column and pools over the last axis (`axis` is what SciPy calls
    it with), so that many resamples of a test set are scored at once. `metric` is one of the scores
    of `pooled`.

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
    if metric in FURTHER_SCORES:
        return FURTHER_SCORES[metric]
    name, _, further = metric.partition("_")
    if name not in DetectionScores._fields:
        known = (*DetectionScores._fields, *CountingErrors._fields, *FURTHER_SCORES)
        raise unknown_name("metric", metric, known)

    def scores(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, axis: int = -1) -> Any:
        totals = (np.sum(np.asarray(column), axis=-1) for column in (tp, fp, fn))
        return getattr(detection_scores(*totals), name)

    suffix = f"_{further}" if further else ""
    return (f"tp{suffix}", f"fp{suffix}", f"fn{suffix}"), scores


def check_rows(name: str, rows: Any) -> pd.DataFrame:
    """Return `rows` if they are per-image rows that can be scored, else raise InputError."""
    if not hasattr(rows, "columns"):
        raise InputError(f"{name}: expected a DataFrame of per-image rows, found {type(rows)}")
    further = [f"{kind}_{n}" for n in _further_matchings(rows) for kind in ("tp", "fp", "fn")]
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


def _further_scores(rows: pd.DataFrame) -> dict[str, float]:
    """Return the further scores whose columns `rows` has."""
    return {
        name: float(score(*(rows[column].to_numpy(np.float64) for column in columns)))
        for name, (columns, score) in FURTHER_SCORES.items()
        if set(columns) <= set(rows.columns)
    }


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


FURTHER_SCORES: Registry[tuple[tuple[str, ...], Callable[..., Any]]] = Registry(
    "further score",
    {
        "px_precision": (PIXELS, _pixel("precision")),
        "px_recall": (PIXELS, _pixel("recall")),
        "px_specificity": (PIXELS, _pixel("specificity")),
        "px_accuracy": (PIXELS, _pixel("accuracy")),
        "px_f_score": (PIXELS, _pixel("f_score")),
        "px_mcc": (PIXELS, _pixel("mcc")),
        "pq": (("iou_sum", "tp", "fp", "fn"), _quality),
        "ap": (("ap",), _mean),
        "splits": (("splits", "n_true"), _per_hundred),
        "merges": (("merges", "n_true"), _per_hundred),
    },
)
"""Columns of a further score, and the function that pools them over the last axis."""
