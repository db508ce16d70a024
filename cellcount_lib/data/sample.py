"""One picture with its truth: what every dataset and the simulator return."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.checks import check_image, check_labels, check_same_shape


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
