"""What a network is asked to draw, so that touching cells come apart.

A mask says where cells are; two cells that touch are one patch of it. S4 compares other questions
to the network: which pixels are inside a cell, which on an outline, which are neither (three
classes); which are on an outline (boundary alone), or how near to one (bell). Others ask how deep
inside its cell a pixel lies (distance). Each answer is one heatmap, and each has its own way from
the heatmap to objects; everything else, matching and counting, is the protocol's.

Two draw planes beside the heatmap. Stars: at each pixel how far the edge of its cell is along 16
rays, which makes a polygon, of which one is kept for every cell. Flows: at each pixel the direction
to the middle of its cell; pixels whose paths end together are a cell. Both can tell cells apart
whose outlines do not show, and stars cannot draw a cell that is not star-convex.

Taught in: 09_touching_cells

References
----------
S4, sections 3.1.1 and 5 (three classes, outlines 2 to 8 pixels wide, half of it added again;
outlines as a regression). Stars and flows: `cellcount_lib.data.shapes`.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.shapes import (
    FLOW_UNIT,
    RAY_UNIT,
    RAYS,
    bell,
    depths,
    flows,
    outlines,
    rays,
)
from cellcount_lib.postprocess.cleaning import Way
from cellcount_lib.postprocess.following import Follow
from cellcount_lib.postprocess.postprocess import Cores, Enclosed, Postprocessing
from cellcount_lib.postprocess.splitting import Peaks
from cellcount_lib.postprocess.stars import Stars
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
    planes: ClassVar[int] = 0  # how many of them, the last ones, are drawn beside the heatmap

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
        """Return the logits, and planes, of a network that makes no error and is rather sure."""
        p = np.clip(self.probability(labels), 0.001, 0.999)
        return np.log(p / (1 - p))

    def mirrored(self, answer: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Mirror logits and planes, (1 + planes, H, W), along axis -2 or -1."""
        return np.flip(answer, axis)

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
        """Draw depths: 0 outside, 128 at the outline, 255 in the middle of a cell."""
        drawn = np.rint(HALF + (255 - HALF) * depths(labels))
        return np.where(labels > 0, drawn, 0).astype(np.uint8)

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


@dataclass(frozen=True)
class StarConvex(Instances):
    """How deep in its cell does a pixel lie, and how far along rays is the edge of the cell?"""

    channels = 1 + RAYS
    planes = RAYS

    def probability(self, labels: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return depths."""
        return depths(labels)

    def perfect(self, labels: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return logits and rays."""
        return np.concatenate([super().perfect(labels)[None], rays(labels) / RAY_UNIT])

    def mirrored(self, answer: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Mirror them; the ray to the right becomes the one to the left, or down becomes up."""
        half_turn = RAYS // 2 if axis == -1 else 0
        order = (half_turn - np.arange(RAYS)) % RAYS
        return np.flip(answer, axis)[[0, *(1 + order)]]

    def way(self, usual: Postprocessing, magnification: float) -> Way:
        """Keep one polygon for every cell."""
        return Stars(RAY_UNIT * magnification, magnification)


@dataclass(frozen=True)
class Flow(Instances):
    """Is a pixel in a cell, and which way is the middle of it?"""

    channels = 3
    planes = 2

    def perfect(self, labels: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return logits and flows."""
        return np.concatenate([super().perfect(labels)[None], FLOW_UNIT * flows(labels)])

    def mirrored(self, answer: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Mirror them; flows along the axis change their sign."""
        sign = np.array([1, 1 - 2 * (axis == -2), 1 - 2 * (axis == -1)], np.float32)
        return np.flip(answer, axis) * sign[:, None, None]

    def way(self, usual: Postprocessing, magnification: float) -> Way:
        """Let every pixel follow the flow."""
        return Follow(magnification)


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
        "stars": StarConvex(),
        "flows": Flow(),
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
