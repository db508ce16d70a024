"""Heatmaps kept in 8 bits: small enough to keep for every run, and what every score starts from.

A run keeps the logits of its validation and test pictures at the size at which the network sees
them, in steps of 0.05. Scores are computed from what is kept, never from anything finer, so that
another protocol or cutoff can be tried later without training, and the first scores come out again
to the last digit.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.inference.predict import enlarged

STEP = 0.05
NO_NUMBER = 255  # the logit was NaN


class Kept(NamedTuple):
    """A picture's logits in 8 bits, and its full size (height, width)."""

    code: NDArray[np.uint8]
    size: tuple[int, int]

    def heatmap(self) -> NDArray[np.float32] | None:
        """Return the heatmap at full size; None where the network gave NaN."""
        if (self.code == NO_NUMBER).any():
            return None
        return enlarged(decode(self.code), self.size)


def encode(logits: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Round logits to steps of 0.05 between -6.35 and 6.35 (probabilities 0.0017 and 0.9983).

    Examples
    --------
    >>> encode(np.array([[-9.0, 0.0, 1.0, np.nan]])).tolist()
    [[0, 127, 147, 255]]
    """
    code = np.rint(np.clip(logits, -6.35, 6.35) / STEP) + 127
    return np.where(np.isnan(logits), NO_NUMBER, np.nan_to_num(code)).astype(np.uint8)


def decode(code: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits that a code stands for."""
    return ((code.astype(np.float32) - 127) * np.float32(STEP)).astype(np.float32)


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
            return kept
    except FileNotFoundError:
        raise DataError(f"{path}: expected the heatmaps of a run, found nothing there") from None
    except Exception as error:  # zipfile and numpy raise many things on damaged files
        raise DataError(f"{path}: the heatmaps cannot be read, the file is damaged") from error
