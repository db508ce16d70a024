"""One picture with its labels: what every dataset and the simulator return."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.checks import check_image, check_labels, check_same_shape
from cellcount_lib.errors import DataError


@dataclass(frozen=True, eq=False)
class Sample:
    """An image, its instance labels, and what is known about them.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    labels : ndarray of int32, shape (H, W)
        0 is background; every object has one positive number.
    meta : dict
        Always ``name``, ``dataset``, ``split`` and ``scale``; further keys by dataset
        (``labelling``: "semi-automatic", "manual" or "exact"; ``pixel_size_um``;
        ``structures``: what the simulator drew where).
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", check_image("image", self.image))
        object.__setattr__(self, "labels", check_labels("labels", self.labels))
        check_same_shape(["image", "labels"], [self.image, self.labels])

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Foreground, bool (H, W)."""
        return self.labels > 0

    @property
    def count(self) -> int:
        """Number of objects: distinct positive labels, whatever their connectivity."""
        present = np.unique(self.labels)
        return int(present.size - (present[0] == 0))


def components(mask: NDArray[Any], connectivity: int = 1) -> NDArray[np.int32]:
    """Label the connected components of ``mask > 0``: by edges (1), or by edges and corners (2).

    Examples
    --------
    >>> components(np.array([[7, 0], [0, 1]])).tolist()
    [[1, 0], [0, 2]]
    """
    from scipy import ndimage

    structure = ndimage.generate_binary_structure(2, connectivity)
    inside = mask if mask.dtype == bool else mask > 0
    return ndimage.label(inside, structure, output=np.int32)[0]


def brightness(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Intensity of the brightest channel, uint8 (H, W).

    Examples
    --------
    >>> brightness(np.array([[[9, 4, 0]]], np.uint8))
    array([[9]], dtype=uint8)
    """
    image = check_image("image", image)
    # two passes over planes are ten times as fast as image.max(axis=2)
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def cell_width(samples: Sequence[Sample]) -> float:
    """Return the width of the median cell: the diameter of the circle of its area.

    Examples
    --------
    >>> labels = np.zeros((40, 40), np.int32)
    >>> labels[5:35, 5:35] = 7
    >>> round(cell_width([Sample(np.zeros((40, 40, 3), np.uint8), labels, {})]), 2)  # of 900 pixels
    33.85
    """
    areas = np.concatenate([np.bincount(s.labels.reshape(-1))[1:] for s in samples])
    areas = areas[areas > 0]
    if areas.size == 0:
        raise DataError("training pictures: expected at least one labelled cell, found none")
    return float(2 * np.sqrt(np.median(areas) / np.pi))
