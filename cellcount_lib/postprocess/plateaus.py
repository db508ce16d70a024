"""Splitting as both studies did: markers on the plateaus of a smeared distance map, then a flood.

Written anew from what the released code does (R21, R23), accidents included, as it ran on the
scikit-image of its time (R21: Python 3.6, so 0.17 or older; R23: 0.18 or 0.19):

- An object without marker is dropped. A marker is a plateau of the distance map after a maximum
  filter of 30 pixels, so an object has none if a higher one is near, or if its plateau has fewer
  than 25 pixels. Of 35 cells in one true mask of the authors' own data, 33 are left.
- In a picture where every object is round and narrower than the filter, all pixels are plateau.
  scikit-image since 0.18 takes that for a flat picture, without peaks: **all its objects vanish**,
  unless 25 connected pixels stick out of one. So it is in ``clissa2023``; in ``morelli2021`` they
  stay. Whoever runs R21's code on 0.18 to 0.24 gets its objects with ``flat_is_empty=True``.
- The watershed draws a line between two pieces, which R21 needs because it counts connected
  components afterwards. From 0.25 on scikit-image draws none when compactness is on, and the
  released code would merge what it splits.
- The result is stored in 8 bits, so the 256th, 512th, ... piece is lost (``eight_bit``).

References
----------
R21 (evaluation_utils.py) and R23 (fluocells/utils/data.py), read for facts; P. Neubert and
P. Protzel, Compact watershed and preemptive SLIC, ICPR 2014 (the cost of `flood_with_line`).
"""

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.data.sample import components
from cellcount_lib.postprocess.cleaning import (
    AREA,
    CONNECTIVITY,
    WINDOW,
    Heatmap,
    Labels,
    Mask,
    Way,
    drop_small,
)
from cellcount_lib.postprocess.splitting import distance_inside


@dataclass(frozen=True)
class Plateaus(Way):
    """Split at plateaus of the distance map after a maximum filter, as both studies did."""

    spread: int = field(default=30, metadata=WINDOW)  # width of the maximum filter
    footprint: int = field(default=40, metadata=WINDOW)  # in which a plateau must be highest
    # markers with fewer (edge-connected) pixels are dropped
    marker_below: int = field(default=25, metadata=AREA)
    marker_connectivity: int = field(default=1, metadata=CONNECTIVITY)
    # where every pixel of all objects is plateau, keep only those that an opening removes
    flat_is_empty: bool = False
    eight_bit: bool = True  # lose every 256th piece

    def split(self, objects: Labels, below: int = 0, heatmap: Heatmap | None = None) -> Labels:
        """Drop small pieces, and objects without marker."""
        out = np.zeros_like(objects)
        rows, columns = (np.flatnonzero(objects.any(axis=axis)) for axis in (1, 0))
        if rows.size == 0:
            return out
        # only the part of the picture that has objects
        window = tuple(
            slice(max(0, side[0] - self.spread), side[-1] + self.spread + 1)
            for side in (rows, columns)
        )
        mask = objects[window] > 0
        distance = distance_inside(mask)
        pieces = flood_with_line(distance, self.markers(distance, mask), mask)
        pieces = drop_small(pieces, below)
        if self.eight_bit:
            pieces[pieces % 256 == 0] = 0
        out[window] = pieces
        return out

    def markers(self, distance: NDArray[np.float64], mask: Mask) -> Labels:
        """Mark the plateaus that a maximum filter makes of the peaks of the distance map.

        The map is that of the whole picture, or of a window `spread` pixels larger than its objects
        on each side: the lowest value of the spread map is never a plateau, and must be in view.
        """
        high = ndimage.maximum_filter(distance, size=self.spread, mode="constant")
        inside = np.where(mask, high, 0.0)
        highest = ndimage.maximum_filter(inside, size=self.footprint, mode="constant")
        plateau = mask & (high == highest)
        if self.flat_is_empty and np.array_equal(plateau, mask):
            plateau &= ~ndimage.binary_opening(mask)
        plateau &= high > high.min()
        large = drop_small(components(plateau), self.marker_below) > 0
        return components(large, self.marker_connectivity)


def flood_with_line(distance: NDArray[np.float64], markers: Labels, mask: Mask) -> Labels:
    """Flood edge-connected objects from their markers, leaving a line between two labels.

    Objects without marker are dropped; one with a single marker is taken whole. Equal to
    scikit-image's ``watershed(-distance, markers, mask=mask, compactness=1, watershed_line=True)``
    up to 0.24 except where two labels have exactly equal claims to a pixel of the line (1 in 100
    random masks); later versions draw no line with compactness.
    """
    objects = components(mask)
    # which marker is in which object: one may be in two that touch at a corner
    number, marked = int(markers.max()) + 1, markers > 0
    pairs = np.unique(objects[marked].astype(np.int64) * number + markers[marked])
    inside_of, marker = pairs // number, pairs % number
    marks = np.bincount(inside_of, minlength=int(objects.max()) + 1)
    only = np.zeros(marks.size, np.int32)
    only[inside_of] = marker
    only[marks > 1] = 0
    labels = only[objects]
    for label, box in enumerate(ndimage.find_objects(objects), start=1):
        if marks[label] > 1:
            inside = objects[box] == label
            labels[box][inside] = _flood(distance[box], markers[box] * inside, inside)[inside]
    return labels


def _flood(distance: NDArray[np.float64], markers: Labels, mask: Mask) -> Labels:
    """Flood one object: the pixel with the lowest cost gets the label of the flood that reached it.

    The cost of a pixel is its way from the marker pixel that the flood came from, less its distance
    to the background. Among equals the first in line goes first, marker pixels in reading order.
    """
    # a frame of background spares the question whether a neighbour is in the picture
    width = mask.shape[1] + 2
    depth = np.pad(distance, 1).ravel().tolist()
    label = np.pad(markers, 1).ravel().tolist()
    dry = np.pad(mask, 1).ravel().tolist()
    steps = (-width, -1, 1, width)
    waiting = [  # (cost, turn, pixel, marker pixel)
        (-depth[i], 0, i, i)
        for i in np.flatnonzero(np.pad(markers, 1)).tolist()
        if any(dry[i + step] and not label[i + step] for step in steps)
    ]
    heapify(waiting)
    turn = 0
    while waiting:
        _, _, pixel, source = heappop(waiting)
        if not dry[pixel] or (label[pixel] and pixel != source):
            continue
        if len({label[pixel + step] for step in steps if dry[pixel + step]} - {0}) > 1:
            dry[pixel] = False  # between two labels: line
            continue
        label[pixel] = label[source]
        for step in steps:
            near = pixel + step
            if dry[near] and not label[near]:
                turn += 1
                rows = near // width - source // width
                columns = near % width - source % width
                cost = sqrt(rows * rows + columns * columns) - depth[near]
                heappush(waiting, (cost, turn, near, source))
    return np.array(label, np.int32).reshape(-1, width)[1:-1, 1:-1]
