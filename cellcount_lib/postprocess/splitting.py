"""Splitting objects where they are narrow, or where the heatmap between two peaks is low.

`Necks`, the recommended way, starts from the distance transform: how far is a pixel from the
background? Its peaks lie in the middle of cells, its saddles in the necks between them. A marker
is put on each peak that is to be a cell, and a flood from the markers, highest ground first, finds
the borders. `Peaks` does the same on the heatmap itself, where a network draws how deep inside its
cell a pixel lies.

References
----------
P. Soille, Morphological Image Analysis, 2nd ed. 2003, section 6.3.4 (h-maxima).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from cellcount_lib.data.sample import components
from cellcount_lib.errors import InputError
from cellcount_lib.postprocess.cleaning import LENGTH, Heatmap, Labels, Mask, Way


@dataclass(frozen=True)
class Necks(Way):
    """Split at necks of the mask that are narrower than both sides, and lose no object.

    Two peaks of the distance map are two cells if every way between them leads more than `depth`
    down from the lower one, that is, through a neck narrower by it on either side (h-maxima).

    Examples
    --------
    >>> y, x = np.ogrid[:60, :100]
    >>> two = ((y - 30) ** 2 + (x - 34) ** 2 < 400) | ((y - 30) ** 2 + (x - 66) ** 2 < 400)
    >>> int(Necks(1.5).split(two.astype(np.int32), below=200).max())
    2
    """

    depth: float = field(default=0.0, metadata=LENGTH)

    def split(self, objects: Labels, below: int = 0, heatmap: Heatmap | None = None) -> Labels:
        """Join small pieces to their neighbours."""
        return _split(objects, lambda window, mask: distance_inside(mask), self.depth, below)


@dataclass(frozen=True)
class Peaks(Way):
    """Split at passes of the heatmap: every peak of it is a cell.

    A peak counts if every way to a higher one leads more than `height` down.

    Examples
    --------
    >>> heatmap = np.array([[0.6, 0.9, 0.6, 0.9, 0.6]] * 3)
    >>> Peaks(0.1).split(np.ones((3, 5), np.int32), below=2, heatmap=heatmap)[0].tolist()
    [1, 1, 1, 2, 2]
    """

    height: float = 0.0

    def split(self, objects: Labels, below: int = 0, heatmap: Heatmap | None = None) -> Labels:
        """Join small pieces to their neighbours."""
        if heatmap is None:
            raise InputError("heatmap: expected one beside the mask, to look for its peaks")
        heights = heatmap.astype(np.float64)
        return _split(objects, lambda window, mask: heights[window], self.height, below)


def distance_inside(mask: Mask) -> NDArray[np.float64]:
    """Euclidean distance to the nearest background pixel: the bits of SciPy's, but faster.

    `edt` returns squared distances, whole numbers that float32 holds exactly up to 4096 pixels.

    Examples
    --------
    >>> distance_inside(np.array([[False, True, True, True]])).tolist()
    [[0.0, 1.0, 2.0, 3.0]]
    """
    if mask.all() or max(mask.shape) > 4096:
        return ndimage.distance_transform_edt(mask)
    squared: NDArray[np.float32] = edt.edtsq(np.ascontiguousarray(mask), parallel=1)
    return np.sqrt(squared.astype(np.float64))


def _split(
    objects: Labels,
    ground_of: Callable[[tuple[slice, ...], Mask], NDArray[np.float64]],
    depth: float,
    below: int,
) -> Labels:
    """Split every object by the peaks of its ground that stand out by `depth`.

    While a piece has fewer than `below` pixels, the smallest joins its neighbour over the highest
    pass. The highest peak of an object is always a marker, so no object vanishes.
    """
    out = np.zeros_like(objects)
    count = 0
    for label, box in enumerate(ndimage.find_objects(objects), start=1):
        if box is None:
            continue
        # a pixel of margin holds the background nearest to the object
        window = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        mask = objects[window] == label
        ground = ground_of(window, mask)
        ground = np.where(mask, ground, ground.min())  # no peak is outside
        domes = reconstruction(ground - depth, ground)
        markers = components(mask & local_maxima(domes).astype(bool), 2)
        if markers.max() > 1:
            pieces = watershed(-ground, markers, connectivity=2, mask=mask)
            pieces = _join_small(pieces, ground, below)
        else:
            pieces = mask.astype(np.int32)
        out[window][mask] = pieces[mask] + count
        count += int(pieces.max())
    return out


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
