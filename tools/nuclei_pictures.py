"""The pictures that the model of nuclei learns from, brought to one cell width, as a folder.

A picture is resized before the network sees it, so that its typical nucleus is `WIDTH` pixels wide.
The estimate of that width may be wrong by a third either way, and so are the sizes in training:
every picture is there several times, at sizes spread around that one.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellcount_lib.data.datasets import Dataset, load
from cellcount_lib.data.reading import some
from cellcount_lib.data.sample import Sample, cell_width
from cellcount_lib.data.scaling import rescale
from cellcount_lib.data.splits import shuffled
from tools.training_folder import Picture

WIDTH = 20.0  # twice the pixels that the networks of the tables see
FACTOR = 1.35  # of the width, either way
BBBC038, MORE, SBSST265 = "bbbc038_fluo", "bbbc038_more", "sbsst265_sample"
SBSST265_TEST, SBSST265_VAL = 4, 3  # of 12 fields, in the order of `shuffled(names, seed=0)`
VALIDATED = 192  # pixels: of a validation picture the middle, so many squared
SEED = 0


class Part(NamedTuple):
    """Pictures that are in the training `copies` times."""

    name: str
    pictures: Dataset
    copies: int


def open_folder(folder: Path, split: str) -> Dataset:
    """Open a folder of real nuclei; which S-BSST265 fields are held back is said here."""
    if folder.name != SBSST265:
        return load(f"folder:{folder}", split=split)
    fields = load(f"folder:{folder}")
    order = shuffled(fields.names, seed=SEED)
    held = SBSST265_TEST + SBSST265_VAL
    names = {
        "test": order[:SBSST265_TEST],
        "val": order[SBSST265_TEST:held],
        "train": order[held:],
    }
    chosen = tuple(source for source in fields.sources if source.name in names[split])
    return replace(fields, split=split, sources=chosen)


def parts(data: Path) -> list[Part]:
    """List the training pictures: real ones below the folder `data`, and simulated ones."""
    medium = load("simulated:nuclei-medium", split="train")
    crowded = load("simulated:nuclei-overcrowded", split="train")
    return [
        Part("bbbc038", open_folder(data / BBBC038, "train"), 3),
        Part("more", open_folder(data / MORE, "train"), 3),
        Part("sbsst265", open_folder(data / SBSST265, "train"), 12),
        Part("medium", some(medium, 12), 2),
        Part("crowded", some(crowded, 6), 2),
    ]


def resized(sample: Sample, width: float) -> Sample:
    """Return a picture whose median cell is `width` pixels wide."""
    return rescale(sample, width / cell_width([sample]))


def middle(sample: Sample) -> Sample:
    """Return the middle of a picture: validation after every epoch must not take long."""
    rows, columns = (
        slice(max(0, (side - VALIDATED) // 2), max(0, (side - VALIDATED) // 2) + VALIDATED)
        for side in sample.labels.shape
    )
    return replace(sample, image=sample.image[rows, columns], labels=sample.labels[rows, columns])


def drawn(data: Path) -> Iterator[Picture]:
    """Yield training pictures, each at several sizes around `WIDTH`, and validation pictures."""
    rng = np.random.default_rng(SEED)
    for part in parts(data):
        for number, sample in enumerate(part.pictures):
            for copy in range(part.copies):
                place = (copy + rng.random()) / part.copies  # evenly over all sizes, 0 to 1
                width = WIDTH * FACTOR ** (2 * place - 1)
                name = f"{part.name}-{number:03d}-{copy}"
                yield Picture(name, "train", resized(sample, width))
    for name in (BBBC038, SBSST265):
        for number, sample in enumerate(open_folder(data / name, "val")):
            yield Picture(f"{name}-val-{number:03d}", "val", middle(resized(sample, WIDTH)))
