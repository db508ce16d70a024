"""Make pictures of another kind look more like those a network was trained on, step by step.

A network that fails on foreign pictures may fail for trivial reasons: cells of another size, no
colour, another exposure. Each has a remedy that needs no training, and each remedy is a named step
that can be left out, so that its effect can be tabulated. What the steps need to know, a few
labelled pictures tell (`measure`); the network is never changed.

Taught in: 07_out_of_distribution
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import wasserstein_distance

from cellcount_lib.data.sample import Sample, brightness, cell_width
from cellcount_lib.errors import InputError
from cellcount_lib.registry import Registry

STEPS: Registry[str] = Registry(
    "harmonisation step",
    {
        "size": "the network sees cells as wide as those it was trained on",
        "colour": "brightness gets the colour of the training cells",
        "intensity": "background and cells are as bright as in training pictures",
        "cutoff": "the cutoff is chosen again, on validation pictures of the new kind",
    },
)


class Look(NamedTuple):
    """What a kind of picture looks like."""

    cell_px: float  # width of the median cell
    background: float  # median brightness outside of cells, 0 to 255: of the brightest channel
    cell: float  # the same in cells
    colour: tuple[float, float, float]  # mean of the channels in cells, over the highest of them


def steps(names: str | None) -> tuple[str, ...]:
    """Read the names of steps that are joined by ``+``; None is no step.

    Examples
    --------
    >>> steps("size+colour"), steps(None)
    (('size', 'colour'), ())
    """
    asked = tuple(names.split("+")) if names else ()
    for name in asked:
        STEPS[name]  # an unknown name raises
    if len(set(asked)) != len(asked):
        raise InputError(f"harmonise: expected every step once, found {names!r}")
    return asked


def measure(samples: Sequence[Sample]) -> Look:
    """Measure the look of labelled pictures.

    Examples
    --------
    >>> labels = np.zeros((40, 40), np.int32)
    >>> labels[5:35, 5:35] = 1
    >>> image = np.full((40, 40, 3), 10, np.uint8)
    >>> image[labels > 0] = (200, 100, 0)
    >>> measure([Sample(image, labels, {})])
    Look(cell_px=33.85, background=10.0, cell=200.0, colour=(1.0, 0.5, 0.0))
    """
    light = [brightness(s.image) for s in samples]
    inside = [s.labels > 0 for s in samples]
    cells = np.concatenate([s.image[i] for s, i in zip(samples, inside, strict=True)])
    width = cell_width(samples)  # refuses pictures without cells
    outside = np.concatenate([v[~i] for v, i in zip(light, inside, strict=True)])
    mean = cells.mean(axis=0)
    red, green, blue = (round(float(v), 3) for v in mean / max(mean.max(), 1e-6))
    return Look(
        cell_px=round(width, 2),
        background=float(np.median(outside)),
        cell=float(np.median(cells.max(axis=1))),
        colour=(red, green, blue),
    )


@dataclass(frozen=True)
class Harmonisation:
    """Named steps of `STEPS` that bring new pictures closer to those of a training."""

    names: tuple[str, ...]
    home: Look  # of the training pictures
    away: Look  # of the new ones

    @property
    def magnification(self) -> float:
        """By how much the new pictures must grow for their cells to have the home size."""
        return self.home.cell_px / self.away.cell_px if "size" in self.names else 1.0

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Change colour and brightness of a picture, uint8 (H, W, 3); its size stays.

        Examples
        --------
        >>> home = Look(20.0, 0.0, 200.0, (1.0, 0.5, 0.0))
        >>> away = Look(20.0, 50.0, 150.0, (1.0, 1.0, 1.0))
        >>> change = Harmonisation(("colour", "intensity"), home, away)
        >>> change(np.array([[[50, 50, 50], [100, 100, 100], [150, 150, 150]]], np.uint8)).tolist()
        [[[0, 0, 0], [100, 50, 0], [200, 100, 0]]]
        """
        values = image.astype(np.float32)
        if "colour" in self.names:
            light = brightness(image).astype(np.float32)
            values = light[..., None] * np.array(self.home.colour, np.float32)
        if "intensity" in self.names:
            before = brightness(image).astype(np.float32)
            contrast = (self.home.cell - self.home.background) / max(
                1.0, self.away.cell - self.away.background
            )
            after = self.home.background + contrast * (before - self.away.background)
            values = values * (np.maximum(after, 0) / np.maximum(before, 1))[..., None]
        return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Harmonised(Sequence[Sample]):
    """Pictures of a dataset, each harmonised when it is read; labels stay as they are."""

    samples: Sequence[Sample]
    change: Harmonisation

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Harmonised": ...
    def __getitem__(self, index: int | slice) -> "Sample | Harmonised":
        if isinstance(index, slice):
            return Harmonised(self.samples[index], self.change)
        sample = self.samples[index]
        return replace(sample, image=self.change(sample.image))


DESCRIPTORS = ("width", "light", "contrast", "colour", "crowding")


def describe(samples: Sequence[Sample], magnification: float = 1.0) -> NDArray[np.float64]:
    """Describe every cell by five numbers, (cells, 5), in the order of `DESCRIPTORS`.

    Logarithm of the width in pixels; median brightness; brightness over that of the picture's
    background; how far the channels are apart; share of the cells' area in the picture.
    """
    rows = [np.empty((0, len(DESCRIPTORS)))]
    for sample in samples:
        light = brightness(sample.image).astype(np.float64)
        spread = np.ptp(sample.image.astype(np.float64), axis=-1)
        ground = light[sample.labels == 0]
        background = float(np.median(ground)) if ground.size else 0.0
        areas = np.bincount(sample.labels.ravel())
        cells = np.flatnonzero(areas[1:]) + 1
        inside = ndimage.median(light, sample.labels, cells)
        columns = (
            np.log(2 * np.sqrt(areas[cells] / np.pi) * magnification),
            inside,
            inside - background,
            ndimage.median(spread, sample.labels, cells) / np.maximum(inside, 1.0),
            np.full(len(cells), (sample.labels > 0).mean()),
        )
        rows.append(np.column_stack(columns))
    return np.concatenate(rows)


def distance(home: NDArray[np.float64], away: NDArray[np.float64]) -> dict[str, float]:
    """Measure how far two kinds of pictures are apart, by descriptor and on average ("mean").

    The Wasserstein distance of the two distributions of each descriptor, in standard deviations of
    the home one: 1 means that values have to be moved by one home standard deviation.

    Examples
    --------
    >>> home = np.tile([[0.0], [2.0]], (1, 5))
    >>> distance(home, home + 3)["mean"]
    3.0
    """
    apart = {
        name: float(wasserstein_distance(home[:, i], away[:, i]) / max(home[:, i].std(), 1e-9))
        for i, name in enumerate(DESCRIPTORS)
    }
    return apart | {"mean": float(np.mean(list(apart.values())))}
