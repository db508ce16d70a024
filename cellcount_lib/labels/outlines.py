"""Outlines of objects along the edges of their pixels, and the pixels inside outlines.

A polygon runs around the pixels, not through their centres: its area is exactly the number of
pixels, and filling it gives the object back.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.errors import DataError

Ring = NDArray[np.int64]  # (n, 2): corners as (x, y), the first not repeated
Box = tuple[slice, slice]
MOST_CROSSINGS = 2**26  # of outlines and rows of pixels, for one object


def rings(mask: NDArray[np.bool_], *, diagonal: bool) -> list[Ring]:
    """Trace the boundary of a mask; on the screen, its inside is to the right of the path.

    By `ring_area`, outer rings have a positive area, holes a negative one. Where two pixels share
    only a corner, `diagonal` continues along one ring, so that an 8-connected object is one ring,
    which may touch itself; without it, rings are simple.

    Examples
    --------
    >>> [ring.tolist() for ring in rings(np.array([[True, True]]), diagonal=True)]
    [[[0, 0], [2, 0], [2, 1], [0, 1]]]
    """
    padded = np.pad(mask, 1).astype(np.int8)
    down, right = np.diff(padded, axis=0), np.diff(padded, axis=1)
    leaving: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Every edge between inside and outside, one pixel long, as (where from) -> (where to).
    for steps, table, (from_x, from_y), (x, y) in (
        (1, down, (0, 0), (1, 0)),
        (-1, down, (1, 0), (-1, 0)),
        (1, right, (0, 1), (0, -1)),
        (-1, right, (0, 0), (0, 1)),
    ):
        offset = (0, 1) if table is down else (1, 0)
        for row, column in np.argwhere(table == steps).tolist():
            start = (column - offset[1] + from_x, row - offset[0] + from_y)
            leaving.setdefault(start, []).append((x, y))
    traced = []
    while leaving:
        start = min(leaving, key=lambda corner: (corner[1], corner[0]))
        ring = _trace(leaving, start, diagonal)
        traced += [ring] if diagonal else _simple(ring)
    return traced


def _simple(ring: Ring) -> list[Ring]:
    """Cut a ring where it touches itself, as around two holes that share a corner."""
    simple: list[Ring] = []
    path: list[list[int]] = []
    for corner in ring.tolist():
        if corner in path:
            first = path.index(corner)
            simple.append(np.array(path[first:], np.int64))
            del path[first:]
        path.append(corner)
    return [*simple, np.array(path, np.int64)]


def _trace(
    leaving: dict[tuple[int, int], list[tuple[int, int]]], start: tuple[int, int], diagonal: bool
) -> Ring:
    """Follow edges from `start` until the ring closes, and use them up; return its corners."""
    at, step = start, min(leaving[start], key=lambda s: -s[0])
    corners = []
    came = (0, 0)
    while True:
        steps = leaving[at]
        if len(steps) == 2 and came != (0, 0):
            # Clockwise on the screen: a left turn crosses to the diagonal pixel.
            left = (came[1], -came[0])
            step = left if diagonal == (left in steps) else next(s for s in steps if s != left)
        elif came != (0, 0):
            step = steps[0]
        steps.remove(step)
        if not steps:
            del leaving[at]
        if step != came:
            corners.append(at)
        at, came = (at[0] + step[0], at[1] + step[1]), step
        if at == start and (not diagonal or start not in leaving):
            return np.array(corners, np.int64)


def ring_area(ring: Ring) -> float:
    """Area inside a ring: positive if it runs clockwise on the screen."""
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def one_ring(mask: NDArray[np.bool_]) -> Ring:
    """Return one ring around a mask, whatever its holes and pieces, for formats without these.

    From its first corner it goes to each further ring and back on the same way, so that these ways
    enclose nothing.

    Examples
    --------
    >>> one_ring(np.array([[True, False, True]])).tolist()
    [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0], [2, 0], [3, 0], [3, 1], [2, 1], [2, 0]]
    """
    first, *others = rings(mask, diagonal=True)
    path = [first]
    for ring in others:
        path += [first[:1], ring, ring[:1]]
    return np.concatenate(path)


def filled(
    outlines: Sequence[NDArray[Any]], shape: tuple[int, int]
) -> tuple[Box, NDArray[np.bool_]]:
    """Return the pixels whose centre is inside an odd number of rings, and where they lie.

    `outlines` have corners (x, y), also between pixels; what is outside of the picture is cut off.

    Examples
    --------
    >>> box, inside = filled([np.array([[1, 0], [3, 0], [3, 2]])], (2, 4))
    >>> box, inside.tolist()
    ((slice(0, 2, None), slice(1, 3, None)), [[True, True], [False, True]])
    """
    pieces = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in outlines]
    starts = np.concatenate([*pieces, np.empty((0, 2))])
    ends = np.concatenate([*(np.roll(ring, -1, axis=0) for ring in pieces), np.empty((0, 2))])
    if not np.isfinite(starts).all() or (abs(starts) > 1e9).any():
        raise DataError("expected outlines of finite numbers, found others")
    # a way that is gone to and fro crosses a row at the very same place
    turned = starts[:, 1] > ends[:, 1]
    x0, y0 = np.where(turned[:, None], ends, starts).T
    x1, y1 = np.where(turned[:, None], starts, ends).T
    limits = [(y0, shape[0]), (y1, shape[0])]
    first, stop = (np.clip(np.ceil(y - 0.5), 0, n).astype(np.int64) for y, n in limits)
    number = stop - first
    if (crossings := int(number.sum())) > MOST_CROSSINGS:
        raise DataError(f"expected an outline, found one that crosses {crossings} rows")
    if not crossings:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool)
    edge = np.repeat(np.arange(len(number)), number)
    row = np.arange(crossings) - np.repeat(np.cumsum(number) - number, number) + first[edge]
    along = (row + 0.5 - y0[edge]) / (y1[edge] - y0[edge])
    x = x0[edge] + along * (x1[edge] - x0[edge])
    column = np.clip(np.ceil(x - 0.5), 0, shape[1]).astype(np.int64)
    box = slice(int(row.min()), int(row.max()) + 1), slice(int(column.min()), int(column.max()))
    height, width = box[0].stop - box[0].start, box[1].stop - box[1].start
    flat = (row - box[0].start) * (width + 1) + column - box[1].start
    changes = np.bincount(flat, minlength=height * (width + 1)).reshape(height, width + 1)
    return box, np.cumsum(changes, axis=1)[:, :width] % 2 == 1


def objects(labels: NDArray[np.int32]) -> Iterator[tuple[int, Box, NDArray[np.bool_]]]:
    """Yield the number of every object, its box, and which pixels of the box are its own."""
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            yield label, box, labels[box] == label


def corner(box: Box) -> tuple[int, int]:
    """Return the upper left corner of a box as (x, y)."""
    return box[1].start, box[0].start
