"""Losses for networks that predict something other than a mask; see `formulations`."""

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import label
from torch import Tensor
from torch.nn import functional as F

from cellcount_lib.checks import check_positive
from cellcount_lib.data.shapes import FLOW_UNIT, RAY_UNIT, RAYS, depths, flows, rays
from cellcount_lib.errors import InputError
from cellcount_lib.losses.base import Loss, check_range, plain
from cellcount_lib.losses.combined import Combined


class ThreeClass(Loss):
    """Cross-entropy over background, inside and outline (0, 1, 2), logits (N, 3, H, W).

    Parameters
    ----------
    boundary_weight : float
        Weight of an outline pixel; the others have 1. Outline pixels are few.

    Examples
    --------
    >>> target = torch.tensor([[[0, 1, 2]]])
    >>> ThreeClass(boundary_weight=1.0)(torch.zeros(1, 3, 1, 3), target)  # log 3
    tensor(1.0986)
    """

    classes = 3

    def __init__(self, boundary_weight: float = 4.0) -> None:
        super().__init__()
        self.boundary_weight = check_positive("boundary_weight", boundary_weight)

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean over pixels, each with its weight."""
        logits, target = plain(logits), plain(target)
        target = target[:, 0] if target.ndim == 4 else target
        shape = (target.shape[0], self.classes, *target.shape[1:])
        if logits.shape != shape:
            raise InputError(f"logits: expected shape {shape}, found {tuple(logits.shape)}")
        check_range("target", target, "classes 0, 1 and 2", largest=self.classes - 1)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        price = logits.new_tensor([1.0, 1.0, self.boundary_weight])[target.long()]
        if weight is not None:
            price = price * plain(weight).reshape(target.shape)
        loss = F.cross_entropy(logits, target.long(), reduction="none")
        return (price * loss).sum() / price.sum()

    def truth(self, target: Tensor) -> Tensor:
        """Pixels inside of a cell, without its outline."""
        return target == 1


class DistanceMap(Loss):
    """Cross-entropy with the depth of a pixel in its cell as probability, target 0 to 255.

    Examples
    --------
    >>> DistanceMap()(torch.zeros(1, 1, 1, 2), torch.tensor([[[0, 255]]]))  # log 2
    tensor(0.6931)
    """

    largest = 255.0

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted mean."""
        loss = F.binary_cross_entropy_with_logits(logits, target / 255, reduction="none")
        return (weight * loss).sum() / weight.sum()

    def truth(self, target: Tensor) -> Tensor:
        """Pixels at least as deep as an outline: those of cells (of `Bell`, near an outline)."""
        return target > 127


class Bell(DistanceMap):
    """Mean squared error of the nearness to an outline, target 0 to 255 (S4's regression).

    Examples
    --------
    >>> Bell()(torch.zeros(1, 1, 1, 2), torch.tensor([[[0, 255]]]))  # twice one half, squared
    tensor(0.2500)
    """

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted mean."""
        return (weight * (logits.sigmoid() - target / 255) ** 2).sum() / weight.sum()


class Instances(Loss):
    r"""A loss on the mask plus one on every object, in which small objects count like large ones.

    .. math:: L = L_{mask} + \beta \cdot \frac1n \sum_{i=1}^{n}
        \left(1 - \frac{2 \sum_{x \in i} p_x}{\sum_{x \in i} (p_x + 1) + \frac1n \sum_{x \notin O}
        p_x}\right)

    Object i is judged on its own pixels; what is reported outside of all objects O is shared among
    them. (The blob loss of Kofler et al., IPMI 2023, charges it to every object.) The target is the
    number of the object, 1 to 255, and 0.

    Parameters
    ----------
    beta : float
        Weight of the second part; the first is the balanced combination of S1.
    """

    largest = 255.0

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = check_positive("beta", beta)
        self.mask = Combined(bce=0.3, dice=0.3, focal=0.4)

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return both parts together."""
        cells = (target > 0).to(logits.dtype)
        loss = self.mask.value(logits, cells, weight)
        p = logits.sigmoid()
        first = 256 * torch.arange(len(target), device=target.device).view(-1, 1, 1, 1)
        numbers = (target.long() + first).flatten()
        zeros = logits.new_zeros(256 * len(target))
        inside = zeros.scatter_add(0, numbers, p.flatten()).view(-1, 256)
        size = zeros.scatter_add(0, numbers, torch.ones_like(p).flatten()).view(-1, 256)
        there = size[:, 1:] > 0
        objects = there.sum(dim=1, keepdim=True).clamp(min=1)
        false = inside[:, :1] / objects
        score = 2 * inside[:, 1:] / (inside[:, 1:] + size[:, 1:] + false)
        per_object = torch.where(there, 1 - score, torch.zeros_like(score))
        return loss + self.beta * per_object.sum() / there.sum().clamp(min=1)


