"""From a thresholded heatmap to labelled objects: the rules of both studies, and a recommended one.

A binary mask says where cells are, not how many: specks must go, holes must be filled, and
touching cells must be told apart. All rules below do the last on the distance transform (how far is
a pixel from the background?), whose peaks lie in the middle of cells; a watershed then grows every
peak to the borders of its cell.

``morelli2021`` (S3, R21) and ``clissa2023`` (S1, R23) reproduce the released code pixel by pixel,
its accidents included, because published numbers contain them:

- A marker is a plateau, not a point: the distance map is first flattened by a maximum filter of 30
  pixels. An object whose plateau is smaller than 25 pixels, or lies lower than a neighbour's within
  20 pixels, gets no marker, and the watershed drops an object without marker.
- In a picture where every object is round and narrower than the filter, all pixels are plateau.
  scikit-image (since 0.18) takes such a picture to be flat, without peaks, and **all its objects
  vanish** but for those with a ragged outline of 25 pixels or more (``flat_is_empty``). With
  scikit-image 0.17, the last for the Python 3.6 of R21's Dockerfile, they do not.
- The result is stored in 8 bits, so the 256th, 512th, ... object is lost (``eight_bit``).
- Sizes are compared with <: an object of exactly 200 pixels stays, a hole of exactly 600 stays
  open. (scikit-image 0.26 renamed the parameters and compares with <=.)
- Background enclosed by the picture's edge counts as a hole, too.

``recommended`` never loses an object by splitting it (see `POSTPROCESS`).

Taught in: 09_touching_cells

References
----------
S3, section "Post-processing"; R21, R23 (released code, read for facts). Marker depth: P. Soille,
Morphological Image Analysis, 2nd ed. 2003, section 6.3.4 (h-maxima).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import floor
from types import MappingProxyType

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from cellcount_lib.checks import check_mask, check_positive
from cellcount_lib.errors import InputError, unknown_name

SPLITS = ("none", "plateau", "h-maxima")


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
        "none", "plateau" (both studies) or "h-maxima" (recommended).
    spread, footprint, marker_below, marker_connectivity
        "plateau": width of the maximum filter, width of the window in which a peak is highest,
        markers with fewer pixels are dropped, and connectivity of a marker's pixels.
    depth : float
        "h-maxima": two peaks of the distance map are two cells if the neck between them is
        narrower than the lower peak by at least this much on either side.
    pieces_below : int
        Pieces smaller than this are dropped after a "plateau" split, and are joined to their
        neighbour in an "h-maxima" split.
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
            flat_is_empty=True,
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
            holes_below=600,
            objects_below=200,
            connectivity=2,
            split="h-maxima",
            depth=2.0,
            pieces_below=200,
        ),
    }
)
"""Settings by name, for cells of 36.5 to 41 pixels diameter (1046 to 1320 pixels area).

``recommended`` keeps the sizes of 2021 (half a mean cell for holes, a sixth for objects) and splits
with h-maxima: a neck must be 2 pixels (5% of a mean diameter) narrower on either side than the
smaller of the two cells, which ragged outlines do not reach and touching cells do. Every object has
at least one marker by construction, pieces below the size of a smallest object go back to their
neighbour, and no line is cut out between two pieces, so areas and overlaps are not biased. Objects
are 8-connected and holes 4-connected, the pair under which neither can cross the other.
"""


def postprocess(
    mask: NDArray[np.bool_], settings: PostprocessSettings | str, *, scale: float = 1.0
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
    if settings.smooth_radius:
        mask = _dilate(_erode(mask, settings.smooth_radius), settings.smooth_radius)
        mask = _erode(_dilate(mask, settings.smooth_radius), settings.smooth_radius)
    mask = _fill_holes(mask, settings.holes_below)
    labels = _drop(_label(mask, settings.connectivity), settings.objects_below)
    if settings.split == "plateau":
        return _split_plateau(labels > 0, settings)
    if settings.split == "h-maxima":
        labels = _split_h_maxima(labels, settings)
    return _in_reading_order(labels)


def _label(mask: NDArray[np.bool_], connectivity: int) -> NDArray[np.int32]:
    structure = ndimage.generate_binary_structure(2, connectivity)
    labels: NDArray[np.int32] = ndimage.label(mask, structure, output=np.int32)[0]
    return labels


def _dilate(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilate by the disk dy^2 + dx^2 <= radius^2, shifting whole pictures: fast for small disks."""
    height, width = mask.shape
    padded = np.pad(mask, radius)
    out = np.zeros_like(mask)
    for dy in range(-radius, radius + 1):
        rows = padded[radius + dy : radius + dy + height]
        reach = int((radius * radius - dy * dy) ** 0.5)
        for dx in range(-reach, reach + 1):
            out |= rows[:, radius + dx : radius + dx + width]
    return out


