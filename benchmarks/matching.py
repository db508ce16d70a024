"""Matching: the rules written out as loops over objects, on whole pictures."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.harness import Case
from benchmarks.postprocess import discs
from cellcount_lib.postprocess.postprocess import postprocess
from cellcount_lib.scoring.matching import match

Labels = NDArray[np.integer]
Counts = tuple[int, int, int]


def names(labels: Labels) -> list[int]:
    return [int(i) for i in np.unique(labels) if i > 0]


def all_pairs_iou(true: Labels, pred: Labels) -> NDArray[np.float64]:
    """IoU of each pair of objects, from two masks of the whole picture per pair (as R23 does)."""
    iou = np.zeros((len(names(true)), len(names(pred))))
    for i, t in enumerate(names(true)):
        for j, p in enumerate(names(pred)):
            shared = np.sum((true == t) & (pred == p))
            iou[i, j] = shared / np.sum((true == t) | (pred == p))
    return iou


def all_pairs_distance(true: Labels, pred: Labels) -> NDArray[np.float64]:
    """Distance between the mean pixel positions of each pair of objects."""
    centres = [[np.argwhere(side == i).mean(axis=0) for i in names(side)] for side in (true, pred)]
    distance = np.zeros((len(centres[0]), len(centres[1])))
    for i, a in enumerate(centres[0]):
        for j, b in enumerate(centres[1]):
            distance[i, j] = np.hypot(*(a - b))
    return distance


def loop_2023(near: NDArray[np.bool_]) -> Counts:
    """TP and FN over true objects, FP over predicted ones; ``near`` has a row per true object."""
    tp = sum(any(row) for row in near)
    fp = sum(not any(column) for column in near.T)
    return tp, fp, len(near) - tp


def loop_2021(true: Labels, pred: Labels, threshold: float) -> Counts:
    """Each prediction in turn takes the nearest true object left, by centres of bounding boxes."""
    centres = []
    for side in (true, pred):
        boxes = [box for box in ndimage.find_objects(side) if box is not None]
        centres.append([tuple(s.start + int((s.stop - s.start) / 2) for s in b) for b in boxes])
    free, n_pred, tp = list(centres[0]), len(centres[1]), 0
    for y, x in centres[1]:
        best, nearest = threshold, None
        for k, (ty, tx) in enumerate(free):
            way = np.hypot(ty - y, tx - x)
            if way < best:
                best, nearest = way, k
        if nearest is not None:
            tp += 1
            free.pop(nearest)
    return tp, n_pred - tp, len(free)


def pictures(n: int) -> tuple[Labels, Labels]:
    """Labels of n discs, cut apart, and of a prediction of them that is a little off."""
    mask = discs(n)
    shifted = np.roll(mask, (4, 3), axis=(0, 1)) & ~discs(6, radius=25, seed=2)
    return tuple(postprocess(m, "morelli2021") for m in (mask, shifted))  # type: ignore


def cases() -> list[Case]:
    true, pred = pictures(48)  # 40 objects, as some of the discs overlap too much to be cut apart
    made = [
        Case(
            name=f"matching 2023-iou, 1600x1200, {true.max()} and {pred.max()} objects",
            ours=lambda: tuple(match(true, pred, rule="2023-iou", threshold=0.4)[:3]),
            reference=lambda: loop_2023(all_pairs_iou(true, pred) > 0.4),
            reference_is="two masks of the whole picture per pair",
            at_most_s=0.05,
            same=lambda ours, reference: ours == reference,
        )
    ]
    for rule, threshold in (("2021", 50), ("2023-distance", 40), ("hungarian-iou", 0.5)):
        made.append(
            Case(
                name=f"matching {rule}, same pictures",
                ours=lambda r=rule, t=threshold: match(true, pred, rule=r, threshold=t),  # type: ignore[misc]
                at_most_s=0.05,
            )
        )
    return made
