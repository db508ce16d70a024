"""Where labelled objects are and how they overlap, all objects at once.

A labelled picture is mostly background. `listed` looks at it once; everything else is counted from
the list of object pixels, never object by object or pair by pair over the whole picture.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.checks import check_labels
from cellcount_lib.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Objects(NamedTuple):
    """The objects of a labelled picture (H, W), as the list of their K pixels."""

    pixels: Ints  # places in the flattened picture, rising, shape (K,)
    number: Ints  # of the object that each belongs to, from 0, shape (K,)
    ids: Ints  # labels of the N objects, ascending, shape (N,)
    areas: Ints  # pixels of each object
    shape: tuple[int, int]


Labelled = NDArray[np.integer] | Objects


def listed(labels: Labelled, name: str = "labels") -> Objects:
    """List the objects of labels; what is listed already stays as it is.

    Examples
    --------
    >>> found = listed(np.array([[7, 0, 3, 7]]))
    >>> found.pixels.tolist(), found.number.tolist(), found.ids.tolist(), found.areas.tolist()
    ([0, 2, 3], [1, 0, 1], [3, 7], [1, 2])
    """
    if isinstance(labels, Objects):
        return labels
    labels = check_labels(name, labels)
    height, width = labels.shape
    pixels = np.flatnonzero(labels != 0)
    values = labels.ravel()[pixels]
    if values.max(initial=0) > labels.size:  # a table of huge numbers would fill the memory
        ids, number, areas = np.unique(values, return_inverse=True, return_counts=True)
        return Objects(pixels, number, ids.astype(np.int64), areas, (height, width))
    counts = np.bincount(values)
    present = np.flatnonzero(counts)
    position = np.zeros(counts.size, np.int64)
    position[present] = np.arange(present.size)
    return Objects(pixels, position[values], present, counts[present], (height, width))


class Contingency(NamedTuple):
    """How many pixels each true object shares with each predicted one."""

    table: Ints  # shared pixels, shape (T, P)
    true_ids: Ints  # labels of the rows, ascending, shape (T,)
    pred_ids: Ints  # labels of the columns, ascending, shape (P,)
    true_areas: Ints  # pixels of each object
    pred_areas: Ints


def contingency(true: Labelled, pred: Labelled) -> Contingency:
    """Count the pixels that true and predicted objects share, all pairs in one pass.

    Examples
    --------
    >>> contingency(np.array([[1, 1, 2]]), np.array([[0, 5, 5]])).table.tolist()
    [[1], [1]]
    """
    a, b = listed_pair(true, pred)
    _, in_a, in_b = np.intersect1d(a.pixels, b.pixels, assume_unique=True, return_indices=True)
    joint = a.number[in_a] * b.ids.size + b.number[in_b]
    table = np.bincount(joint, minlength=a.ids.size * b.ids.size)
    return Contingency(table.reshape(a.ids.size, b.ids.size), a.ids, b.ids, a.areas, b.areas)


def iou_matrix(true: Labelled, pred: Labelled) -> tuple[Floats, Ints, Ints]:
    """Return the intersection over union of all pairs, shape (T, P), and the labels of both sides.

    Examples
    --------
    >>> iou_matrix(np.array([[1, 1, 2]]), np.array([[0, 5, 5]]))[0].round(2).tolist()
    [[0.33], [0.5]]
    """
    c = contingency(true, pred)
    union = c.true_areas[:, None] + c.pred_areas[None, :] - c.table
    return c.table / union, c.true_ids, c.pred_ids


def centroids(labels: Labelled) -> tuple[Floats, Ints]:
    """Mean row and column of each object, shape (N, 2), and the labels.

    Examples
    --------
    >>> centroids(np.array([[0, 4, 4], [0, 0, 4]]))[0].round(2).tolist()
    [[0.33, 1.67]]
    """
    o = listed(labels)
    sums = [np.bincount(o.number, axis, o.ids.size) for axis in np.divmod(o.pixels, o.shape[1])]
    return np.stack(sums, axis=1) / o.areas[:, None], o.ids


def box_centres(labels: Labelled) -> tuple[Ints, Ints]:
    """Centre of each object's bounding box in whole pixels (R21), shape (N, 2), and the labels.

    Examples
    --------
    >>> box_centres(np.array([[0, 4, 4], [0, 0, 4]]))[0].tolist()
    [[1, 2]]
    """
    o = listed(labels)
    centres = np.zeros((o.ids.size, 2), np.int64)
    for side, axis in enumerate(np.divmod(o.pixels, o.shape[1])):
        first, stop = np.full(o.ids.size, o.shape[side]), np.zeros(o.ids.size, np.int64)
        np.minimum.at(first, o.number, axis)
        np.maximum.at(stop, o.number, axis + 1)
        centres[:, side] = first + (stop - first) // 2
    return centres, o.ids


def listed_pair(true: Labelled, pred: Labelled) -> tuple[Objects, Objects]:
    """List both sides of one picture, or raise."""
    a, b = listed(true, "true"), listed(pred, "pred")
    if a.shape != b.shape:
        raise InputError(
            f"expected arrays of the same height and width, found true {a.shape}, pred {b.shape}"
        )
    return a, b
