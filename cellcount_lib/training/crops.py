"""Training crops: pictures that stay on the training device, and the places crops are cut from.

Nothing is loaded while a network trains. All pictures lie in one flat table of bytes, a row
(red, green, blue, mask) per pixel, on the device that trains; a batch of crops is one indexing
operation there. A *place* says where a crop may start and how often it is drawn in an epoch, which
is all that oversampling is.

Taught in: 04_ablations
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cellcount_lib.data.sample import Sample, brightness
from cellcount_lib.errors import InputError
from cellcount_lib.inference.formulations import MASK
from cellcount_lib.registry import Registry
from cellcount_lib.training.weightmap import weight_map

GRID_CROP, GRID_STRIDE = 512, 400  # S3: 4x3 crops of 512 pixels, 400 apart, from 1600x1200
ARTIFACT_CROPS = 6  # S3


@dataclass(frozen=True)
class Copies:
    """How often an epoch shows a crop: by how its picture was labelled, and if it has artifacts."""

    semi_automatic: int = 1
    manual: int = 1
    artifact: int = 129

    def times(self, samples: Sequence[Sample]) -> NDArray[np.int64]:
        """Return the number for every picture; what was labelled in another way is shown once."""
        times = {"semi-automatic": self.semi_automatic, "manual": self.manual}
        return np.array([times.get(s.meta.get("labelling", ""), 1) for s in samples], np.int64)


@dataclass(frozen=True, eq=False)
class Places:
    """Where crops come from; one row per place."""

    image: NDArray[np.int64]  # shape (P,)
    # The upper left corner of a crop is drawn evenly from rows box[0]..box[1] and columns
    # box[2]..box[3], ends included. A fixed place has box[0] = box[1] and box[2] = box[3].
    box: NDArray[np.int64]  # shape (P, 4)
    times: NDArray[np.int64]  # crops per epoch, shape (P,)

    def __add__(self, other: "Places") -> "Places":
        return Places(
            np.concatenate([self.image, other.image]),
            np.concatenate([self.box, other.box]),
            np.concatenate([self.times, other.times]),
        )

    @property
    def per_epoch(self) -> int:
        """Crops in one epoch."""
        return int(self.times.sum())

    def with_artifacts(self, artifacts: "Places") -> "Places":
        """Add places; where they are among these, theirs count instead."""
        rows, theirs = (np.column_stack([p.image, p.box]) for p in (self, artifacts))
        others = ~(rows[:, None] == theirs).all(axis=2).any(axis=1)
        return Places(self.image[others], self.box[others], self.times[others]) + artifacts

    def epoch(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw one epoch in random order: image (n,), and upper left corner (n, 2)."""
        order = rng.permutation(np.repeat(np.arange(self.times.size), self.times))
        low, high = self.box[order][:, [0, 2]], self.box[order][:, [1, 3]]
        return self.image[order], rng.integers(low, high, endpoint=True)


def _places(rows: Iterable[tuple[int, int, int, int, int, int]]) -> Places:
    table = np.array(list(rows), np.int64).reshape(-1, 6)
    return Places(table[:, 0], table[:, 1:5], table[:, 5])


def grid_starts(side: int, crop: int) -> list[int]:
    """Return where crops start along a side: as far apart as in S3, the last one shifted inside.

    Examples
    --------
    >>> grid_starts(1600, 512), grid_starts(1200, 512), grid_starts(100, 128)
    ([0, 400, 800, 1088], [0, 400, 688], [0])
    """
    stride = max(1, round(crop * GRID_STRIDE / GRID_CROP))
    last = max(side - crop, 0)
    inside = range(0, last, stride)
    return [*inside, last] if last else [0]


def grid_places(samples: Sequence[Sample], crop: int) -> Places:
    """The fixed grid of 2021: 4x3 crops per image."""
    return _places(
        (i, y, y, x, x, 1)
        for i, s in enumerate(samples)
        for y in grid_starts(s.labels.shape[0], crop)
        for x in grid_starts(s.labels.shape[1], crop)
    )


