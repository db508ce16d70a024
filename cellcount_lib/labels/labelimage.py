"""Label images: TIFF or PNG, 0 is background, every object has its number; numbers are kept."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from cellcount_lib.data.images import read_labels
from cellcount_lib.labels.labelled import Labelled, Pictures


def read(path: Path, pictures: Pictures) -> list[Labelled]:
    """Read the label image of one picture."""
    labels = read_labels(path)
    return [Labelled(path.name, labels)]


def write(pictures: Sequence[Labelled]) -> bytes:
    """Return a compressed TIFF of 16 bits, or of 32 where there are more than 65535 numbers."""
    (one,) = pictures
    small = one.labels.max() <= np.iinfo(np.uint16).max
    data = io.BytesIO()
    values = one.labels.astype(np.uint16 if small else np.uint32)
    tifffile.imwrite(data, values, compression="zlib", software=False)
    return data.getvalue()
