"""Cleaning a mask: specks go, holes are filled, the outline is smoothed, and objects get labels."""

from dataclasses import dataclass, replace
from math import floor, isqrt

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.sample import components
from cellcount_lib.errors import InputError

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cleaning:
    """What happens to a mask and its objects, however touching cells are told apart.

    Attributes
    ----------
    smooth_radius : int
        Opening, then closing with a disk of this radius; 0 leaves the outline as it is.
    holes_below : int
        4-connected background regions with fewer pixels are filled.
    objects_below : int
        Objects with fewer pixels are dropped (before splitting).
    pieces_below : int
        Pieces of a split object with fewer pixels are dropped (`Plateaus`), or joined to their
        neighbour (`Necks`, `Peaks`).
    connectivity : int
        1: pixels that share an edge are connected; 2: those that share a corner, too.
    """

    smooth_radius: int = 0
    holes_below: int = 0
    objects_below: int = 0
    pieces_below: int = 0
    connectivity: int = 1

    def __post_init__(self) -> None:
        check_connectivity("connectivity", self.connectivity)
        check_sizes(self, "smooth_radius", "holes_below", "objects_below", "pieces_below")

    def scaled(self, scale: float) -> "Cleaning":
        """Return the sizes for images resized by `scale`."""
        area = scale * scale
        return replace(
            self,
            smooth_radius=whole(self.smooth_radius * scale),
            holes_below=whole(self.holes_below * area),
            objects_below=whole(self.objects_below * area),
            pieces_below=whole(self.pieces_below * area),
        )

    def components(self, mask: Mask) -> Labels:
        """Label the connected components of the smoothed and filled mask, whatever their size."""
        if radius := self.smooth_radius:
            mask = _dilate(_erode(mask, radius), radius)
            mask = _erode(_dilate(mask, radius), radius)
        if self.holes_below:
            mask = drop_small(components(~mask), self.holes_below) == 0
        return components(mask, self.connectivity)

    def objects(self, mask: Mask) -> Labels:
        """Label the connected components that are large enough."""
        return drop_small(self.components(mask), self.objects_below)


def drop_small(labels: Labels, below: int) -> Labels:
    """Set labels with fewer than `below` pixels to background; the others keep their number.

    Examples
    --------
    >>> drop_small(np.array([[1, 0, 2, 2]], np.int32), 2).tolist()
    [[0, 0, 2, 2]]
    """
    small = np.bincount(labels.ravel()) < below
    return np.where(small[labels], np.int32(0), labels) if small[1:].any() else labels


def whole(value: float) -> int:
    """Round to whole pixels, halves upwards."""
    return floor(value + 0.5)


def check_sizes(settings: object, *names: str) -> None:
    """Raise unless all these attributes are numbers >= 0."""
    for name in names:
        if getattr(settings, name) < 0:
            raise InputError(f"{name}: expected a number >= 0, found {getattr(settings, name)!r}")


def check_connectivity(name: str, value: int) -> None:
    """Raise unless this is the connectivity of pixels by edges (1) or by corners, too (2)."""
    if value not in (1, 2):
        raise InputError(f"{name}: expected 1 or 2, found {value!r}")


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