def random_places(samples: Sequence[Sample], crop: int) -> Places:
    """Random crops, as in 2023: anywhere, as many per image as the grid would give."""
    rows = []
    for i, sample in enumerate(samples):
        height, width = sample.labels.shape
        number = len(grid_starts(height, crop)) * len(grid_starts(width, crop))
        rows.append((i, 0, max(height - crop, 0), 0, max(width - crop, 0), number))
    return _places(rows)


def cell_places(samples: Sequence[Sample], crop: int) -> Places:
    """Half of the crops anywhere, half where the centre of a given cell is inside.

    Most of a picture is background, and a fifth of the pictures holds no cell: random crops spend
    most steps on what is learned first. Every cell gets one place.
    """
    rows = []
    for i, sample in enumerate(samples):
        height, width = sample.labels.shape
        for y, x in _centres(sample.labels):
            top, left = max(y - crop + 1, 0), max(x - crop + 1, 0)
            bottom, right = max(min(y, height - crop), 0), max(min(x, width - crop), 0)
            rows.append((i, min(top, bottom), bottom, min(left, right), right, 1))
    anywhere = random_places(samples, crop)
    share = max(1, round(len(rows) / len(samples)))
    anywhere = Places(anywhere.image, anywhere.box, np.full_like(anywhere.times, share))
    return _places(rows) + anywhere


