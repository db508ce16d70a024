"""From a thresholded heatmap to labelled objects: the rules of both studies, and a recommended one.

A binary mask says where cells are, not how many: specks must go, holes must be filled (`Cleaning`),
and touching cells must be told apart. Each way of doing that is one small class: `Cores` and
`Enclosed` here, `Plateaus`, `Necks` and `Peaks` in the modules beside; `Way` itself does nothing.

Sizes are compared with <, as in the released code: an object of exactly 200 pixels stays, a hole of
exactly 600 stays open. (scikit-image 0.26 renamed the parameters and compares with <=.) Background
cut off by the picture's edge counts as a hole, too.

References
----------
S3, section "Post-processing"; R21 (evaluation_utils.py) and R23 (fluocells/utils/data.py, README of
the loss study), read for facts.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from skimage.segmentation import expand_labels

from cellcount_lib.checks import check_mask, check_positive
from cellcount_lib.data.sample import components
from cellcount_lib.postprocess.cleaning import (
    AREA,
    LENGTH,
    Cleaning,
    Heatmap,
    Labels,
    Mask,
    Way,
    drop_small,
)
from cellcount_lib.postprocess.plateaus import Plateaus
from cellcount_lib.postprocess.splitting import Necks
from cellcount_lib.registry import Registry


@dataclass(frozen=True)
class Cores(Way):
    """Let the objects of a mask grow: they are cells without their outlines.

    They grow by `grow`, as far as they do not meet; before, those with fewer pixels than
    `cores_below` are dropped.
    """

    grow: float = field(default=0.0, metadata=LENGTH)
    cores_below: int = field(default=0, metadata=AREA)

    def label(self, mask: Mask, cleaning: Cleaning, heatmap: Heatmap | None = None) -> Labels:
        """Label the cells that grow from a mask; what is small after growing is dropped."""
        # 2 pixels that come as 1.9999999999999998 by way of a scale are still 2
        reach = round(self.grow, 6)
        cores = drop_small(self.cores(mask, cleaning), self.cores_below)
        return drop_small(expand_labels(cores, reach).astype(np.int32), cleaning.objects_below)

    def cores(self, mask: Mask, cleaning: Cleaning) -> Labels:
        """Label what is to grow."""
        return cleaning.components(mask)


@dataclass(frozen=True)
class Enclosed(Cores):
    """Take the mask for outlines, and let what lies between them grow.

    Regions with more pixels than `largest` are background.
    """

    largest: int = field(default=0, metadata=AREA)

    def cores(self, mask: Mask, cleaning: Cleaning) -> Labels:
        """Label what is enclosed; nothing of it is cleaned."""
        regions = components(~mask)
        large = np.bincount(regions.ravel()) > self.largest
        return np.where(large[regions], np.int32(0), regions)


@dataclass(frozen=True)
class Postprocessing:
    """What happens between a binary mask and its labelled objects, in pixels of scale 1."""

    cleaning: Cleaning
    touching: Way  # how touching cells are told apart

    def scaled(self, scale: float) -> "Postprocessing":
        """Return the same for images resized by `scale`: lengths times it, areas its square.

        Examples
        --------
        >>> POSTPROCESS["morelli2021"].scaled(0.5).cleaning
        Cleaning(smooth_radius=0, holes_below=150, objects_below=50, pieces_below=0, connectivity=1)
        """
        scale = check_positive("scale", scale)
        if scale == 1.0:
            return self
        return Postprocessing(self.cleaning.scaled(scale), self.touching.scaled(scale))

    def label(self, mask: Mask, *, scale: float = 1.0, heatmap: Heatmap | None = None) -> Labels:
        """Label the objects of a binary mask; see `postprocess`."""
        mask = check_mask("mask", mask)
        sized = self.scaled(scale)
        return _in_reading_order(sized.touching.label(mask, sized.cleaning, heatmap))


POSTPROCESS = Registry(
    "post-processing",
    {
        "none": Postprocessing(Cleaning(), Way()),
        "morelli2021": Postprocessing(Cleaning(holes_below=600, objects_below=200), Plateaus()),
        "clissa2023": Postprocessing(
            Cleaning(smooth_radius=3, holes_below=50, objects_below=200, pieces_below=200),
            Plateaus(marker_connectivity=2, flat_is_empty=True),
        ),
        "recommended": Postprocessing(
            Cleaning(holes_below=100, objects_below=200, pieces_below=200, connectivity=2),
            Necks(depth=1.5),
        ),
    },
)
"""By name, for cells of 36.5 to 41 pixels diameter (1046 to 1320 pixels area).

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
    mask: Mask,
    settings: Postprocessing | str,
    *,
    scale: float = 1.0,
    heatmap: Heatmap | None = None,
) -> Labels:
    """Label the objects of a binary mask 1, 2, ... in reading order of their first pixel.

    The mask is a heatmap above its cutoff; `Peaks` needs that heatmap, too. All sizes of the
    post-processing, which may be a name in `POSTPROCESS`, follow the scale of the image against the
    original (`Postprocessing.scaled`).

    Examples
    --------
    >>> y, x = np.ogrid[:60, :100]
    >>> mask = ((y - 30) ** 2 + (x - 34) ** 2 < 400) | ((y - 30) ** 2 + (x - 66) ** 2 < 400)
    >>> int(postprocess(mask, "none").max()), int(postprocess(mask, "recommended").max())
    (1, 2)
    """
    chosen = POSTPROCESS[settings] if isinstance(settings, str) else settings
    return chosen.label(mask, scale=scale, heatmap=heatmap)


def _in_reading_order(labels: Labels) -> Labels:
    """Renumber 1, 2, ... by the first pixel, row by row."""
    inside = labels > 0
    ordered = np.zeros_like(labels)
    ordered[inside] = pd.factorize(labels[inside])[0] + 1  # codes by first appearance
    return ordered
