"""Which predicted object is which true object? Five rules, from one table of overlaps or distances.

Counting needs no matching, but a count can be right for the wrong reasons. A rule pairs true with
predicted objects; what is left over is missed (FN) or invented (FP).

====================== ========================================================== ============
rule                   a true and a predicted object match if                     one-to-one
====================== ========================================================== ============
``2021``               the prediction, in label order, takes the nearest true     yes, greedy
                       object still free whose centre is **closer than** the
                       threshold
``2023-distance``      centroids are **at most** the threshold apart              no
``2023-iou``           IoU is **above** the threshold                             no
``hungarian-distance`` as 2023-distance; most matches, then shortest distances    yes, optimal
``hungarian-iou``      as 2023-iou; most matches, then largest IoU                yes, optimal
====================== ========================================================== ============

Peculiarities that change scores (R21, R23, read for facts; S3 describes the first from the side of
the true objects, the code goes through the predicted ones):

- 2021 takes the centre of the bounding box, cut to whole pixels, for the centre of an object. Its
  result depends on the order of the labels: an early prediction can take a later one's partner.
- The rules of 2023 are two-sided: TP and FN count true objects with or without **any** prediction
  in reach, FP counts predictions without any true object in reach. By distance, a cell predicted as
  two halves is one TP and no FP, and two cells predicted as one are two TP. TP + FP need not be the
  number of predictions.

Taught in: 06_threshold_and_ruler
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from cellcount_lib.checks import check_positive
from cellcount_lib.errors import InputError
from cellcount_lib.registry import Registry
from cellcount_lib.scoring.objects import (
    Floats,
    Ints,
    Labelled,
    Objects,
    box_centres,
    centroids,
    contingency,
    iou_matrix,
    listed_pair,
)


class Matches(NamedTuple):
    """What a rule found in one picture."""

    tp: int
    fp: int
    fn: int
    n_true: int
    n_pred: int
    # (true label, predicted label) of each match, shape (K, 2). Under the rules of 2023, one row
    # for each true object found, with the best prediction in reach; a prediction may then stand in
    # many rows.
    pairs: Ints


class SplitsMerges(NamedTuple):
    """Objects cut apart and objects run together; see `splits_and_merges`."""

    splits: int
    merges: int


def match(true: Labelled, pred: Labelled, *, rule: str, threshold: float) -> Matches:
    """Match predicted with true objects, labels (H, W) or `listed`, by one of `RULES`.

    The threshold is in pixels for the distance rules, an IoU in [0, 1) for the others.

    Examples
    --------
    >>> true = np.array([[1, 1, 1, 0, 2, 2]])
    >>> pred = np.array([[7, 7, 0, 0, 0, 9]])
    >>> match(true, pred, rule="hungarian-iou", threshold=0.5)[:3]
    (1, 1, 1)
    >>> match(true, pred, rule="hungarian-distance", threshold=0.5)[:3]
    (2, 0, 0)
    """
    true, pred = listed_pair(true, pred)
    applied = RULES[rule]
    if rule.endswith("iou"):
        if not 0 <= threshold < 1:
            raise InputError(f"threshold: expected an IoU in [0, 1), found {threshold!r}")
    else:
        check_positive("threshold", threshold)
    pairs, tp, fp, fn = applied(true, pred, float(threshold))
    pairs = np.stack([true.ids[pairs[:, 0]], pred.ids[pairs[:, 1]]], axis=1)
    return Matches(tp, fp, fn, true.ids.size, pred.ids.size, pairs)


def splits_and_merges(true: Labelled, pred: Labelled) -> SplitsMerges:
    """Count true objects cut into several predictions, and predictions that hold several objects.

    A prediction is a piece of the true object that holds more than half of the prediction's pixels;
    a true object with n > 1 pieces counts n - 1 splits. A prediction that holds more than half of
    each of n > 1 true objects counts n - 1 merges.

    Examples
    --------
    >>> splits_and_merges(np.array([[1, 1, 1, 1]]), np.array([[1, 1, 2, 2]]))
    SplitsMerges(splits=1, merges=0)
    """
    c = contingency(true, pred)
    pieces = (c.table > c.pred_areas[None, :] / 2).sum(axis=1)
    held = (c.table > c.true_areas[:, None] / 2).sum(axis=0)
    return SplitsMerges(int(np.maximum(pieces - 1, 0).sum()), int(np.maximum(held - 1, 0).sum()))


def _distances(a: Floats | Ints, b: Floats | Ints) -> Floats:
    difference = a[:, None, :] - b[None, :, :]
    return np.sqrt((difference * difference).sum(axis=2))


# What a rule returns: pairs of positions, shape (K, 2), then TP, FP and FN.
Found = tuple[Ints, int, int, int]


def _one_to_one(rows: Ints, columns: Ints, n_true: int, n_pred: int) -> Found:
    tp = len(rows)
    return np.stack([rows, columns], axis=1), tp, n_pred - tp, n_true - tp


def _greedy_2021(true: Objects, pred: Objects, threshold: float) -> Found:
    distance = _distances(box_centres(true)[0], box_centres(pred)[0])
    n_true, n_pred = distance.shape
    partner = np.full(n_pred, -1)
    for column in range(n_pred if n_true else 0):
        row = int(np.argmin(distance[:, column]))  # the first of equally near ones
        if distance[row, column] < threshold:
            partner[column] = row
            distance[row] = np.inf
    columns = np.flatnonzero(partner >= 0)
    return _one_to_one(partner[columns], columns, n_true, n_pred)


def _two_sided(near: NDArray[np.bool_], quality: Floats) -> Found:
    found, explained = near.any(axis=1), near.any(axis=0)
    rows = np.flatnonzero(found)
    best = quality[rows].argmax(axis=1) if rows.size else rows
    pairs = np.stack([rows, best], axis=1)
    return pairs, rows.size, int((~explained).sum()), int((~found).sum())


def _hungarian(near: NDArray[np.bool_], quality: Floats) -> Found:
    # a further match gains more than all qualities, each in [0, 1], together
    gain = np.where(near, quality + min(near.shape) + 1, 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    kept = near[rows, columns]
    return _one_to_one(rows[kept], columns[kept], *near.shape)


Pairing = Callable[[NDArray[np.bool_], Floats], Found]
Rule = Callable[[Objects, Objects, float], Found]


def _by_distance(pairing: Pairing) -> Rule:
    def rule(true: Objects, pred: Objects, threshold: float) -> Found:
        distance = _distances(centroids(true)[0], centroids(pred)[0])
        return pairing(distance <= threshold, 1 - distance / threshold)

    return rule


def _by_iou(pairing: Pairing) -> Rule:
    def rule(true: Objects, pred: Objects, threshold: float) -> Found:
        iou = iou_matrix(true, pred)[0]
        return pairing(iou > threshold, iou)

    return rule


RULES: Registry[Rule] = Registry(
    "matching rule",
    {
        "2021": _greedy_2021,
        "2023-distance": _by_distance(_two_sided),
        "2023-iou": _by_iou(_two_sided),
        "hungarian-distance": _by_distance(_hungarian),
        "hungarian-iou": _by_iou(_hungarian),
    },
)
"""The rules by name; see the head of this module."""
