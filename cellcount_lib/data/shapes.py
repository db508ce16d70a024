"""What labels say of the cells' shapes at every pixel: how near an outline, how deep, which way.

The two best-known methods for touching cells let a network draw these. StarDist: the distances from
a pixel to the edge of its cell along rays, and how deep the pixel lies. Cellpose: the direction in
which heat that leaves the middle of the cell falls off, reversed, so that whoever follows the
arrows ends in the middle.

Taught in: 09_touching_cells

References
----------
U. Schmidt, M. Weigert, C. Broaddus, G. Myers, "Cell Detection with Star-Convex Polygons", MICCAI
2018; M. Weigert et al., "Star-convex Polyhedra for 3D Object Detection and Segmentation in
Microscopy", WACV 2020.
C. Stringer, T. Wang, M. Michaelos, M. Pachitariu, "Cellpose: a generalist algorithm for cellular
segmentation", Nature Methods 2021.
"""

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from skimage.segmentation import find_boundaries

Labels = NDArray[np.integer]
RAYS = 16  # StarDist's default is 32; 16 keep 97% of a disc's area, and half of the numbers
RAY_UNIT = 8.0  # pixels that a network calls 1
FARTHEST = 64  # pixels
FLOW_UNIT = 5.0  # what a network calls a step of one pixel (Cellpose)
AROUND = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


def outlines(labels: Labels, width: int) -> NDArray[np.bool_]:
    """Mark the pixels within `width` / 2 of an outline, on both sides of it.

    Examples
    --------
    >>> outlines(np.array([[0, 0, 0, 5, 5, 5]]), 4).tolist()
    [[False, True, True, True, True, False]]
    """
    return _from_outlines(labels) < width / 2


def bell(labels: Labels, width: int, widest: int = 8) -> NDArray[np.uint8]:
    """Draw a Gaussian bell over the distance to the nearest outline, which runs between two pixels.

    The pixels beside the outline have 255, those at `width` / 2 would have one half of it, and
    those beyond `widest` / 2 have 0. (S4 gives the first and the last; the width is ours, that of
    its best outlines.)

    Examples
    --------
    >>> bell(np.array([[0, 0, 0, 0, 0, 0, 1, 1]]), 4).tolist()
    [[0, 0, 28, 84, 176, 255, 255, 176]]
    """
    beside = _from_outlines(labels)  # half a pixel less than the distance
    fall = np.log(2) / (width**2 / 4 - 1 / 4)
    height = 255 * np.exp(-fall * (beside**2 + beside))  # (beside + 1/2)^2 - 1/4
    return np.where(beside < widest / 2, np.rint(height), 0).astype(np.uint8)


def _from_outlines(labels: Labels) -> NDArray[np.float64]:
    """Distance from the nearest pixel that has an outline beside it; infinite without outlines."""
    edge = find_boundaries(labels)  # a pixel on both sides
    if not edge.any():
        return np.full(labels.shape, np.inf)
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~edge)
    return distance


def depths(labels: Labels) -> NDArray[np.float32]:
    """Distance to the edge of its cell of every pixel, over that of the cell's deepest; 0 outside.

    Of a cell that fills the picture no edge is in view: all of it is deepest.

    Examples
    --------
    >>> depths(np.array([[0, 1, 1, 1, 1, 1, 0]] * 9))[4, :4].round(2)
    array([0.  , 0.33, 0.67, 1.  ], dtype=float32)
    """
    labels = np.ascontiguousarray(labels, np.int32)
    distance = edt.edt(labels, black_border=False, parallel=1)
    distance = np.minimum(distance, np.float32(sum(labels.shape)))  # infinite without an edge
    numbers = np.arange(int(labels.max()) + 1)
    deepest = np.asarray(ndimage.maximum(distance, labels, numbers), np.float32)
    share: NDArray[np.float32] = distance / np.maximum(deepest, np.float32(1e-6))[labels]
    return share


def directions(number: int = RAYS) -> NDArray[np.float64]:
    """Return unit vectors (number, 2), row before column: ray 0 to the right, then downwards."""
    angles = 2 * np.pi * np.arange(number) / number
    return np.column_stack([np.sin(angles), np.cos(angles)])


