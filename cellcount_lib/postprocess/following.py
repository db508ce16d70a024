"""Flows into objects: pixels that end in the same place, when they follow the arrows, are a cell.

References
----------
C. Stringer, T. Wang, M. Michaelos, M. Pachitariu, Nature Methods 2021. Without its check of flows
against those of the objects found, and with full steps to the nearest pixel in place of fifths of a
step between pixels.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from skimage.segmentation import expand_labels

from cellcount_lib.data.sample import components
from cellcount_lib.data.shapes import FLOW_UNIT
from cellcount_lib.errors import InputError
from cellcount_lib.postprocess.cleaning import (
    LENGTH,
    Cleaning,
    Heatmap,
    Labels,
    Mask,
    Way,
    drop_small,
)

STEPS = 32  # as many pixels of what the network sees: the longest way to a middle
REACH = 3  # steps: whoever ends as near to a place where most end belongs there


@dataclass(frozen=True)
class Follow(Way):
    """Follow the flow, the two planes after the first of a heatmap (3, H, W), from every pixel.

    Where the paths end is counted in squares of a `step`; every highest count among 5x5 squares,
    of sums over 3x3, is a cell.
    """

    step: float = field(default=1.0, metadata=LENGTH)  # pixels that a flow of length 1 carries

    def label(self, mask: Mask, cleaning: Cleaning, heatmap: Heatmap | None = None) -> Labels:
        """Label the pixels of the cleaned mask by where they end."""
        if heatmap is None or heatmap.shape != (3, *mask.shape):
            raise InputError(
                "heatmap: expected planes (3, H, W) beside the mask, to follow the flow"
            )
        mask = cleaning.objects(mask) > 0
        flow = heatmap[1:] / FLOW_UNIT
        flow = flow / np.maximum(1, np.hypot(*flow)) * self.step * mask
        start = np.nonzero(mask)
        place = np.stack(start).astype(np.float32)
        limit = np.array(mask.shape)[:, None] - 1
        for _ in range(STEPS):
            y, x = np.rint(place).astype(np.int32)
            place = np.clip(place + flow[:, y, x], 0, limit)
        square = (place / self.step).astype(np.int32)
        shape = tuple(int(n / self.step) + 1 for n in mask.shape)
        ends = np.bincount(np.ravel_multi_index(tuple(square), shape), minlength=np.prod(shape))
        ends = ndimage.convolve(ends.reshape(shape), np.ones((3, 3), np.int64), mode="constant")
        peaks = (ends > 0) & (ends == ndimage.maximum_filter(ends, 5))
        cells = expand_labels(components(peaks, 2), REACH)
        out = np.zeros(mask.shape, np.int32)
        out[start] = cells[tuple(square)]
        return drop_small(out, cleaning.objects_below)
