"""Cleaning a mask: specks go, holes are filled, the outline is smoothed, and objects get labels."""

from dataclasses import dataclass, field, fields, replace
from math import floor, isqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.sample import components
from cellcount_lib.errors import InputError

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]
Heatmap = NDArray[np.floating]

LENGTH = {"power": 1}  # follows the scale of an image
AREA = {"power": 2}  # its square
WINDOW = {"power": 1, "least": 1}  # the scale, too, but stays a pixel
CONNECTIVITY = {"allowed": (1, 2)}


@dataclass(frozen=True)
class Sized:
    """Base of dataclasses whose fields say in their metadata how they follow the scale."""

    def __post_init__(self) -> None:
        for own in fields(self):
            value, what = getattr(self, own.name), own.metadata
            if value not in what.get("allowed", (value,)):
                raise InputError(f"{own.name}: expected 1 or 2, found {value!r}")
            if value < (least := what.get("least", 0)):
                raise InputError(f"{own.name}: expected a number >= {least}, found {value!r}")

    def scaled(self, scale: float) -> Self:
        """Return the same for images resized by `scale`, whole numbers rounded, halves upwards."""
        sizes = {}
        for own in fields(self):
            if power := own.metadata.get("power"):
                size = getattr(self, own.name) * (scale if power == 1 else scale * scale)
                if isinstance(own.default, int):
                    size = max(own.metadata.get("least", 0), floor(size + 0.5))
                sizes[own.name] = size
        return replace(self, **sizes)


@dataclass(frozen=True)
class Cleaning(Sized):
    """What happens to a mask and its objects, however touching cells are told apart."""

    # opening, then closing with a disk of this radius; 0 leaves the outline as it is
    smooth_radius: int = field(default=0, metadata=LENGTH)
    # 4-connected background regions with fewer pixels are filled
    holes_below: int = field(default=0, metadata=AREA)
    # objects with fewer pixels are dropped (before splitting)
    objects_below: int = field(default=0, metadata=AREA)
    # smaller pieces are dropped (`Plateaus`), or joined to their neighbour (`Necks`, `Peaks`)
    pieces_below: int = field(default=0, metadata=AREA)
    # 1: pixels that share an edge are connected; 2: those that share a corner, too
    connectivity: int = field(default=1, metadata=CONNECTIVITY)

    def components(self, mask: Mask) -> Labels:
        """Label the connected components of the smoothed and filled mask, whatever their size."""
        if radius := self.smooth_radius:
            mask = _dilate(_erode(mask, radius), radius)
            mask = _erode(_dilate(mask, radius), radius)
        if self.holes_below:
            mask = fill_holes(mask, self.holes_below)
        return components(mask, self.connectivity)

    def objects(self, mask: Mask) -> Labels:
        """Label the connected components that are large enough."""
        return drop_small(self.components(mask), self.objects_below)


@dataclass(frozen=True)
class Way(Sized):
    """A way to tell touching cells apart; by itself none: every object stays whole."""

    def label(self, mask: Mask, cleaning: Cleaning, heatmap: Heatmap | None = None) -> Labels:
        """Label the cells of a mask, in any order."""
        return self.split(cleaning.objects(mask), cleaning.pieces_below, heatmap)

    def split(self, objects: Labels, below: int = 0, heatmap: Heatmap | None = None) -> Labels:
        """Split labelled objects; pieces with fewer pixels than `below` are dropped or joined."""
        return objects


def fill_holes(mask: Mask, below: int) -> Mask:
    """Fill the regions of background, connected by edges, that have fewer than `below` pixels.

    A region that the edge of the picture cuts off counts, too. Pixels are handled in runs, of which
    a picture of cells has few: to label the background would take many times as long.

    Examples
    --------
    >>> ring = np.array([[0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1]], bool)
    >>> fill_holes(ring, 2).astype(int).tolist(), fill_holes(ring, 4).all()
    ([[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]], np.True_)
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    width = mask.shape[1] + 1  # with a column of mask, where every run of background ends
    flat = np.pad(mask, ((0, 0), (0, 1)), constant_values=True).ravel()
    turns = np.flatnonzero(np.diff(flat, prepend=True))
    starts, stops = turns[::2], turns[1::2]
    # those of the row above that share a column with a run lie side by side
    first = np.searchsorted(stops + width, starts, "right")
    last = np.searchsorted(starts + width, stops, "left")
    own = np.repeat(np.arange(starts.size), last - first)
    pairs = coo_array((np.ones(own.size), (own, _ranges(first, last))), (starts.size, starts.size))
    region = connected_components(pairs, directed=False)[1]
    small = (np.bincount(region, stops - starts) < below)[region]
    flat[_ranges(starts[small], stops[small])] = True
    return flat.reshape(-1, width)[:, :-1]


def _ranges(starts: NDArray[np.intp], stops: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the numbers of several ranges, one after the other."""
    lengths = stops - starts
    offsets = starts - (np.cumsum(lengths) - lengths)
    return np.repeat(offsets, lengths) + np.arange(lengths.sum())


def drop_small(labels: Labels, below: int) -> Labels:
    """Set labels with fewer than `below` pixels to background; the others keep their number.

    Examples
    --------
    >>> drop_small(np.array([[1, 0, 2, 2]], np.int32), 2).tolist()
    [[0, 0, 2, 2]]
    """
    pixels = np.flatnonzero(labels != 0)  # the background of a picture, most of it, costs nothing
    values = labels.ravel()[pixels]
    small = (np.bincount(values) < below)[values]
    if small.any():
        labels = labels.copy()
        labels.ravel()[pixels[small]] = 0
    return labels


def _dilate(mask: Mask, radius: int) -> Mask:
    """Dilate by the disk dy^2 + dx^2 <= radius^2, shifting whole pictures: fast for small disks."""
    height, width = mask.shape
    padded = np.pad(mask, radius)
    out = np.zeros_like(mask)
    for dy in range(-radius, radius + 1):
        rows = padded[radius + dy : radius + dy + height]
        reach = isqrt(radius * radius - dy * dy)
        for dx in range(-reach, reach + 1):
            out |= rows[:, radius + dx : radius + dx + width]
    return out


def _erode(mask: Mask, radius: int) -> Mask:
    # beyond the picture's edge is neither cell nor background: nothing is eroded from there
    return ~_dilate(~mask, radius)
