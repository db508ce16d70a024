"""A picture through a network: whole where memory allows, else in tiles.

Tiles overlap by all a pixel can depend on (half the receptive field), and only the part without the
overlap is kept. They begin on the grid of the poolings, so a pixel's logit does not know whether it
was computed in a tile or in the whole: nothing has to be blended.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SMALLEST_TILE = 256


class Tile(NamedTuple):
    """Part of one side: what goes through the network, and what is kept of it."""

    read_from: int
    read_to: int
    keep_from: int
    keep_to: int


def tiles(side: int, *, kept: int, halo: int, multiple: int) -> Iterator[Tile]:
    """Cut a side into tiles that keep up to `kept` pixels and read `halo` more on either side.

    Every tile begins on a multiple of `multiple` and, except at the end of the side, ends on one.

    Examples
    --------
    >>> [tuple(tile) for tile in tiles(100, kept=48, halo=10, multiple=8)]
    [(0, 64, 0, 48), (32, 100, 48, 96), (80, 100, 96, 100)]
    """
    kept, halo = (-(-length // multiple) * multiple for length in (kept, halo))
    for start in range(0, side, kept):
        stop = min(start + kept, side)
        yield Tile(max(0, start - halo), min(side, stop + halo), start, stop)


def whole_or_tiles(
    forward: Callable[[slice, slice], NDArray[np.float32]],
    size: tuple[int, int],
    *,
    halo: Callable[[], int],
    multiple: int,
    most_pixels: float,
) -> NDArray[np.float32]:
    """Return logits (..., H, W) of a picture of `size`, of which `most_pixels` enter at once.

    `forward` returns the logits of a window of the picture; `halo`, asked for only if there are
    tiles, how far from a pixel the network looks.
    """
    height, width = size
    if height * width <= most_pixels:
        return forward(slice(height), slice(width))
    reach = halo()
    largest = int(most_pixels**0.5) - 2 * reach
    shape = {"kept": max(SMALLEST_TILE, largest // multiple * multiple), "halo": reach}
    rows = []
    for y in tiles(height, **shape, multiple=multiple):
        row = []
        for x in tiles(width, **shape, multiple=multiple):
            logits = forward(slice(y.read_from, y.read_to), slice(x.read_from, x.read_to))
            row.append(
                logits[
                    ...,
                    y.keep_from - y.read_from : y.keep_to - y.read_from,
                    x.keep_from - x.read_from : x.keep_to - x.read_from,
                ]
            )
        rows.append(np.concatenate(row, axis=-1))
    return np.concatenate(rows, axis=-2)
