"""The pictures that the model of neurons learns from: simulated, with more dim cells nobody marked.

In real pictures of Fluorescent Neuronal Cells, people leave out cells that took up little dye. In
the three yellow pictures of the sample they are about as many as the marked ones, and half as
bright as these down to nearly nothing; those of the simulator are a tenth as bright. So every
simulated picture gets dim copies of marked cells of others, which belong to the background.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, find_objects, gaussian_filter

from cellcount_lib.data.datasets import load
from cellcount_lib.data.reading import some
from cellcount_lib.data.sample import Sample
from cellcount_lib.seeds import derived_seed
from tools.training_folder import Picture

VALIDATED = 24  # pictures
SEED = 0
AROUND = 12  # pixels of light around a cell that a copy takes along
CONTRAST, SPREAD = 52.0, 0.45  # grey levels over the background: median, and sigma of the logarithm
DIMMEST, BRIGHTEST = 15.0, 100.0
USUAL, PER_CELL = 4.0, 0.8  # expected copies in a picture, and for every marked cell in it
TRIES = 30


class Cell(NamedTuple):
    """The light of a marked cell over its surroundings, which fades to nothing at the border."""

    light: NDArray[np.float32]  # (h, w, 3)
    contrast: float  # grey levels, the 95th percentile in its mask


def cells(sample: Sample) -> Iterator[Cell]:
    """Yield the marked cells of a picture that lie whole in it and apart from others."""
    background = np.median(sample.image, axis=(0, 1))
    for number, place in enumerate(find_objects(sample.labels), start=1):
        if place is None:
            continue
        rows, columns = (slice(s.start - 2 * AROUND, s.stop + 2 * AROUND) for s in place)
        height, width = sample.labels.shape
        if min(rows.start, columns.start) < 0 or rows.stop > height or columns.stop > width:
            continue
        labels = sample.labels[rows, columns]
        if (labels[labels > 0] != number).any():
            continue
        mask = labels == number
        fading = gaussian_filter(binary_dilation(mask, iterations=AROUND).astype(np.float32), 4)
        over = np.clip(sample.image[rows, columns] - background, 0, None)
        contrast = float(np.percentile(over.max(axis=-1)[mask], 95))
        if contrast > DIMMEST:
            yield Cell((over * fading[..., None]).astype(np.float32), contrast)


def with_dim_cells(sample: Sample, pool: Sequence[Cell], rng: Generator) -> Sample:
    """Return a picture with dim copies of cells, none of them on a marked cell or marked itself."""
    image = sample.image.astype(np.float32)
    taken = sample.labels > 0
    for _ in range(rng.poisson(USUAL + PER_CELL * sample.count)):
        cell = pool[rng.integers(len(pool))]
        wanted = np.clip(CONTRAST * rng.lognormal(0, SPREAD), DIMMEST, BRIGHTEST)
        light = np.rot90(cell.light, rng.integers(4)) * min(1.0, wanted / cell.contrast)
        if rng.random() < 0.5:
            light = light[::-1]
        place = _free(taken, light.shape[:2], rng)
        if place is not None:
            image[place] += light
            taken[place] = True
    return replace(sample, image=np.clip(np.rint(image), 0, 255).astype(np.uint8))


def _free(
    taken: NDArray[np.bool_], size: tuple[int, int], rng: Generator
) -> tuple[slice, slice] | None:
    """A place where nothing is, or None if it is hard to find."""
    for _ in range(TRIES):
        corner = [int(rng.integers(side - s)) for side, s in zip(taken.shape, size, strict=True)]
        rows, columns = (slice(at, at + s) for at, s in zip(corner, size, strict=True))
        if not taken[rows, columns].any():
            return rows, columns
    return None


def drawn() -> Iterator[Picture]:
    """Yield training and validation pictures of the simulator with dim cells added."""
    train = list(load("simulated", split="train"))
    pool = [cell for sample in train for cell in cells(sample)]
    for split, samples in (
        ("train", train),
        ("val", some(load("simulated", split="val"), VALIDATED)),
    ):
        for number, sample in enumerate(samples):
            rng = np.random.default_rng(derived_seed(SEED, split, number))
            yield Picture(f"{split}-{number:03d}", split, with_dim_cells(sample, pool, rng))
