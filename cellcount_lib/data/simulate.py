"""Simulated fluorescence pictures with instance labels: the embedded data of the book.

`simulate` is a pure function: the same arguments give the same bytes, in any order, in any number
of processes, with any number of cores. Real data is one download away; simulated data says so.
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import InputError
from cellcount_lib.registry import Registry

FACES = ("medium", "small", "uneven", "overcrowded")
SMALLEST = 32
Drawn = tuple[NDArray[np.uint8], NDArray[np.int32], dict[str, Any]]
"""Image, labels and what is known about them."""
Size = tuple[int, int]


def _neurons(index: int, seed: int, size: Size) -> Drawn:
    from cellcount_lib.data.simulator.neurons import draw_fnc

    return draw_fnc(index, seed, zlib.crc32(b"fnc-yellow"), size)


def _nuclei(face: str, index: int, seed: int, size: Size) -> Drawn:
    from cellcount_lib.data.simulator.nuclei import draw_nuclei

    key = zlib.crc32(f"nuclei-{face}".encode())
    image, labels, meta = draw_nuclei(index, seed, key, size, face)
    return image, labels, {"face": face} | meta


def _nuclei_in_turn(index: int, seed: int, size: Size) -> Drawn:
    return _nuclei(FACES[index % len(FACES)], index, seed, size)


def _simcep(style: str, index: int, seed: int, size: Size) -> Drawn:
    from cellcount_lib.data.simulator.simcep import draw_simcep

    key = zlib.crc32(style.encode())
    return draw_simcep(index, seed, key, size, simplex=style == "simcep-simplex")


STYLES: Registry[Callable[[int, int, Size], Drawn]] = Registry(
    "style",
    {
        "fnc-yellow": _neurons,
        "nuclei": _nuclei_in_turn,
        "nuclei-medium": partial(_nuclei, "medium"),
        "nuclei-small": partial(_nuclei, "small"),
        "nuclei-uneven": partial(_nuclei, "uneven"),
        "nuclei-overcrowded": partial(_nuclei, "overcrowded"),
        "simcep": partial(_simcep, "simcep"),
        "simcep-simplex": partial(_simcep, "simcep-simplex"),
    },
)
"""What draws a picture: from its index, a seed, and (height, width)."""


def simulate(
    index: int, *, seed: int = 0, style: str = "fnc-yellow", size: tuple[int, int] = (1200, 1600)
) -> Sample:
    """Draw one picture with its labels.

    Parameters
    ----------
    index : int
        Number of the picture, from 0. In the style ``fnc-yellow`` every run of 283 indices is a
        population with the published distribution of counts, the last 31 "labelled by hand".
    seed : int
        Another seed is another population.
    style : str
        ``fnc-yellow``: neurons marked by a yellow dye (S0, S3). ``nuclei-medium``, ``-small``,
        ``-uneven``, ``-overcrowded``: the four faces of the out-of-sample set (S1), grey;
        ``nuclei`` goes through them in turn. ``simcep`` and ``simcep-simplex``: cells for the fully
        convolutional network of S2, evenly and unevenly lit.
    size : (int, int)
        Height and width in pixels, at least 32. A smaller picture shows a smaller field, with fewer
        cells of the same size.

    Returns
    -------
    Sample
        ``meta`` holds name, dataset ("simulated"), split (None), scale, style, seed, index,
        labelling, n_cells_drawn (how many cells were really drawn), and structures: a list of
        {"kind": ..., "box": (row0, column0, row1, column1)} for everything that was drawn;
        ``fnc-yellow`` also has pixel_size_um, the published 0.315.

    Examples
    --------
    >>> sample = simulate(3, size=(64, 96), style="nuclei-small")
    >>> sample.image.shape, sample.labels.dtype, sample.meta["labelling"]
    ((64, 96, 3), dtype('int32'), 'exact')
    """
    index, seed = _whole("index", index), _whole("seed", seed)
    draw = STYLES[style]
    size = _size(size)
    meta: dict[str, Any] = {
        "name": f"{style}-{seed}-{index:05d}",
        "dataset": "simulated",
        "split": None,
        "scale": 1.0,
        "style": style,
        "seed": seed,
        "index": index,
    }
    image, labels, more = draw(index, seed, size)
    return Sample(image, labels, meta | more)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise InputError(f"{name}: expected a whole number >= 0, found {value!r}")
    return int(value)


def _size(size: Any) -> tuple[int, int]:
    try:
        height, width = (_whole("size", side) for side in size)
    except (TypeError, ValueError):
        raise InputError(
            f"size: expected (height, width) as whole numbers, found {size!r}"
        ) from None
    if min(height, width) < SMALLEST:
        raise InputError(f"size: expected at least {SMALLEST} pixels a side, found {size!r}")
    return height, width
