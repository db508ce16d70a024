"""What any method has to beat, and what none can: baselines without training, and the oracle.

- Adaptive threshold (S0, S3's companion table): each image is cut at its own intensity quantile,
  one quantile for all images, tuned on validation images.
- Otsu + watershed: the method of every image-analysis course (`postprocess.otsu`).
- The oracle: the true mask through post-processing and matching. What keeps it from a perfect score
  is the protocol, not a model.

Intensity is that of the brightest channel of a pixel. No source says which grey was used; a stain
shines in its own colour, which luminance would weigh unevenly (a blue nucleus by 7%).
"""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellcount_lib.data.sample import Sample, brightness
from cellcount_lib.errors import InputError
from cellcount_lib.scoring.cutoff import Choice, choose
from cellcount_lib.scoring.protocols import Protocol
from cellcount_lib.scoring.sweeps import sweep, sweep_rows

# Around the published choice, 0.994 (S0 Table 5.1): 0.980, 0.981, ..., 0.999.
QUANTILES = tuple(round(0.98 + 0.001 * i, 3) for i in range(20))


def intensity_rank(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Share of the image's pixels that are darker than this one: a heatmap made of intensity alone.

    Cut at a quantile it gives the adaptive threshold, so all that is made for heatmaps (sweeps,
    protocols, curves) applies to the baseline. Values are in [0, 1), and 0 everywhere in an image
    of one intensity.

    Examples
    --------
    >>> image = np.array([[10, 10, 20, 90]], np.uint8)[..., None].repeat(3, axis=2)
    >>> intensity_rank(image)
    array([[0.  , 0.  , 0.5 , 0.75]], dtype=float32)
    """
    grey = brightness(image)
    count = np.bincount(grey.ravel(), minlength=256)
    darker = np.cumsum(count) - count
    return (darker / grey.size).astype(np.float32)[grey]


def adaptive_threshold(image: NDArray[np.uint8], quantile: float) -> NDArray[np.bool_]:
    """Mask of the pixels that are brighter than a share `quantile` of the image.

    At most a share 1 - quantile is foreground, less where many pixels are equal, none in an image
    of one intensity. An image without cells has its brightest pixels marked nevertheless: what
    keeps them from being counted is that post-processing drops small objects. S0 uses 0.994.

    Examples
    --------
    >>> image = np.array([[10, 10, 20, 90]], np.uint8)[..., None].repeat(3, axis=2)
    >>> adaptive_threshold(image, 0.6)
    array([[False, False, False,  True]])
    """
    if not 0 <= quantile < 1:
        raise InputError(f"quantile: expected a number in [0, 1), found {quantile!r}")
    return intensity_rank(image) > float(quantile)


def tune_adaptive_threshold(
    samples: Sequence[Sample],
    protocol: Protocol,
    quantiles: Sequence[float] = QUANTILES,
    *,
    scale: float = 1.0,
    jobs: int = 1,
) -> Choice:
    """Choose the quantile of `adaptive_threshold` with the highest F1 on validation images.

    Highest F1 (argmax) whatever rule the protocol has for heatmaps: the knee stands for confidence,
    of which an intensity has none. The samples are read once; `quantiles` rise, in [0, 1).
    """
    images, labels = itertools.tee(samples)
    heatmaps = (intensity_rank(s.image) for s in images)
    truth = (s.labels for s in labels)
    return choose(sweep(heatmaps, truth, protocol, quantiles, scale=scale, jobs=jobs), "argmax")


def score_adaptive_threshold(
    samples: Sequence[Sample],
    protocol: Protocol,
    quantile: float,
    *,
    scale: float = 1.0,
    jobs: int = 1,
) -> pd.DataFrame:
    """Score `adaptive_threshold` with one quantile, as `oracle` scores the true mask."""
    ranks = (intensity_rank(s.image) for s in samples)
    return _rows(samples, ranks, protocol, quantile, scale=scale, jobs=jobs)


def oracle(
    samples: Sequence[Sample], protocol: Protocol, *, scale: float = 1.0, jobs: int = 1
) -> pd.DataFrame:
    """Score a model whose heatmap is the true mask: one row per picture.

    Touching cells that post-processing cannot part, and cells smaller than its smallest object, are
    lost to any model that predicts a mask. The samples are in memory.
    """
    heatmaps = ((s.labels > 0).astype(np.float32) for s in samples)
    return _rows(samples, heatmaps, protocol, 0.5, scale=scale, jobs=jobs)


def _rows(
    samples: Sequence[Sample],
    heatmaps: Iterable[NDArray[np.float32]],
    protocol: Protocol,
    cutoff: float,
    *,
    scale: float,
    jobs: int,
) -> pd.DataFrame:
    rows = sweep_rows(
        heatmaps,
        [s.labels for s in samples],
        protocol,
        [cutoff],
        images=[s.meta["name"] for s in samples],
        scale=scale,
        jobs=jobs,
    )
    return rows.drop(columns="cutoff")
