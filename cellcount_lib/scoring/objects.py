"""Where labelled objects are and how they overlap, all objects at once.

Everything here is counted in one pass over the pixels (``bincount``), never object by object or
pair by pair over the whole picture.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.checks import check_labels, check_same_shape

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Contingency(NamedTuple):
    """How many pixels each true object shares with each predicted one."""

    table: Ints  # shared pixels, shape (T, P)
    true_ids: Ints  # labels of the rows, ascending, shape (T,)
    pred_ids: Ints  # labels of the columns, ascending, shape (P,)
    true_areas: Ints  # pixels of each object
    pred_areas: Ints


def contingency(true: NDArray[np.integer], pred: NDArray[np.integer]) -> Contingency:
    """Count the pixels that true and predicted objects share, all pairs in one pass.

    Examples
    --------
    >>> contingency(np.array([[1, 1, 2]]), np.array([[0, 5, 5]])).table.tolist()
    [[1], [1]]
    """
    true, pred = check_pair(true, pred)
    (true, true_ids), (pred, pred_ids) = dense(true), dense(pred)
    where = np.flatnonzero((true > 0) & (pred > 0))
    joint = true.ravel()[where].astype(np.int64) - 1
    joint = joint * pred_ids.size + pred.ravel()[where] - 1
    table = np.bincount(joint, minlength=true_ids.size * pred_ids.size)
    areas = [
        np.bincount(a.ravel(), minlength=n.size + 1)[1:]
        for a, n in ((true, true_ids), (pred, pred_ids))
    ]
    return Contingency(table.reshape(true_ids.size, pred_ids.size), true_ids, pred_ids, *areas)


def iou_matrix(true: NDArray[np.integer], pred: NDArray[np.integer]) -> tuple[Floats, Ints, Ints]:
    """Return the intersection over union of all pairs, shape (T, P), and the labels of both sides.

    Examples
    --------
    >>> iou_matrix(np.array([[1, 1, 2]]), np.array([[0, 5, 5]]))[0].round(2).tolist()
    [[0.33], [0.5]]
    """
    c = contingency(true, pred)
    union = c.true_areas[:, None] + c.pred_areas[None, :] - c.table
    return c.table / union, c.true_ids, c.pred_ids


def centroids(labels: NDArray[np.integer]) -> tuple[Floats, Ints]:
    """Mean row and column of each object, shape (N, 2), and the labels.

    Examples
    --------
    >>> centroids(np.array([[0, 4, 4], [0, 0, 4]]))[0].round(2).tolist()
    [[0.33, 1.67]]
    """
    numbered, ids = dense(check_labels("labels", labels))
    pixels = np.flatnonzero(numbered)
    index = numbered.ravel()[pixels] - 1
    areas = np.bincount(index, minlength=ids.size)
    sums = [np.bincount(index, axis, ids.size) for axis in np.divmod(pixels, numbered.shape[1])]
    return np.stack(sums, axis=1) / areas[:, None], ids


def box_centres(labels: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """Centre of each object's bounding box in whole pixels (R21), shape (N, 2), and the labels.

    Examples
    --------
    >>> box_centres(np.array([[0, 4, 4], [0, 0, 4]]))[0].tolist()
    [[1, 2]]
    """
    numbered, ids = dense(check_labels("labels", labels))
    boxes = ndimage.find_objects(numbered)
    centres = [[side.start + (side.stop - side.start) // 2 for side in box] for box in boxes]
    return np.array(centres, np.int64).reshape(-1, 2), ids


def check_pair(
    true: NDArray[np.integer], pred: NDArray[np.integer]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return both as int32 labels of one picture, or raise."""
    true, pred = check_labels("true", true), check_labels("pred", pred)
    check_same_shape(["true", "pred"], [true, pred])
    return true, pred


def dense(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], Ints]:
    """Renumber 1..N without gaps, in the old order; also the old label of each.

    Examples
    --------
    >>> [a.tolist() for a in dense(np.array([[7, 0, 3]], np.int32))]
    [[[2, 0, 1]], [3, 7]]
    """
    top = int(labels.max())
    if top <= labels.size:
        ids = np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1
        if ids.size == top:
            return labels, ids
        number = np.zeros(top + 1, np.int32)
        number[ids] = np.arange(1, ids.size + 1)
        return number[labels], ids
    values, position = np.unique(labels, return_inverse=True)  # huge numbers would fill the memory
    position = position.reshape(labels.shape) + int(values[0] > 0)
    return position.astype(np.int32), values[values > 0].astype(np.int64)
