"""From a thresholded heatmap to labelled objects: the rules of both studies, and a recommended one.

A binary mask says where cells are, not how many: specks must go, holes must be filled, and
touching cells must be told apart (`splitting`).

``morelli2021`` (S3, R21) and ``clissa2023`` (S1, R23) do what the released code does, accidents
included, as it ran on the scikit-image of its time (R21: Python 3.6, so 0.17 or older; R23: 0.18 or
0.19):

- An object without marker is dropped. A marker is a plateau of the distance map after a maximum
  filter of 30 pixels, so an object has none if a higher one is near, or if its plateau has fewer
  than 25 pixels. Of 35 cells in one true mask of the authors' own data, 33 are left.
- In a picture where every object is round and narrower than the filter, all pixels are plateau.
  scikit-image since 0.18 takes that for a flat picture, without peaks: **all its objects vanish**,
  unless 25 connected pixels stick out of one. So it is in ``clissa2023``; in ``morelli2021`` they
  stay. Whoever runs R21's code on 0.18 to 0.24 gets its objects with ``flat_is_empty=True``.
- The watershed draws a line between two pieces, which R21 needs because it counts connected
  components afterwards. From 0.25 on scikit-image draws none when compactness is on, and the
  released code would merge what it splits.
- The result is stored in 8 bits, so the 256th, 512th, ... piece is lost (``eight_bit``).
- Sizes are compared with <: an object of exactly 200 pixels stays, a hole of exactly 600 stays
  open. (scikit-image 0.26 renamed the parameters and compares with <=.)
- Background cut off by the picture's edge counts as a hole, too.

``recommended`` never loses an object by splitting it; see `POSTPROCESS`.

Taught in: 09_touching_cells

References
----------
S3, section "Post-processing"; R21 (evaluation_utils.py) and R23 (fluocells/utils/data.py, README of
the loss study), read for facts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import floor, isqrt
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.checks import check_mask, check_positive
from cellcount_lib.errors import InputError, unknown_name
from cellcount_lib.postprocess.splitting import (
    Labels,
    Mask,
    connected,
    distance_inside,
    drop_small,
    flood_with_line,
    plateau_markers,
    split_at_necks,
    split_at_peaks,
)

SPLITS = ("none", "plateau", "h-maxima", "enclosed", "peaks")


@dataclass(frozen=True)
class PostprocessSettings:
    """What happens between a binary mask and its labelled objects, in pixels of scale 1.

    Attributes
    ----------
    smooth_radius : int
        Opening, then closing with a disk of this radius; 0 leaves the outline as it is.
    holes_below : int
        4-connected background regions with fewer pixels are filled.
    objects_below : int
        Objects with fewer pixels are dropped (before splitting).
    connectivity : int
        1: pixels that share an edge are connected; 2: those that share a corner, too.
    split : str
        "none", "plateau" (both studies) or "h-maxima" (recommended); for networks that were asked
        for something else than a mask (`formulations`): "enclosed" takes the mask for outlines and
        what lies between them for objects, "peaks" takes the peaks of the heatmap for cells.
    spread, footprint, marker_below, marker_connectivity
        "plateau": width of the maximum filter, width of the window in which a peak is highest,
        markers with fewer pixels are dropped, and connectivity of a marker's pixels.
    depth : float
        "h-maxima": two peaks of the distance map are two cells if the neck between them is
        narrower than the smaller cell by more than this on either side.
    pieces_below : int
        Pieces smaller than this are dropped after a "plateau" split, and are joined to their
        neighbour in an "h-maxima" split.
    cores_below : int
        Before objects grow, those with fewer pixels are dropped.
    grow : float
        Objects grow by this much, as far as they do not meet.
    largest : int
        "enclosed": regions with more pixels are background.
    peak : float
        "peaks": height of a peak above the highest pass to another one.
    flat_is_empty, eight_bit : bool
        Accidents of the released code; see the head of this module.
    """

    smooth_radius: int = 0
    holes_below: int = 0
    objects_below: int = 0
    connectivity: int = 1
    split: str = "none"
    spread: int = 30
    footprint: int = 40
    marker_below: int = 25
    marker_connectivity: int = 1
    depth: float = 0.0
    pieces_below: int = 0
    cores_below: int = 0
    grow: float = 0.0
    largest: int = 0
    peak: float = 0.0
    flat_is_empty: bool = False
    eight_bit: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise unknown_name("split", self.split, SPLITS)
        for name in ("connectivity", "marker_connectivity"):
            if getattr(self, name) not in (1, 2):
                raise InputError(f"{name}: expected 1 or 2, found {getattr(self, name)!r}")
        for name in ("smooth_radius", "holes_below", "objects_below", "marker_below", "depth"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: expected a number >= 0, found {getattr(self, name)!r}")
        for name in ("spread", "footprint"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name}: expected a number > 0, found {getattr(self, name)!r}")

    def scaled(self, scale: float) -> "PostprocessSettings":
        """Return the settings for images resized by `scale`: lengths times it, areas its square.

        Rounded to whole pixels, halves upwards; the two windows are at least 1 pixel wide. Scale
        1.0 returns the settings as they are.

        Examples
        --------
        >>> half = POSTPROCESS["morelli2021"].scaled(0.5)
        >>> half.spread, half.footprint, half.holes_below, half.objects_below, half.marker_below
        (15, 20, 150, 50, 6)
        """
        scale = check_positive("scale", scale)
        if scale == 1.0:
            return self
        area = scale * scale
        return replace(
            self,
            smooth_radius=_whole(self.smooth_radius * scale),
            holes_below=_whole(self.holes_below * area),
            objects_below=_whole(self.objects_below * area),
            spread=max(1, _whole(self.spread * scale)),
            footprint=max(1, _whole(self.footprint * scale)),
            marker_below=_whole(self.marker_below * area),
            depth=self.depth * scale,
            pieces_below=_whole(self.pieces_below * area),
            cores_below=_whole(self.cores_below * area),
            grow=self.grow * scale,
            largest=_whole(self.largest * area),
        )


def _whole(value: float) -> int:
    return floor(value + 0.5)


POSTPROCESS: Mapping[str, PostprocessSettings] = MappingProxyType(
    {
        "none": PostprocessSettings(),
        "morelli2021": PostprocessSettings(
            holes_below=600,
            objects_below=200,
            split="plateau",
            eight_bit=True,
        ),
        "clissa2023": PostprocessSettings(
            smooth_radius=3,
            holes_below=50,
            objects_below=200,
            split="plateau",
            marker_connectivity=2,
            pieces_below=200,
            flat_is_empty=True,
            eight_bit=True,
        ),
        "recommended": PostprocessSettings(
            holes_below=100,
            objects_below=200,
            connectivity=2,
            split="h-maxima",
            depth=1.5,
            pieces_below=200,
        ),
    }
)
"""Settings by name, for cells of 36.5 to 41 pixels diameter (1046 to 1320 pixels area).

