"""What a network is asked to draw, so that touching cells come apart.

A mask says where cells are; two cells that touch are one patch of it. S4 compares other questions
to the network: which pixels are inside a cell, which on an outline, which are neither (three
classes); which are on an outline (boundary alone), or how near to one (bell). Others ask how deep
inside its cell a pixel lies (distance). Each answer is one heatmap, and each has its own way from
the heatmap to objects; everything else, matching and counting, is the protocol's.

Taught in: 09_touching_cells

References
----------
S4, sections 3.1.1 and 5 (three classes, outlines 2 to 8 pixels wide, half of it added again;
outlines as a regression).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import find_boundaries

from cellcount_lib.postprocess.cleaning import Way
from cellcount_lib.postprocess.postprocess import Cores, Enclosed, Postprocessing
from cellcount_lib.postprocess.splitting import Peaks
from cellcount_lib.registry import Registry
from cellcount_lib.scoring.protocols import CELL_AREA, Protocol

BOUNDARY = 2  # the class of outlines; 1 is inside, 0 background
LARGEST = 4  # cells: an outline that encloses more than that encloses background
HALF = 127.5  # a distance target of this is the outline, 255 the middle of a cell
PEAK = 0.1  # a peak of the distance heatmap rises by this much: a neck of 80% of the radius


@dataclass(frozen=True)
class Formulation:
    """A question to the network, and the way from its answer to objects: is a pixel in a cell?"""

    channels: ClassVar[int] = 1  # of the network's output

    def target(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Draw the answer that the network is to learn, uint8 (H, W).

        Examples
        --------
        >>> row = np.array([[0, 0, 1, 1, 1, 1, 0, 0]])
        >>> OF_LOSS["three-class-2"].target(row).tolist()
        [[0, 2, 2, 1, 1, 2, 2, 0]]
        >>> MASK.target(row).tolist()
        [[0, 0, 1, 1, 1, 1, 0, 0]]
        """
        return (labels > 0).astype(np.uint8)

    def probability(self, labels: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the heatmap of a network that makes no error."""
        return (self.target(labels) == 1).astype(np.float32)

    def perfect(self, labels: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the logits of a network that makes no error and is rather sure."""
        p = np.clip(self.probability(labels), 0.001, 0.999)
        return np.log(p / (1 - p))

    def adapt(self, protocol: Protocol, *, magnification: float) -> Protocol:
        """Return the protocol with this formulation's way from the heatmap to objects.

        `magnification` is the number of the protocol's pixels per pixel that the network sees.
        """
        usual = protocol.postprocess
        way = self.way(usual, magnification)
        if way == usual.touching:
            return protocol
        # its objects touch: labelled by their mask again, they would be joined
        return replace(protocol, postprocess=replace(usual, touching=way), pred_connectivity=None)

    def way(self, usual: Postprocessing, magnification: float) -> Way:
        """Return how touching cells are told apart in place of what the protocol does."""
        return usual.touching


@dataclass(frozen=True)
class ThreeClasses(Formulation):
    """Is a pixel inside a cell, on its outline, or neither?"""

    channels = 3
    width: int  # of outlines, in pixels that the network sees; half of it lies inside the cell

    def target(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Draw the class of every pixel."""
        edge = outlines(labels, self.width)
        return np.where(edge, BOUNDARY, labels > 0).astype(np.uint8)

    def way(self, usual: Postprocessing, magnification: float) -> Cores:
        """Let the insides grow by half of an outline."""
        return Cores(self.width / 2 * magnification, usual.cleaning.objects_below // 4)


@dataclass(frozen=True)
class Boundary(ThreeClasses):
    """Is a pixel on an outline?"""

    channels = 1

    def target(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Draw outlines."""
        return outlines(labels, self.width).astype(np.uint8)

    def way(self, usual: Postprocessing, magnification: float) -> Cores:
        """Take what outlines enclose, and let it grow in the same way."""
        inside = super().way(usual, magnification)
        return Enclosed(inside.grow, inside.cores_below, largest=LARGEST * CELL_AREA)


@dataclass(frozen=True)
class Bell(Boundary):
    """How near to an outline is a pixel? One half where an outline of `width` would end."""

    def target(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Draw a Gaussian bell over the distance to outlines, 255 on them, 0 from 4 pixels on."""
        return bell(labels, self.width)

    def probability(self, labels: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return a share of 1."""
        return np.divide(self.target(labels), 255, dtype=np.float32)


@dataclass(frozen=True)
class Distance(Formulation):
    """How deep inside its cell does a pixel lie?"""

    def target(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Draw depths."""
        return depth(labels)

    def probability(self, labels: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return a share of 1."""
        return np.divide(self.target(labels), 255, dtype=np.float32)

    def way(self, usual: Postprocessing, magnification: float) -> Way:
        """Take every peak for a cell."""
        return Peaks(PEAK)


@dataclass(frozen=True)
class Instances(Formulation):
    """Is a pixel in a cell? The loss weighs cells one by one, so their numbers are drawn."""

    def target(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Draw numbers from 1 to 255, then from 1 again."""
        return np.where(labels > 0, (labels - 1) % 255 + 1, 0).astype(np.uint8)

    def probability(self, labels: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return that of the mask."""
        return (labels > 0).astype(np.float32)


def outlines(labels: NDArray[np.integer], width: int) -> NDArray[np.bool_]:
    """Mark the pixels within `width` / 2 of an outline, on both sides of it.

    Examples
    --------
    >>> outlines(np.array([[0, 0, 0, 5, 5, 5]]), 4).tolist()
    [[False, True, True, True, True, False]]
    """
    return _from_outlines(labels) < width / 2


def bell(labels: NDArray[np.integer], width: int, widest: int = 8) -> NDArray[np.uint8]:
    """Draw a Gaussian bell over the distance to the nearest outline, which runs between two pixels.

    The pixels beside the outline have 255, those at `width` / 2 would have one half of it, and
    those beyond `widest` / 2 have 0. (S4 gives the first and the last; the width is ours, that of
    its best outlines.)

    Examples
    --------
    >>> bell(np.array([[0, 0, 0, 0, 0, 0, 1, 1]]), 4).tolist()
    [[0, 0, 28, 84, 176, 255, 255, 176]]
    """
    beside = _from_outlines(labels)  # half a pixel less than the distance
    fall = np.log(2) / (width**2 / 4 - 1 / 4)
    height = 255 * np.exp(-fall * (beside**2 + beside))  # (beside + 1/2)^2 - 1/4
    return np.where(beside < widest / 2, np.rint(height), 0).astype(np.uint8)


def _from_outlines(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Distance from the nearest pixel that has an outline beside it; infinite without outlines."""
    edge = find_boundaries(labels)  # a pixel on both sides
    if not edge.any():
        return np.full(labels.shape, np.inf)
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~edge)
    return distance


def depth(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Draw how deep in its own cell every pixel lies: 0 outside, 128 at the outline, 255 deepest.

    Examples
    --------
    >>> depth(np.array([[0, 1, 1, 1, 1, 1, 0]] * 9)).tolist()[4]
    [0, 170, 212, 255, 212, 170, 0]
    """
    labels = np.ascontiguousarray(labels, np.int32)
    distance = edt.edt(labels, black_border=False, parallel=1)
    deepest = np.asarray(
        ndimage.maximum(distance, labels, np.arange(int(labels.max()) + 1)), np.float32
    )
    share = distance / np.maximum(deepest, 1e-6)[labels]
    return np.where(labels > 0, np.rint(HALF + (255 - HALF) * share), 0).astype(np.uint8)


MASK = Formulation()

OF_LOSS: Registry[Formulation] = Registry(
    "formulation",
    {
        "three-class-2": ThreeClasses(2),
        "three-class-4": ThreeClasses(4),
        "three-class-6": ThreeClasses(6),
        "three-class-8": ThreeClasses(8),
        "boundary-2": Boundary(2),
        "boundary-4": Boundary(4),
        "boundary-6": Boundary(6),
        "boundary-8": Boundary(8),
        "boundary-bell": Bell(4),
        "distance": Distance(),
        "instances": Instances(),
    },
)
"""Formulations by the loss that goes with them; every other loss asks for a mask."""


def formulation(loss: str) -> Formulation:
    """Return what a loss asks the network for.

    Examples
    --------
    >>> formulation("dice"), formulation("three-class-4")
    (Formulation(), ThreeClasses(width=4))
    """
    return OF_LOSS.get(loss, MASK)