def _centres(labels: NDArray[np.int32]) -> list[tuple[int, int]]:
    boxes = [box for box in ndimage.find_objects(labels) if box is not None]
    return [tuple((s.start + s.stop - 1) // 2 for s in box) for box in boxes]


def artifact_places(
    samples: Sequence[Sample], crop: int, times: int, *, number: int = ARTIFACT_CROPS
) -> Places:
    """Artifact oversampling (AO): the crops with the most bright matter that is no cell.

    S3 picked six crops by eye. Here the rule is: within a crop, count the pixels that are as bright
    as the upper quarter of cell pixels but lie outside every cell and its rim; the `number` crops
    with the highest counts are drawn `times` times each.
    """
    cells = [brightness(s.image)[s.labels > 0] for s in samples]
    inside = np.concatenate(cells)
    if inside.size == 0:
        raise InputError("artifact oversampling needs training pictures with at least one cell")
    bright = np.percentile(inside, 75)
    counted = []
    for i, sample in enumerate(samples):
        rim = max(2, round(crop / GRID_CROP * 15))  # glow around a cell, 15 pixels at full size
        near = ndimage.maximum_filter(sample.labels > 0, size=2 * rim + 1)
        foreign = (brightness(sample.image) >= bright) & ~near
        for y in grid_starts(foreign.shape[0], crop):
            for x in grid_starts(foreign.shape[1], crop):
                count = int(foreign[y : y + crop, x : x + crop].sum())
                counted.append((-count, i, y, x))
    chosen = [row for row in sorted(counted)[:number] if row[0] < 0]
    if not chosen:
        raise InputError(
            "artifact oversampling: no crop shows anything as bright as a cell outside the cells"
        )
    return _places((i, y, y, x, x, times) for _, i, y, x in chosen)


PLACES = Registry(
    "crop sampling", {"grid": grid_places, "random": random_places, "cells": cell_places}
)


def epoch_places(
    samples: Sequence[Sample], crop: int, sampling: str, copies: Copies, *, artifacts: bool = False
) -> Places:
    """Return the places of a training: a way of sampling, with copies, and with AO if asked."""
    places = PLACES[sampling](samples, crop)
    places = replace(places, times=places.times * copies.times(samples)[places.image])
    if not artifacts:
        return places
    return places.with_artifacts(artifact_places(samples, crop, copies.artifact))


class Crops:
    """Pictures, masks and weight maps in flat tables on a device, and the cutting of crops.

    Parameters
    ----------
    samples : sequence of Sample
        Sizes may differ.
    target : callable
        Draws the answer that the network is to learn, uint8 (H, W), from labels.
    weight_sigma : float, optional
        Make weight maps with this sigma (float16: three digits); without, there are none.
    device : str or torch.device
        Where the tables lie. With ``pinned=True`` they stay in page-locked host memory and only
        the crops travel, for data that is larger than the device's memory.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        target: Callable[[NDArray[np.int32]], NDArray[np.uint8]] = MASK.target,
        weight_sigma: float | None = None,
        device: str | torch.device = "cpu",
        pinned: bool = False,
    ) -> None:
        if not samples:
            raise InputError("crops: expected at least one picture, found none")
        self.shapes = np.array([s.labels.shape for s in samples], np.int64)
        self.device = torch.device(device)
        self.home = torch.device("cpu") if pinned else self.device
        sizes = self.shapes.prod(axis=1)
        pixels = np.empty((sizes.sum(), 4), np.uint8)  # red, green, blue, target
        weights = None if weight_sigma is None else np.empty(sizes.sum(), np.float16)
        start = 0
        for sample, size in zip(samples, sizes, strict=True):
            part = slice(start, start := start + size)
            pixels[part, :3] = sample.image.reshape(-1, 3)
            pixels[part, 3] = target(sample.labels).reshape(-1)
            if weights is not None and weight_sigma is not None:
                weights[part] = weight_map(sample.labels, sigma=weight_sigma).reshape(-1)
        self.pixels = self._stay(torch.from_numpy(pixels), pinned)
        self.weights = None if weights is None else self._stay(torch.from_numpy(weights), pinned)
        offsets = np.concatenate([[0], sizes.cumsum()[:-1]])
        self._frames = torch.from_numpy(np.column_stack([offsets, self.shapes])).to(self.home)

    def _stay(self, table: Tensor, pinned: bool) -> Tensor:
        return table.pin_memory() if pinned else table.to(self.home)

    @staticmethod
    def bytes_needed(samples: Sequence[Sample], *, weights: bool) -> int:
        """Return the bytes of the tables."""
        return sum(s.labels.size for s in samples) * (6 if weights else 4)

    def cut(
        self, image: Tensor, corner: Tensor, side: int, *, margin: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Cut square crops, mirrored at the edges of their picture.

        The corners (N, 2) are upper left ones (row, column) of crops without their margin: further
        pixels on every side, so that a rotation finds real surroundings. A crop may be larger than
        its picture. Returns pixels, uint8 (N, 4, S, S) with S = side + 2 margin, channels last, and
        weights, float16 (N, 1, S, S), or None.
        """
        steps = torch.arange(-margin, side + margin, device=self.home)
        offset, height, width = self._frames[image.to(self.home)].unbind(1)
        rows = _mirror(corner[:, :1].to(self.home) + steps, height[:, None])
        columns = _mirror(corner[:, 1:].to(self.home) + steps, width[:, None])
        # (N, S, S): the number of every pixel in the flat tables
        index = (offset[:, None] + rows * width[:, None])[:, :, None] + columns[:, None, :]
        index = index.view(-1)
        square = (len(image), len(steps), len(steps))
        pixels = self.pixels.index_select(0, index).view(*square, 4).permute(0, 3, 1, 2)
        weights = None
        if self.weights is not None:
            weights = self.weights.index_select(0, index).view(square)[:, None]
            weights = weights.to(self.device, non_blocking=True)
        return pixels.to(self.device, non_blocking=True), weights


def _mirror(position: Tensor, length: Tensor) -> Tensor:
    """Fold positions into 0..length-1 by mirrors that lie on the outermost pixels' outer edges.

    >>> _mirror(torch.arange(-2, 6), torch.tensor(3)).tolist()
    [1, 0, 0, 1, 2, 2, 1, 0]
    """
    folded = position.remainder(2 * length)
    return torch.minimum(folded, 2 * length - 1 - folded)
