"""Other labels for training pictures than those that are given: what their quality is worth.

Validation and test pictures keep theirs, so that only what is learned from differs.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels

from cellcount_lib.data.sample import Sample, cell_width
from cellcount_lib.postprocess.otsu import otsu_watershed
from cellcount_lib.registry import Registry
from cellcount_lib.seeds import derived_seed

Labels = NDArray[np.int32]
WAVE = 0.2  # sd of how far a ragged outline is off, as a share of a cell's radius
MISSING = 0.2  # share of the cells


def _automatic(sample: Sample, width: float, scale: float) -> Labels:
    return otsu_watershed(sample.image, scale=scale)


def _ragged(sample: Sample, width: float, scale: float) -> Labels:
    """Let outlines waver about where they are."""
    labels, radius = sample.labels, width / 2
    noise = ndimage.gaussian_filter(_rng(sample, "outlines").normal(size=labels.shape), radius / 3)
    inside = labels > 0
    depth = np.where(
        inside,
        ndimage.distance_transform_edt(inside) - 0.5,
        0.5 - ndimage.distance_transform_edt(~inside),
    )
    still = depth + WAVE * radius * noise / noise.std() > 0
    return np.where(still, expand_labels(labels, radius), 0).astype(np.int32)


def _missing(sample: Sample, width: float, scale: float) -> Labels:
    """Forget cells at random."""
    numbers = np.unique(sample.labels)
    gone = numbers[_rng(sample, "cells").random(numbers.size) < MISSING]
    return np.where(np.isin(sample.labels, gone), 0, sample.labels).astype(np.int32)


def _rng(sample: Sample, what: str) -> np.random.Generator:
    # of the picture, not of the training: every seed learns from the same labels
    return np.random.default_rng(derived_seed(0, what, sample.meta["name"]))


LABELLINGS: Registry[tuple[Callable[[Sample, float, float], Labels], ...]] = Registry(
    "labelling",
    {
        "automatic": (_automatic,),
        "ragged": (_ragged,),
        "missing": (_missing,),
        "ragged-missing": (_missing, _ragged),
    },
)
"""``automatic``: Otsu's threshold and the watershed, as S4 had the labels of CellProfiler.
``ragged``: outlines that are off by a fifth of a cell's radius; ``missing``: every fifth cell has
no label. These spoil exact labels as those of S3 are, most of which are half automatic (S0)."""


def relabelled(samples: Sequence[Sample], labelling: str, *, scale: float) -> list[Sample]:
    """Give samples other labels; `scale` is that of their pixels for the protocols' sizes."""
    width = cell_width(samples)
    out = list(samples)
    for change in LABELLINGS[labelling]:
        out = [replace(s, labels=change(s, width, scale)) for s in out]
    return out
