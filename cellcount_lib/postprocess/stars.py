"""Star-convex polygons into objects: the most probable ones stay, those that repeat one go.

Every pixel above the cutoff proposes a polygon, whose corners lie at the ends of its rays. In the
order of their probability, a proposal is dropped if its pixel lies in a polygon that was kept
before, or if more than `overlap` of its own area does (non-maximum suppression).

References
----------
U. Schmidt, M. Weigert, C. Broaddus, G. Myers, MICCAI 2018; the limit of the overlap is by area, as
in the code released with it.
"""

from dataclasses import dataclass, field

import numpy as np
from skimage.draw import polygon

from cellcount_lib.data.shapes import directions
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


@dataclass(frozen=True)
class Stars(Way):
    """Draw the polygons whose rays are the planes after the first of a heatmap (1 + rays, H, W)."""

    unit: float = field(default=1.0, metadata=LENGTH)  # pixels that a ray of 1 is long
    apart: float = field(default=1.0, metadata=LENGTH)  # pixels between two proposals
    overlap: float = 0.4

    def label(self, mask: Mask, cleaning: Cleaning, heatmap: Heatmap | None = None) -> Labels:
        """Label the polygons that stay; where two overlap, the more probable one has the pixel."""
        if heatmap is None or heatmap.ndim != 3:
            raise InputError("heatmap: expected planes (1 + rays, H, W) beside the mask, for rays")
        every = max(1, round(self.apart))
        start = every // 2
        lines, columns = np.nonzero(mask[start::every, start::every])
        lines, columns = lines * every + start, columns * every + start
        order = np.argsort(-heatmap[0, lines, columns], kind="stable")
        lines, columns = lines[order], columns[order]
        lengths = self.unit * np.maximum(heatmap[1:, lines, columns], 0).T[..., None]
        corners = np.column_stack([lines, columns])[:, None] + lengths * directions(
            len(heatmap) - 1
        )
        out = np.zeros(mask.shape, np.int32)
        count = 0
        for line, column, (y, x) in zip(lines, columns, corners.transpose(0, 2, 1), strict=True):
            if out[line, column]:
                continue
            inside = polygon(y, x, mask.shape)
            taken = out[inside] > 0
            if taken.sum() > self.overlap * taken.size:
                continue
            count += 1
            out[line, column] = count  # a polygon may be too small to hold the middle of a pixel
            out[tuple(side[~taken] for side in inside)] = count
        return drop_small(out, cleaning.objects_below)
