"""Stretching the intensities of a picture, so that dim and bright ones look alike to a network."""

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.sample import brightness

LOW_PERCENTILE, HIGH_PERCENTILE = 1.0, 99.8
# Grey levels between them below which a picture holds almost nothing but noise. The dimmest of 172
# pictures of nuclei (BBBC038) has 27, simulated neurons without a cell have 14 to 42.
LEAST_RANGE = 24


def stretched(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Map the 1st and the 99.8th percentile of the brightest channel to 0 and 255.

    All channels of a picture, uint8 (H, W, 3), follow the same map, so colours keep their order. A
    picture with less than 24 grey levels between the two stays as it is.

    Examples
    --------
    >>> ramp = np.arange(50, 150, dtype=np.uint8).reshape(10, 10, 1).repeat(3, axis=2)
    >>> stretched(ramp)[0, :3, 0].tolist(), stretched(ramp // 8)[0, :3, 0].tolist()
    ([0, 0, 3], [6, 6, 6])
    """
    low, high = np.percentile(brightness(image), (LOW_PERCENTILE, HIGH_PERCENTILE))
    if high - low < LEAST_RANGE:
        return image
    levels = np.clip((np.arange(256) - low) / (high - low), 0, 1)
    table: NDArray[np.uint8] = np.rint(255 * levels).astype(np.uint8)
    return table[image]