def rays(labels: Labels, number: int = RAYS) -> NDArray[np.float32]:
    """Distances to where rays first leave the cell of their pixel: (..., number, H, W).

    A ray is followed pixel by pixel and ends half a step before the first pixel that is not of the
    cell, at the edge of the picture, or after `FARTHEST` steps. Outside of cells distances are 0.

    Examples
    --------
    >>> rays(np.array([[0, 3, 3, 3, 0]]), 4)[[0, 3], 0].tolist()
    [[0.0, 2.5, 1.5, 0.5, 0.0], [0.0, 0.5, 0.5, 0.5, 0.0]]
    """
    # Pictures lie one after the other in one row of numbers, with so much background around that no
    # ray reaches the next line: a step is then a shift of the row.
    edge = [(0, 0)] * (labels.ndim - 2) + [(0, FARTHEST)] * 2
    padded = np.pad(labels.astype(np.min_scalar_type(labels.max(initial=0))), edge)
    row, width = padded.ravel(), padded.shape[-1]
    background = np.zeros(FARTHEST * (width + 1), row.dtype)
    whole = np.concatenate([background, row, background])
    first, cells = background.size, row > 0
    out = np.empty((*labels.shape[:-2], number, *labels.shape[-2:]), np.float32)
    for k, direction in enumerate(directions(number)):
        stride = direction / np.abs(direction).max()  # to the next line or column
        inside, passed = cells.copy(), np.zeros(row.size, np.uint8)
        for step in range(1, FARTHEST + 1):
            dy, dx = np.rint(step * stride).astype(int)
            start = first + dy * width + dx
            inside &= row == whole[start : start + row.size]
            if not inside.any():
                break
            passed += inside
        passed = passed.reshape(padded.shape)[..., : labels.shape[-2], : labels.shape[-1]]
        out[..., k, :, :] = passed * np.float32(np.hypot(*stride))
        out[..., k, :, :] += 0.5 * np.hypot(*stride)
    return out * (labels > 0)[..., None, :, :]


def flows(labels: Labels) -> NDArray[np.float32]:
    """Unit vectors towards the middle of each pixel's cell, (2, H, W), row before column.

    Heat enters every cell at its middle, the pixel nearest to the median row and column, spreads to
    the eight neighbours, and is lost at the edge of the cell; the vector is the gradient of the
    logarithm of the heat. It is 0 outside of cells, and where it has no direction.

    Examples
    --------
    >>> flows(np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]))[1, 1].tolist()
    [0.0, 1.0, 0.0, -1.0, 0.0]
    """
    out = np.zeros((2, *labels.shape), np.float32)
    y, x = np.nonzero(labels)
    if y.size == 0:
        return out
    cell = labels[y, x]
    place = np.full(np.add(labels.shape, 2), y.size)  # y.size is nowhere
    place[y + 1, x + 1] = np.arange(y.size)
    near = np.stack([place[y + 1 + dy, x + 1 + dx] for dy, dx in AROUND], axis=1)
    near[np.append(cell, 0)[near] != cell[:, None]] = y.size
    inside = near < y.size
    ends = np.concatenate([[0], inside.sum(axis=1).cumsum()])
    mean = csr_array((np.full(ends[-1], 1 / len(AROUND)), near[inside], ends), (y.size, y.size))
    numbers = np.unique(cell)
    row, column = (ndimage.median(v, cell, numbers)[np.searchsorted(numbers, cell)] for v in (y, x))
    middles = ndimage.minimum_position((y - row) ** 2 + (x - column) ** 2, cell, numbers)
    source = np.zeros(y.size)
    source[np.ravel(middles)] = 1
    heat = np.zeros(y.size + 1)
    boxes = [box for box in ndimage.find_objects(labels) if box is not None]
    for _ in range(2 * max(sum(side.stop - side.start for side in box) for box in boxes)):
        heat[:-1] = mean @ (heat[:-1] + source)
    level = np.log1p(heat)
    up, left, right, down = (near[:, AROUND.index(d)] for d in ((-1, 0), (0, -1), (0, 1), (1, 0)))
    slope = np.stack([level[down] - level[up], level[right] - level[left]])
    steep = np.hypot(*slope)
    out[:, y, x] = np.where(steep > 1e-12, slope / np.maximum(steep, 1e-12), 0)
    return out
