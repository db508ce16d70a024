"""How well are the outlines of objects met? Average precision over IoU and panoptic quality.

Both take pairs (true labels, predicted labels) of all images of a test set; a prediction of None is
a missing one. Edge cases follow the contract in `detection`. Objects that were cut apart or run
together are counted by `matching.splits_and_merges`.

Why no assignment problem is solved here: labels do not overlap, so a true object shares more than
half of their union with one prediction at most, and the other way round. IoU > 0.5 is one-to-one.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.checks import check_labels
from cellcount_lib.errors import InputError
from cellcount_lib.scoring.detection import detection_scores, ratio
from cellcount_lib.scoring.matching import splits_and_merges
from cellcount_lib.scoring.objects import iou_matrix

# 0.5, 0.55, ..., 0.95: the ten thresholds of the Data Science Bowl 2018 (and of COCO).
IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))

Pair = tuple[NDArray[np.integer], NDArray[np.integer] | None]


class AveragePrecision(NamedTuple):
    """Average precision of the Data Science Bowl 2018."""

    ap: float  # mean over images and thresholds
    at: NDArray[np.float64]  # mean over images, for each threshold
    per_image: NDArray[np.float64]  # mean over thresholds, for each image


class PanopticQuality(NamedTuple):
    """PQ = SQ * RQ, and the counts it is made of: over all images, matched with IoU > 0.5."""

    pq: float  # panoptic quality
    sq: float  # segmentation quality
    rq: float  # recognition quality
    tp: int
    fp: int
    fn: int


def average_precision(
    pairs: Iterable[Pair], *, thresholds: Sequence[float] = IOU_THRESHOLDS
) -> AveragePrecision:
    """Average precision as the Data Science Bowl 2018 scored it.

    Per image and IoU threshold t: TP/(TP+FP+FN), matched with IoU > t. Mean over thresholds, then
    over images, so an image with two nuclei weighs as much as one with two hundred.

    Not the AP of COCO, which ranks the detections of all images by confidence, matches them
    greedily with IoU >= t, and integrates precision over recall. Labels have no confidence to rank
    by; the numbers of the two are not comparable. What is averaged here is the accuracy of
    `detection_scores` (also known as threat score). Thresholds lie in [0.5, 1): below 0.5 matches
    would not be one-to-one.

    References
    ----------
    Caicedo et al. (2019), Nature Methods 16:1247, "Nucleus segmentation across imaging
    experiments: the 2018 Data Science Bowl".

    Examples
    --------
    A prediction of 3 of 4 pixels (IoU 0.75) is a match at 0.5, 0.55, ..., 0.7:

    >>> true, pred = np.array([[1, 1, 1, 1]]), np.array([[1, 1, 1, 0]])
    >>> average_precision([(true, pred)]).ap
    0.5
    """
    at = np.asarray(thresholds, np.float64)
    if at.ndim != 1 or at.size == 0 or not ((at >= 0.5) & (at < 1)).all():
        raise InputError(f"thresholds: expected IoUs in [0.5, 1), found {thresholds!r}")
    scores = []
    for iou in _all_ious(pairs):
        n_true, n_pred = iou.shape
        tp = (iou[:, :, None] > at).sum(axis=(0, 1))
        scores.append(detection_scores(tp, n_pred - tp, n_true - tp).accuracy)
    table = np.array(scores)
    return AveragePrecision(float(table.mean()), table.mean(axis=0), table.mean(axis=1))


def panoptic_quality(pairs: Iterable[Pair]) -> PanopticQuality:
    """Panoptic quality for one class of objects, pooled over all images.

    SQ is the mean IoU of matched objects, RQ their F1 (matched with IoU > 0.5), PQ = SQ * RQ. All
    three are 1.0 for no object and no prediction; SQ is 0.0 when nothing matches.

    References
    ----------
    Kirillov et al. (2019), "Panoptic segmentation", CVPR, Eq. 1-2.

    Examples
    --------
    >>> true, pred = np.array([[1, 1, 1, 1, 0, 2]]), np.array([[1, 1, 1, 0, 0, 0]])
    >>> panoptic_quality([(true, pred)])
    PanopticQuality(pq=0.5, sq=0.75, rq=0.6666666666666666, tp=1, fp=0, fn=1)
    """
    tp = fp = fn = 0
    total = 0.0
    for iou in _all_ious(pairs):
        matched = iou[iou > 0.5]
        tp += matched.size
        fn += iou.shape[0] - matched.size
        fp += iou.shape[1] - matched.size
        total += float(matched.sum())
    rq = detection_scores(tp, fp, fn).f1
    sq = ratio(total, tp, perfect=tp == fp == fn == 0)
    return PanopticQuality(sq * rq, sq, rq, tp, fp, fn)


def _all_ious(pairs: Iterable[Pair]) -> list[NDArray[np.float64]]:
    """One (n_true, n_pred) matrix per image."""
    ious = []
    for true, pred in pairs:
        true = check_labels("true labels", true)
        ious.append(iou_matrix(true, np.zeros_like(true) if pred is None else pred)[0])
    if not ious:
        raise InputError("pairs: expected at least one image, found none")
    return ious


INSTANCES = ("splits", "merges", "iou_sum", "ap")


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