``recommended`` differs where the shape of the mask allows a better answer. Holes are filled up to
100 pixels (11 across, a dark spot in a cell), not 600: the gap that a ring of touching cells leaves
is where they must be parted. A neck splits if it is 1.5 pixels (4% of a diameter) narrower on
either side than the smaller cell, more than the ragged outline of one cell. Every object keeps at
least one marker, a piece smaller than the smallest object returns to its neighbour, and no line is
cut out between two pieces, so areas and overlaps are not biased. Objects are 8-connected and holes
4-connected, the pair under which neither can cross the other.

On true masks of nuclei with known instances, scaled to this diameter, F1 at IoU 0.5 is 0.94 (60
pictures of BBBC038; morelli2021 0.90, connected components 0.86) and 0.97 (12 of S-BSST265; 0.84
and 0.78). Depths of 1 to 2 pixels differ by less than 0.01.
"""


def postprocess(
    mask: NDArray[np.bool_],
    settings: PostprocessSettings | str,
    *,
    scale: float = 1.0,
    heatmap: NDArray[np.floating] | None = None,
) -> NDArray[np.int32]:
    """Label the objects of a binary mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        The heatmap above its cutoff.
    settings : PostprocessSettings or str
        Or the name of one in `POSTPROCESS`.
    scale : float
        Of the image against the original; all sizes follow it (`PostprocessSettings.scaled`).
    heatmap : ndarray of float, shape (H, W), optional
        What the mask was made of; "peaks" needs it.

    Returns
    -------
    ndarray of int32, shape (H, W)
        0 is background, objects are 1, 2, ... in reading order of their first pixel.

    Examples
    --------
    >>> y, x = np.ogrid[:60, :100]
    >>> mask = ((y - 30) ** 2 + (x - 34) ** 2 < 400) | ((y - 30) ** 2 + (x - 66) ** 2 < 400)
    >>> int(postprocess(mask, "none").max()), int(postprocess(mask, "recommended").max())
    (1, 2)
    """
    mask = check_mask("mask", mask)
    if isinstance(settings, str):
        if settings not in POSTPROCESS:
            raise unknown_name("post-processing", settings, POSTPROCESS)
        settings = POSTPROCESS[settings]
    settings = settings.scaled(scale)
    if settings.split == "enclosed":
        return _in_reading_order(_grown(_enclosed(mask, settings), settings))
    if settings.smooth_radius:
        mask = _dilate(_erode(mask, settings.smooth_radius), settings.smooth_radius)
        mask = _erode(_dilate(mask, settings.smooth_radius), settings.smooth_radius)
    mask = _fill_holes(mask, settings.holes_below)
    labels = connected(mask, settings.connectivity)
    if settings.grow:
        labels = _grown(labels, settings)
    labels = drop_small(labels, settings.objects_below)
    if settings.split == "plateau":
        labels = _split_plateaus(labels, settings)
    elif settings.split == "h-maxima":
        labels = split_at_necks(labels, depth=settings.depth, below=settings.pieces_below)
    elif settings.split == "peaks":
        if heatmap is None:
            raise InputError("heatmap: expected one beside the mask, to look for its peaks")
        labels = split_at_peaks(labels, heatmap, height=settings.peak, below=settings.pieces_below)
    return _in_reading_order(labels)


def _enclosed(mask: Mask, s: PostprocessSettings) -> Labels:
    """Label what lies between outlines; regions that are too large for a cell are background."""
    regions = connected(~mask)
    large = np.bincount(regions.ravel()) > s.largest
    return np.where(large[regions], np.int32(0), regions)


def _grown(labels: Labels, s: PostprocessSettings) -> Labels:
    from skimage.segmentation import expand_labels

    # 2 pixels that come as 1.9999999999999998 by way of a scale are still 2
    reach = round(s.grow, 6)
    grown: Labels = expand_labels(drop_small(labels, s.cores_below), reach).astype(np.int32)
    return drop_small(grown, s.objects_below)


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


def _fill_holes(mask: Mask, below: int) -> Mask:
    background = connected(~mask)
    return ~(drop_small(background, below) > 0) if below else mask


def _split_plateaus(labels: Labels, s: PostprocessSettings) -> Labels:
    """Split by the rule of both studies (R21, R23), in the part of the picture that has objects."""
    out = np.zeros_like(labels)
    rows, columns = (np.flatnonzero(labels.any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        return out
    window = tuple(
        slice(max(0, side[0] - s.spread), side[-1] + s.spread + 1) for side in (rows, columns)
    )
    mask = labels[window] > 0
    distance = distance_inside(mask)
    markers = plateau_markers(
        distance,
        mask,
        spread=s.spread,
        footprint=s.footprint,
        below=s.marker_below,
        connectivity=s.marker_connectivity,
        flat_is_empty=s.flat_is_empty,
    )
    pieces = drop_small(flood_with_line(distance, markers, mask), s.pieces_below)
    if s.eight_bit:
        pieces[pieces % 256 == 0] = 0
    out[window] = pieces
    return out


def _in_reading_order(labels: Labels) -> Labels:
    """Renumber 1, 2, ... by the first pixel, row by row."""
    pixels = np.flatnonzero(labels)
    old = labels.ravel()[pixels]
    first = np.full(int(labels.max()) + 1, labels.size)
    first[old[::-1]] = pixels[::-1]  # the last assignment, the first pixel, stays
    rank = np.zeros(first.size, np.int32)
    order = np.argsort(first, kind="stable")
    rank[order] = np.arange(1, first.size + 1)
    rank[0] = 0
    return rank[labels]
