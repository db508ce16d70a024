"""Batches for the Learner: cut on the device, augmented on the device, no process in between."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellcount_lib.errors import InputError
from cellcount_lib.seeds import derived_seed
from cellcount_lib.training.augment import Augmentation
from cellcount_lib.training.crops import Crops, Places

Batch = tuple[Tensor, ...]
"""image float32 (N, 3, S, S) in [0, 1], mask uint8 (N, 1, S, S), and weights if there are any."""


class Batches:
    """An endless supply of epochs; fastai asks for `len`, iterates, and reads `n_inp`.

    What an epoch holds depends on the seed and on its number alone, so that a training that was
    interrupted continues with the batches it would have seen.

    Without augmentation, crops come as they are, in the order of the places (validation). An epoch
    has `steps` batches, for which the crops of the places are drawn in rounds; without `steps`,
    each crop comes once, and training leaves out an incomplete last batch.
    """

    n_inp = 1  # how many tensors of a batch the network takes

    def __init__(
        self,
        crops: Crops,
        places: Places,
        *,
        side: int,
        batch: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        steps: int | None = None,
    ) -> None:
        if batch < 1 or side < 1 or (steps is not None and steps < 1):
            raise InputError(
                f"batch, side, steps: expected whole numbers >= 1, found {batch}, {side}, {steps}"
            )
        self.crops, self.places, self.side, self.batch = crops, places, side, batch
        self.seed, self.augmentation, self.steps = seed, augmentation, steps
        self.epoch = 0  # the one that the next iteration gives; `callbacks.EpochSeed` sets it

    @property
    def device(self) -> torch.device:
        """Where the batches are."""
        return self.crops.device

    def to(self, device: object) -> "Batches":
        """Part of fastai's interface; the crops stay where they were put."""
        return self

    def __len__(self) -> int:
        if self.augmentation is None:
            return -(-self.places.image.size // self.batch)
        return self.steps or max(1, self.places.per_epoch // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        if self.augmentation is None:
            yield from self._all()
        else:
            yield from self._epoch(self.augmentation)

    def one_batch(self) -> Batch:
        """Return the first batch of the epoch."""
        return next(iter(self))

    def _all(self) -> Iterator[Batch]:
        """Every place once, unchanged."""
        corners = self.places.box[:, [0, 2]]
        for image, corner in self._parts(self.places.image, corners):
            pixels, weights = self.crops.cut(image, corner, self.side)
            scaled = pixels[:, :3].float().div_(255).contiguous(memory_format=torch.channels_last)
            mask = pixels[:, 3:]
            yield (scaled, mask) if weights is None else (scaled, mask, weights.float())

    def _epoch(self, change: Augmentation) -> Iterator[Batch]:
        rng = np.random.default_rng(derived_seed(self.seed, "crops", self.epoch))
        noise = torch.Generator().manual_seed(derived_seed(self.seed, "augment", self.epoch))
        # without `steps`, a single batch may be all there is
        whole = self.batch if self.steps else min(self.batch, self.places.per_epoch)
        needed = len(self) * whole
        rounds = [self.places.epoch(rng) for _ in range(-(-needed // self.places.per_epoch))]
        images = np.concatenate([r[0] for r in rounds])[:needed]
        corners = np.concatenate([r[1] for r in rounds])[:needed]
        margin = change.margin(self.side)
        for image, corner in self._parts(images, corners):
            pixels, weights = self.crops.cut(image, corner, self.side, margin=margin)
            picture, mask, weights = change(pixels, weights, self.side, noise)
            yield (picture, mask) if weights is None else (picture, mask, weights)

    def _parts(
        self, images: NDArray[np.int64], corners: NDArray[np.int64]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(images), self.batch):
            part = slice(start, start + self.batch)
            yield torch.from_numpy(images[part]), torch.from_numpy(corners[part])
