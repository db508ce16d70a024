"""What a network is asked to draw, so that touching cells come apart.

A mask says where cells are; two cells that touch are one patch of it. S4 compares other questions
to the network: which pixels are inside a cell, which on an outline, which are neither (three
classes); which are on an outline (boundary alone). Others ask how deep inside its cell a pixel
lies (distance). Each answer is one heatmap, and each has its own way from the heatmap to objects;
everything else, matching and counting, is the protocol's.

Taught in: 09_touching_cells

References
----------
S4, sections 3.1.1 and 5 (three classes, outlines 2 to 8 pixels wide, half of it added again).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.scoring.protocols import CELL_AREA, Protocol

BOUNDARY = 2  # the class of outlines; 1 is inside, 0 background
LARGEST = 4  # cells: an outline that encloses more than that encloses background
HALF = 127.5  # a distance target of this is the outline, 255 the middle of a cell
PEAK = 0.1  # a peak of the distance heatmap rises by this much: a neck of 80% of the radius


@dataclass(frozen=True)
class Formulation:
    """A question to the network, and the way from its answer to objects.

    Attributes
    ----------
    name : str
    kind : {"mask", "classes", "boundary", "distance", "instances"}
    width : int
        Of outlines, in pixels that the network sees: half of it lies inside the cell.
    channels : int
        Of the network's output.
    """

    name: str
    kind: str = "mask"
    width: int = 0
    channels: int = 1

    def target(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Draw what the network shall answer, uint8 (H, W).

        Examples
        --------
        >>> row = np.array([[0, 0, 1, 1, 1, 1, 0, 0]])
        >>> OF_LOSS["three-class-2"].target(row).tolist()
        [[0, 2, 2, 1, 1, 2, 2, 0]]
        >>> MASK.target(row).tolist()
        [[0, 0, 1, 1, 1, 1, 0, 0]]
        """
        if self.kind == "mask":
            return (labels > 0).astype(np.uint8)
        if self.kind == "instances":
            return np.where(labels > 0, (labels - 1) % 255 + 1, 0).astype(np.uint8)
        if self.kind == "distance":
            return depth(labels)
        edge = outlines(labels, self.width)
        if self.kind == "boundary":
            return edge.astype(np.uint8)
        return np.where(edge, BOUNDARY, labels > 0).astype(np.uint8)

    def adapt(self, protocol: Protocol, *, magnification: float) -> Protocol:
        """Return the protocol with this formulation's way from the heatmap to objects.

        Parameters
        ----------
        protocol : Protocol
        magnification : float
            Pixels of the protocol per pixel that the network sees.
        """
        s = protocol.postprocess
        if self.kind == "distance":
            s = replace(s, split="peaks", peak=PEAK)
        elif self.kind in ("classes", "boundary"):
            grow = self.width / 2 * magnification
            s = replace(s, split="none", grow=grow, cores_below=s.objects_below // 4)
            if self.kind == "boundary":
                s = replace(s, split="enclosed", largest=LARGEST * CELL_AREA)
        return replace(protocol, postprocess=s)


def outlines(labels: NDArray[np.integer], width: int) -> NDArray[np.bool_]:
    """Mark the pixels within `width` / 2 of an outline, on both sides of it.

    Examples
    --------
    >>> outlines(np.array([[0, 0, 0, 5, 5, 5]]), 4).tolist()
    [[False, True, True, True, True, False]]
    """
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differ = np.diff(labels, axis=axis) != 0
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in (0, 1))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in (0, 1))
        edge[low] |= differ
        edge[high] |= differ
    if width > 2:
        edge = ndimage.distance_transform_edt(~edge) < width / 2 if edge.any() else edge
    return edge


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


MASK = Formulation("mask")

OF_LOSS: Mapping[str, Formulation] = MappingProxyType(
    {
        **{
            f"three-class-{width}": Formulation(f"three-class-{width}", "classes", width, 3)
            for width in (2, 4, 6, 8)
        },
        "boundary-4": Formulation("boundary-4", "boundary", 4),
        "distance": Formulation("distance", "distance"),
        "instances": Formulation("instances", "instances"),
    }
)
"""Formulations by the loss that goes with them; every other loss asks for a mask."""


def formulation(loss: str) -> Formulation:
    """Return what a loss asks the network for.

    Examples
    --------
    >>> formulation("dice").kind, formulation("three-class-4").width
    ('mask', 4)
    """
    return OF_LOSS.get(loss, MASK)
