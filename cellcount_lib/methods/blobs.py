"""Counting blobs without segmentation: peaks of the Laplacian of a Gaussian, over several sizes.

The classical anchor for counting: it needs the width of a cell, gives centres and radii, and knows
nothing of outlines. Each blob is drawn as a disc, so that it can be scored like a segmentation.

References
----------
T. Lindeberg, Feature detection with automatic scale selection, Int. J. Computer Vision 30 (1998).
"""

import numpy as np
from numpy.typing import NDArray
from skimage.feature import blob_log

from cellcount_lib.checks import check_image, check_positive
from cellcount_lib.data.sample import brightness
from cellcount_lib.data.scaling import resize_image, resize_labels

SEEN_PX = 12.0  # pictures are reduced until a cell is this wide: a blob has no detail
SPREAD = (0.5, 1.6)  # sizes that are looked for, over the width of a cell
THRESHOLDS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)


def log_blobs(
    image: NDArray[np.uint8], *, cell_px: float, threshold: float = 0.1
) -> NDArray[np.int32]:
    """Find bright blobs and draw them as discs: labels int32 (H, W).

    `cell_px` is the width of a typical cell. Blobs with a response below `threshold`, for
    brightness scaled to [0, 1], are left out.

    Examples
    --------
    >>> y, x = np.ogrid[:80, :120]
    >>> light = np.exp(-((y - 40) ** 2 + (x - 30) ** 2) / 72)
    >>> light = light + np.exp(-((y - 40) ** 2 + (x - 90) ** 2) / 72)
    >>> image = np.repeat((200 * light)[..., None], 3, axis=2).astype(np.uint8)
    >>> int(log_blobs(image, cell_px=20.0).max())
    2
    """
    image = check_image("image", image)
    size = image.shape[:2]
    scale = min(1.0, SEEN_PX / check_positive("cell_px", cell_px))
    small = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    seen = image if scale == 1.0 else resize_image(image, small)
    light = brightness(seen).astype(np.float64) / 255
    # a disc of radius r answers most to a Gaussian of r / sqrt(2)
    sigma = cell_px * scale / 2 / np.sqrt(2)
    blobs = blob_log(
        light,
        min_sigma=sigma * SPREAD[0],
        max_sigma=sigma * SPREAD[1],
        num_sigma=6,
        threshold=threshold,
    )
    labels = np.zeros(seen.shape[:2], np.int32)
    nearest = np.full(labels.shape, np.inf)
    for number, (row, column, spread) in enumerate(blobs, start=1):
        radius = spread * np.sqrt(2)
        top, left = max(0, int(row - radius)), max(0, int(column - radius))
        window = np.s_[top : int(row + radius) + 2, left : int(column + radius) + 2]
        y, x = np.ogrid[: labels[window].shape[0], : labels[window].shape[1]]
        away = np.hypot(y + top - row, x + left - column)
        closer = (away <= radius) & (away < nearest[window])  # discs that overlap share the ground
        labels[window][closer] = number
        nearest[window][closer] = away[closer]
    return labels if labels.shape == size else resize_labels(labels, (size[0], size[1]))
