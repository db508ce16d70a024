"""Heatmaps as they are kept: logits in 16 bits, which is also what every heatmap is made of.

A network's logits are rounded to steps of 1/256 between -8 and 8 (probabilities 0.0003 and 0.9997)
as soon as it has answered: finer than any grid of cutoffs, and small enough to keep for every run,
at the size at which the network sees pictures. So another protocol or cutoff can be tried later
without training, and what is kept, swept or predicted anew gives the same objects.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole

STEPS = 256  # of 1; a power of two, so that float32 holds what a code stands for
LARGEST = 8
NO_NUMBER = np.iinfo(np.int16).min  # the logit was NaN


class Kept(NamedTuple):
    """A picture's logits in 16 bits, (H, W) or (C, H, W), and its full size (height, width)."""

    code: NDArray[np.int16]
    size: tuple[int, int]

    def heatmap(self) -> NDArray[np.float32] | None:
        """Return the heatmap at full size; None where the network gave NaN."""
        if (self.code == NO_NUMBER).any():
            return None
        return enlarged(decode(self.code), self.size)


def encode(logits: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round logits.

    Examples
    --------
    >>> code = encode(np.array([[-9.0, 0.0, 1.001, np.nan]]))
    >>> code.tolist(), decode(code).tolist()
    ([[-2048, 0, 256, -32768]], [[-8.0, 0.0, 1.0, nan]])
    """
    code = np.rint(np.clip(logits, -LARGEST, LARGEST) * STEPS)
    return np.where(np.isnan(code), NO_NUMBER, np.nan_to_num(code)).astype(np.int16)


def decode(code: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the logits that a code stands for."""
    return np.where(code == NO_NUMBER, np.float32(np.nan), code / np.float32(STEPS))


def rounded(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the logits that are kept of these."""
    return decode(encode(logits))


def enlarged(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Enlarge a logit map bilinearly to `size` = (height, width) and make probabilities of it.

    Of several planes, (C, H, W), the first is the logit; the others keep their values.

    Examples
    --------
    >>> (100 * enlarged(np.float32([[0, 2]]), (1, 4))).round().tolist()  # of 0, 0.5, 1.5 and 2
    [[50.0, 62.0, 82.0, 88.0]]
    """
    planes = np.array(logits[None] if logits.ndim == 2 else logits)
    if logits.shape[-2:] != tuple(size):
        # between two pixels and beyond the outermost centres the same as torch's `interpolate`
        whole = (Image.fromarray(p).resize(size[::-1], Image.Resampling.BILINEAR) for p in planes)
        planes = np.stack([np.asarray(plane) for plane in whole])
    planes[0] = 1 / (1 + np.exp(-planes[0]))
    return planes[0] if logits.ndim == 2 else planes


def save_heatmaps(path: Path, kept: Mapping[str, Kept]) -> None:
    """Write the heatmaps of a run, compressed, whole or not at all."""
    arrays = {f"{h}x{w}/{name}": code for name, (code, (h, w)) in kept.items()}
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **arrays)
    write_whole(path, data.getvalue())


def load_heatmaps(path: Path) -> dict[str, Kept]:
    """Read what `save_heatmaps` wrote, in the same order."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            kept = {}
            for key in arrays.files:
                size, _, name = key.partition("/")
                height, width = (int(side) for side in size.split("x"))
                kept[name] = Kept(arrays[key], (height, width))
    except FileNotFoundError:
        raise DataError(f"{path}: expected the heatmaps of a run, found nothing there") from None
    except Exception as error:  # zipfile and numpy raise many things on damaged files
        raise DataError(f"{path}: the heatmaps cannot be read, the file is damaged") from error
    if any(one.code.dtype != np.int16 for one in kept.values()):
        raise DataError(f"{path}: expected heatmaps in 16 bits, found coarser ones; run it again")
    return kept
