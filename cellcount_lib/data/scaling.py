"""A sample at another size: the image by area averaging, the labels by the nearest pixel."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cellcount_lib.checks import check_positive
from cellcount_lib.data.sample import Sample


def rescale(sample: Sample, scale: float) -> Sample:
    """Return the sample at `scale` times its size.

    An image that shrinks is averaged over the area of each new pixel, so that thin structures fade
    instead of aliasing; one that grows is interpolated (bicubic). Labels take the nearest pixel and
    keep their numbers; objects that lose all their pixels are listed in ``meta["vanished"]``.
    ``meta["scale"]``, ``meta["pixel_size_um"]`` and the places in ``meta`` (``structures`` of the
    simulator, ``dots``) are scaled too. At scale 1 the sample itself is returned.

    Examples
    --------
    >>> labels = np.zeros((8, 8), np.int32)
    >>> labels[0:4, 0:4] = 1
    >>> labels[7, 0] = 2
    >>> half = rescale(Sample(np.zeros((8, 8, 3), np.uint8), labels, {"pixel_size_um": 0.5}), 0.25)
    >>> half.labels.tolist(), half.meta
    ([[1, 0], [0, 0]], {'pixel_size_um': 2.0, 'scale': 0.25, 'vanished': [2]})
    """
    scale = check_positive("scale", scale)
    if scale == 1.0:
        return sample
    height, width = sample.labels.shape
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    image = resize_image(sample.image, size)
    labels = resize_labels(sample.labels, size)
    gone = np.setdiff1d(np.unique(sample.labels), np.unique(labels))
    meta: dict[str, Any] = sample.meta | {
        "scale": scale * sample.meta.get("scale", 1.0),
        "vanished": [*sample.meta.get("vanished", []), *gone[gone > 0].tolist()],
    }
    if meta.get("pixel_size_um") is not None:
        meta["pixel_size_um"] = meta["pixel_size_um"] / scale
    if "structures" in meta:
        meta["structures"] = [s | {"box": _times(s["box"], scale)} for s in meta["structures"]]
    if "dots" in meta:
        meta["dots"] = [_times(dot, scale) for dot in meta["dots"]]
    return replace(sample, image=image, labels=labels, meta=meta)


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize uint8 (H, W, 3) to `size` = (height, width)."""
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize(size[::-1], how))


def resize_labels(labels: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """Resize int32 (H, W) to `size` by the label at the centre of each new pixel."""
    rows = _centres(labels.shape[0], size[0])
    columns = _centres(labels.shape[1], size[1])
    return np.ascontiguousarray(labels[np.ix_(rows, columns)])


def _times(place: Sequence[float], scale: float) -> tuple[int, ...]:
    return tuple(int(x * scale) for x in place)


def _centres(old: int, new: int) -> NDArray[np.intp]:
    return np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