class Drawn(Loss):
    """A loss for networks that draw planes beside the logit of "cell": (N, 1 + planes, H, W).

    The target is the number of the cell, 1 to 255, and 0. What is to be drawn is computed from it
    here, after a crop was cut and turned: a ray that was computed before would have to be turned,
    too.
    """

    largest = 255.0
    planes: int

    def cell(self, logits: Tensor) -> Tensor:
        """Return the first plane."""
        return logits[:, :1]

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the sum of the losses of the first plane and of the others."""
        logits, target = plain(logits), plain(target)
        target = target[:, 0] if target.ndim == 4 else target
        shape = (target.shape[0], 1 + self.planes, *target.shape[1:])
        if logits.shape != shape:
            raise InputError(f"logits: expected shape {shape}, found {tuple(logits.shape)}")
        check_range("target", target, "numbers of cells, 0 to 255", largest=self.largest)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        weight = torch.ones_like(logits[:, :1]) if weight is None else plain(weight)
        drawn = (torch.from_numpy(part).to(logits) for part in self.draw(target.cpu().numpy()))
        return self.value(
            logits, torch.cat(list(drawn), dim=1), weight.reshape(logits[:, :1].shape)
        )

    def draw(self, numbers: NDArray[np.integer]) -> tuple[NDArray[np.float32], ...]:
        """Draw what is to be learned from the numbers of cells, (N, H, W)."""
        raise NotImplementedError


class StarConvex(Drawn):
    """Of StarDist: cross-entropy with the depth in the cell, and the error of the rays in pixels.

    The error of a pixel's rays counts as much as the pixel is deep, and 0.2 beside the first part.
    """

    planes = RAYS

    def draw(self, numbers: NDArray[np.integer]) -> tuple[NDArray[np.float32], ...]:
        """Draw depths and rays."""
        return np.stack([depths(crop) for crop in numbers])[:, None], rays(numbers)

    def truth(self, target: Tensor) -> Tensor:
        """Pixels that lie at least half as deep as the deepest of their cell."""
        numbers = target.reshape(-1, *target.shape[-2:]).cpu().numpy()
        deep = np.stack([depths(crop) > 0.5 for crop in numbers])
        return torch.from_numpy(deep).to(target.device).reshape(target.shape)

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted means, added."""
        depth, lengths = target[:, :1], target[:, 1:]
        loss = F.binary_cross_entropy_with_logits(logits[:, :1], depth, reduction="none")
        error = (RAY_UNIT * logits[:, 1:] - lengths).abs().mean(dim=1, keepdim=True)
        counts = weight * depth
        by_rays = (counts * error).sum() / counts.sum().clamp(min=1e-6)
        return (weight * loss).sum() / weight.sum() + 0.2 * by_rays


class Flow(Drawn):
    """Of Cellpose: cross-entropy with the mask, and half the squared error of 5 times the flow."""

    planes = 2

    def draw(self, numbers: NDArray[np.integer]) -> tuple[NDArray[np.float32], ...]:
        """Draw masks and flows; pieces of a number that lie apart are cells of their own."""
        pieces = np.stack([label(crop, connectivity=2) for crop in numbers])
        vectors = np.stack([flows(crop) for crop in pieces])
        return (numbers > 0).astype(np.float32)[:, None], vectors

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted means, added."""
        loss = F.binary_cross_entropy_with_logits(logits[:, :1], target[:, :1], reduction="none")
        error = ((logits[:, 1:] - FLOW_UNIT * target[:, 1:]) ** 2).mean(dim=1, keepdim=True)
        return (weight * (loss + 0.5 * error)).sum() / weight.sum()
