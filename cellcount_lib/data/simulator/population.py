"""How many cells, how large, on how bright a background: published figures as distributions.

The dataset of 283 pictures is drawn by strata: picture i takes rank pi(i) of 283 in each
distribution, pi a permutation that depends on the seed alone. The population then follows the
published quantiles closely, while every picture is still a function of (seed, index) only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, SeedSequence
from scipy.special import ndtr, ndtri

N_IMAGES = 283  # S3
N_MANUAL = 31  # labelled by hand; the released order puts them last (indices 252 to 282)

# Number of marked objects by rank among 283 pictures, linear between the knots: 52 empty pictures,
# median 4, 48 with more than 10, 27 with more than 20, at most 69, 2188 in all (measured on the
# FNC v1 archive), half of them in pictures of more than 20 (S0's table weighted by cells).
COUNT_RANKS = (0, 51, 52, 75, 105, 141, 170, 200, 217, 234, 235, 255, 256, 262, 270, 278, 280, 282)
COUNT_VALUES = (0, 0, 1, 1, 2, 4, 5, 6, 8, 10, 11, 20, 22, 28, 42, 58, 62, 69)

# Area in pixels of a connected object, by quantile (measured on the archive; the ends continue).
AREA_QUANTILES = (0.0, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.97, 0.99, 1.0)
AREA_VALUES = (100, 232, 460, 770, 1200, 1925, 2930, 4450, 6150, 10000)

# Cells of crowded pictures are smaller: the median picture has 0.445% foreground with 4 objects,
# that is 2100 pixels for each, against 1506 in the mean over all objects.
CROWDING = -0.65
SAME_PICTURE = 0.45
LARGEST = 4.0


@dataclass(frozen=True)
class Stratum:
    """What the place of a picture in the population decides; ranks lie between 0 and 1."""

    count: int
    manual: bool
    background: float
    artifact: float
    size_score: float


def counts_by_rank() -> np.ndarray:
    """Number of objects of the 283 pictures, ascending."""
    counts = np.interp(np.arange(N_IMAGES), COUNT_RANKS, COUNT_VALUES)
    return np.rint(counts).astype(int)


def stratum(index: int, seed: int) -> Stratum:
    """Return the place of picture `index`; every run of 283 indices is a population of its own."""
    block, place = divmod(index, N_IMAGES)
    rng = np.random.default_rng(SeedSequence([seed, block, 0x5354]))
    counts = counts_by_rank()
    # significant pictures were labelled by hand (S3): the crowded ones more often than the others
    weight = 1 + counts / 6
    manual = rng.choice(N_IMAGES, N_MANUAL, replace=False, p=weight / weight.sum())
    others = rng.permutation(np.setdiff1d(np.arange(N_IMAGES), manual))
    rank = np.concatenate([others, rng.permutation(manual)])[place]
    background, artifact = (rng.permutation(N_IMAGES)[place] for _ in range(2))
    # normal score of the picture's place when each picture weighs as much as it has cells
    below = counts[:rank].sum() + 0.5 * counts[rank]
    score = ndtri(np.clip(below / counts.sum(), 0.01, 0.99))
    own = ndtri((rng.permutation(N_IMAGES)[place] + 0.5) / N_IMAGES)
    if rank == N_IMAGES - 1:
        own = LARGEST  # 5.75% of the most covered picture is foreground: 69 cells of 1600 pixels
    return Stratum(
        count=int(counts[rank]),
        manual=place >= N_IMAGES - N_MANUAL,
        background=(background + 0.5) / N_IMAGES,
        artifact=(artifact + 0.5) / N_IMAGES,
        size_score=float(CROWDING * score + SAME_PICTURE * own),
    )


def draw_area(rng: Generator, size_score: float) -> int:
    """Draw the area of one object; over all pictures the areas follow `AREA_VALUES`."""
    free = np.sqrt(1 - CROWDING**2 - SAME_PICTURE**2)
    quantile = ndtr(size_score + free * rng.normal())
    return int(np.exp(np.interp(quantile, AREA_QUANTILES, np.log(AREA_VALUES))))
