"""Telling touching cells apart, from the shape of their mask alone.

All ways start from the distance transform: how far is a pixel from the background? Its peaks lie in
the middle of cells, its saddles in the necks between them. A marker is put on each peak that is to
be a cell, and a flood from the markers, highest ground first, finds the borders.

`plateau_markers` and `flood_with_line` are the way of both studies (R21, R23), written anew from
what the released code does with scikit-image up to 0.24; `split_at_necks` is the recommended one.

Taught in: 09_touching_cells

References
----------
P. Soille, Morphological Image Analysis, 2nd ed. 2003, section 6.3.4 (h-maxima); P. Neubert and
P. Protzel, Compact watershed and preemptive SLIC, ICPR 2014 (the cost of `flood_with_line`).
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import sqrt

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]


def connected(mask: Mask, connectivity: int = 1) -> Labels:
    """Label connected pixels: by edges (1), or by edges and corners (2).

    Examples
    --------
    >>> connected(np.array([[True, False], [False, True]]), 2).tolist()
    [[1, 0], [0, 1]]
    """
    structure = ndimage.generate_binary_structure(2, connectivity)
    labels: Labels = ndimage.label(mask, structure, output=np.int32)[0]
    return labels


def drop_small(labels: Labels, below: int) -> Labels:
    """Set labels with fewer than `below` pixels to background; the others keep their number.

    Examples
    --------
    >>> drop_small(np.array([[1, 0, 2, 2]], np.int32), 2).tolist()
    [[0, 0, 2, 2]]
    """
    small = np.bincount(labels.ravel()) < below
    return np.where(small[labels], np.int32(0), labels) if small[1:].any() else labels


def distance_inside(mask: Mask) -> NDArray[np.float64]:
    """Euclidean distance to the nearest background pixel: the bits of SciPy's, but faster.

    `edt` returns squared distances, whole numbers that float32 holds exactly up to 4096 pixels.

    Examples
    --------
    >>> distance_inside(np.array([[False, True, True, True]])).tolist()
    [[0.0, 1.0, 2.0, 3.0]]
    """
    if mask.all() or max(mask.shape) > 4096:
        exact: NDArray[np.float64] = ndimage.distance_transform_edt(mask)
        return exact
    squared: NDArray[np.float32] = edt.edtsq(np.ascontiguousarray(mask), parallel=1)
    return np.sqrt(squared.astype(np.float64))


def plateau_markers(
    distance: NDArray[np.float64],
    mask: Mask,
    *,
    spread: int = 30,
    footprint: int = 40,
    below: int = 25,
    connectivity: int = 1,
    flat_is_empty: bool = True,
) -> Labels:
    """Mark the plateaus that a maximum filter makes of the peaks of the distance map (R21, R23).

    Parameters
    ----------
    distance : ndarray of float64, shape (H, W)
        Of the whole picture, or of a window `spread` pixels larger than its objects on each side:
        the lowest value of the spread map is never a plateau, and must be in view.
    mask : ndarray of bool, shape (H, W)
    spread, footprint : int
        Width of the filter, and of the window in which a plateau must be highest.
    below : int
        Markers with fewer (edge-connected) pixels are dropped.
    connectivity : int
        Of the pixels of a marker.
    flat_is_empty : bool
        Where every pixel of all objects is plateau, keep only those that an opening removes.

    Returns
    -------
    ndarray of int32, shape (H, W)
    """
    high = ndimage.maximum_filter(distance, size=spread, mode="constant")
    highest = ndimage.maximum_filter(np.where(mask, high, 0.0), size=footprint, mode="constant")
    plateau = mask & (high == highest)
    if flat_is_empty and np.array_equal(plateau, mask):
        plateau &= ~ndimage.binary_opening(mask)
    plateau &= high > high.min()
    return connected(drop_small(connected(plateau), below) > 0, connectivity)


def flood_with_line(distance: NDArray[np.float64], markers: Labels, mask: Mask) -> Labels:
    """Flood edge-connected objects from their markers, leaving a line between two labels.

    Objects without marker are dropped; one with a single marker is taken whole. Equal to
    scikit-image's ``watershed(-distance, markers, mask=mask, compactness=1, watershed_line=True)``
    up to 0.24 except where two labels have exactly equal claims to a pixel of the line (1 in 100
    random masks); later versions draw no line with compactness.
    """
    objects = connected(mask)
    marker_pixels = np.flatnonzero(markers)
    object_of = np.zeros(int(markers.max()) + 1, np.int32)
    object_of[markers.ravel()[marker_pixels]] = objects.ravel()[marker_pixels]
    marks = np.bincount(object_of[1:], minlength=int(objects.max()) + 1)
    only = np.zeros(marks.size, np.int32)
    only[object_of[1:]] = np.arange(1, object_of.size)
    only[marks > 1] = 0
    labels = only[objects]
    for label, box in enumerate(ndimage.find_objects(objects), start=1):
        if marks[label] > 1:
            inside = objects[box] == label
            labels[box][inside] = _flood(distance[box], markers[box] * inside, inside)[inside]
    return labels


def _flood(distance: NDArray[np.float64], markers: Labels, mask: Mask) -> Labels:
    """Flood one object: the pixel with the lowest cost gets the label of the flood that reached it.

    The cost of a pixel is its way from the marker pixel that the flood came from, less its distance
    to the background. Among equals the first in line goes first, marker pixels in reading order.
    """
    # a frame of background spares the question whether a neighbour is in the picture
    width = mask.shape[1] + 2
    depth = np.pad(distance, 1).ravel().tolist()
    label = np.pad(markers, 1).ravel().tolist()
    dry = np.pad(mask, 1).ravel().tolist()
    steps = (-width, -1, 1, width)
    waiting = [  # (cost, turn, pixel, marker pixel)
        (-depth[i], 0, i, i)
        for i in np.flatnonzero(np.pad(markers, 1)).tolist()
        if any(dry[i + step] and not label[i + step] for step in steps)
    ]
    heapify(waiting)
    turn = 0
    while waiting:
        _, _, pixel, source = heappop(waiting)
        if not dry[pixel] or (label[pixel] and pixel != source):
            continue
        if len({label[pixel + step] for step in steps if dry[pixel + step]} - {0}) > 1:
            dry[pixel] = False  # between two labels: line
            continue
        label[pixel] = label[source]
        for step in steps:
            near = pixel + step
            if dry[near] and not label[near]:
                turn += 1
                rows = near // width - source // width
                columns = near % width - source % width
                cost = sqrt(rows * rows + columns * columns) - depth[near]
                heappush(waiting, (cost, turn, near, source))
    return np.array(label, np.int32).reshape(-1, width)[1:-1, 1:-1]


def split_at_necks(labels: Labels, *, depth: float, below: int) -> Labels:
    """Split every object at necks that are narrower than both sides, and lose none.

    Two peaks of the distance map are two cells if every way between them leads more than `depth`
    pixels down from the lower one, that is, through a neck narrower by `depth` on either side
    (h-maxima). While a piece has fewer than `below` pixels, the smallest joins its neighbour over
    the highest pass. The highest peak of an object is always a marker, so no object vanishes.

    Examples
    --------
    >>> y, x = np.ogrid[:60, :100]
    >>> two = ((y - 30) ** 2 + (x - 34) ** 2 < 400) | ((y - 30) ** 2 + (x - 66) ** 2 < 400)
    >>> int(split_at_necks(two.astype(np.int32), depth=1.5, below=200).max())
    2
    """
    out = np.zeros_like(labels)
    count = 0
    for window, mask in _objects_with_margin(labels):
        pieces = _pieces(mask, depth, below)
        out[window][mask] = pieces[mask] + count
        count += int(pieces.max())
    return out


def split_at_peaks(
    labels: Labels, heatmap: NDArray[np.floating], *, height: float, below: int
) -> Labels:
    """Split every object at the passes of its heatmap: each peak is a cell.

    A peak counts if every way to a higher one leads more than `height` down. Pieces with fewer than
    `below` pixels join their neighbour.

    Examples
    --------
    >>> heatmap = np.array([[0.6, 0.9, 0.6, 0.9, 0.6]] * 3)
    >>> split_at_peaks(np.ones((3, 5), np.int32), heatmap, height=0.1, below=2)[0].tolist()
    [1, 1, 1, 2, 2]
    """
    out = np.zeros_like(labels)
    count = 0
    for window, mask in _objects_with_margin(labels):
        ground = np.where(mask, heatmap[window].astype(np.float64), -height - 1)
        pieces = _pieces_of(ground, mask, height, below)
        out[window][mask] = pieces[mask] + count
        count += int(pieces.max())
    return out


def _objects_with_margin(labels: Labels) -> Iterator[tuple[tuple[slice, slice], Mask]]:
    """Window and mask of each object; a pixel of margin holds the background nearest to it."""
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            rows, columns = (slice(max(0, side.start - 1), side.stop + 1) for side in box)
            yield (rows, columns), labels[rows, columns] == label


def _pieces(mask: Mask, depth: float, below: int) -> Labels:
    ground = np.where(mask, distance_inside(mask), -depth - 1)
    return _pieces_of(ground, mask, depth, below)


def _pieces_of(ground: NDArray[np.float64], mask: Mask, depth: float, below: int) -> Labels:
    """Pieces of one object by the peaks of `ground`, which lies lower outside of the mask."""
    domes = reconstruction(ground - depth, ground)
    markers = connected(mask & local_maxima(domes).astype(bool), 2)
    if markers.max() <= 1:
        return mask.astype(np.int32)
    pieces: Labels = watershed(-ground, markers, connectivity=2, mask=mask)
    return _join_small(pieces, ground, below)


def _join_small(pieces: Labels, distance: NDArray[np.float64], below: int) -> Labels:
    """Join pieces of fewer than `below` pixels, the smallest first, and number what is left."""
    sizes = np.bincount(pieces.ravel()).tolist()
    if min(sizes[1:]) >= below:
        return pieces
    passes = _passes(pieces, distance)
    host_of = np.arange(len(sizes), dtype=np.int32)
    order = []
    waiting = [(size, piece) for piece, size in enumerate(sizes) if piece]
    heapify(waiting)
    while waiting:
        size, piece = heappop(waiting)
        if size != sizes[piece]:
            continue  # it has grown since, and waits elsewhere
        if size >= below:
            break
        near = passes.pop(piece, {})
        if not near:
            continue  # nothing is left to join
        host = max(near, key=lambda other: (near[other], -other))
        for other, height in near.items():
            del passes[other][piece]
            if other != host:
                highest = max(height, passes[host].get(other, 0.0))
                passes[host][other] = passes[other][host] = highest
        host_of[piece] = host
        order.append(piece)
        sizes[piece], sizes[host] = 0, sizes[host] + size
        heappush(waiting, (sizes[host], host))
    for piece in reversed(order):  # a host may have joined another one later
        host_of[piece] = host_of[host_of[piece]]
    left = np.unique(host_of[1:])
    number = np.zeros(len(sizes), np.int32)
    number[left] = np.arange(1, left.size + 1)
    return number[host_of][pieces]


def _passes(pieces: Labels, distance: NDArray[np.float64]) -> dict[int, dict[int, float]]:
    """Height of the highest pass between each two pieces that touch, by edges or corners."""
    passes: dict[int, dict[int, float]] = {}
    height, width = pieces.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        rows = slice(0, height - dy), slice(dy, height)
        columns = slice(max(0, -dx), width - max(0, dx)), slice(max(0, dx), width + min(0, dx))
        a, b = pieces[rows[0], columns[0]], pieces[rows[1], columns[1]]
        touch = (a != b) & (a > 0) & (b > 0)
        lower = np.minimum(distance[rows[0], columns[0]], distance[rows[1], columns[1]])[touch]
        for one, other, pass_ in zip(
            *(v.tolist() for v in (a[touch], b[touch], lower)), strict=True
        ):
            for here, there in ((one, other), (other, one)):
                known = passes.setdefault(here, {})
                known[there] = max(pass_, known.get(there, 0.0))
    return passes