def _erode(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    # beyond the picture's edge is neither cell nor background: nothing is eroded from there
    return ~_dilate(~mask, radius)


def _fill_holes(mask: NDArray[np.bool_], below: int) -> NDArray[np.bool_]:
    if below == 0:
        return mask
    background = _label(~mask, 1)
    sizes = np.bincount(background.ravel())
    small = sizes < below
    small[0] = False
    return mask | small[background] if small.any() else mask


def _drop(labels: NDArray[np.int32], below: int) -> NDArray[np.int32]:
    """Set labels with fewer than `below` pixels to background; the others keep their number."""
    small = np.bincount(labels.ravel()) < below
    if not small[1:].any():
        return labels
    return np.where(small[labels], np.int32(0), labels)


def _in_reading_order(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Renumber 1, 2, ... by the first pixel, row by row."""
    pixels = np.flatnonzero(labels)
    old, first, position = np.unique(labels.ravel()[pixels], return_index=True, return_inverse=True)
    rank = np.empty(old.size, np.int32)
    rank[np.argsort(first)] = np.arange(1, old.size + 1, dtype=np.int32)
    out = np.zeros(labels.size, np.int32)
    out[pixels] = rank[position]
    return out.reshape(labels.shape)


def _distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Euclidean distance to the nearest background pixel; the same bits as SciPy's, but faster.

    `edt` returns squared distances, whole numbers that float32 holds exactly up to 4096 pixels.
    """
    if mask.all() or max(mask.shape) > 4096:
        exact: NDArray[np.float64] = ndimage.distance_transform_edt(mask)
        return exact
    squared: NDArray[np.float32] = edt.edtsq(np.ascontiguousarray(mask), parallel=1)
    return np.sqrt(squared.astype(np.float64))


def _window(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Bounding box of all objects with a margin, within the picture."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    return slice(top, rows[-1] + margin + 1), slice(left, columns[-1] + margin + 1)


def _split_plateau(mask: NDArray[np.bool_], s: PostprocessSettings) -> NDArray[np.int32]:
    """Split by the rule of both studies (R21, R23)."""
    out = np.zeros(mask.shape, np.int32)
    if not mask.any():
        return out
    # a margin of one filter width holds the lowest value of the spread map if the picture does
    window = _window(mask, s.spread)
    mask = mask[window]
    distance = _distance(mask)
    spread = ndimage.maximum_filter(distance, size=s.spread, mode="constant")
    highest = ndimage.maximum_filter(np.where(mask, spread, 0.0), size=s.footprint, mode="constant")
    peaks = mask & (spread == highest)
    if s.flat_is_empty and np.array_equal(peaks, mask):
        peaks &= ~ndimage.binary_opening(mask)
    peaks &= spread > spread.min()
    peaks = _drop(_label(peaks, 1), s.marker_below) > 0
    markers = _label(peaks, s.marker_connectivity)
    labels = watershed(-distance, markers, mask=mask, compactness=1, watershed_line=True)
    labels = _drop(labels, s.pieces_below)
    if s.eight_bit:
        labels[labels % 256 == 0] = 0
    out[window] = _in_reading_order(labels)
    return out


def _split_h_maxima(labels: NDArray[np.int32], s: PostprocessSettings) -> NDArray[np.int32]:
    """Split every object at necks that are narrower than both sides by `depth`."""
    out = np.zeros_like(labels)
    count = 0
    height, width = labels.shape
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        # one pixel of margin holds the nearest background of every pixel of the object
        rows, columns = (
            slice(max(0, b.start - 1), min(n, b.stop + 1))
            for b, n in zip(box, (height, width), strict=True)
        )
        mask = labels[rows, columns] == label
        pieces = _pieces(mask, s)
        out[rows, columns][mask] = pieces[mask] + count
        count += int(pieces.max())
    return out


def _pieces(mask: NDArray[np.bool_], s: PostprocessSettings) -> NDArray[np.int32]:
    """Pieces 1, 2, ... of one object."""
    distance = np.where(mask, _distance(mask), -s.depth - 1)
    domes = reconstruction(distance - s.depth, distance)
    markers = _label(mask & local_maxima(domes).astype(bool), 2)
    while (count := int(markers.max())) > 1:
        pieces: NDArray[np.int32] = watershed(-distance, markers, connectivity=2, mask=mask)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        smallest = int(np.argmin(sizes[1:])) + 1
        if sizes[smallest] >= s.pieces_below:
            return pieces
        markers[markers == smallest] = 0
        markers[markers > smallest] -= 1
    return mask.astype(np.int32)
