"""Which files make one sample, and how the publisher's files become its labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.images import read_channels, read_image, read_labels, read_mask
from cellcount_lib.data.manifest import Manifest
from cellcount_lib.data.sample import components
from cellcount_lib.errors import DataError
from cellcount_lib.registry import Registry


@dataclass(frozen=True)
class SampleSource:
    """One sample on disk: plain data, so that it can be stored, compared and sent to a process.

    Paths are relative to the dataset's folder, with forward slashes. ``kind`` says how the files in
    ``truth`` become labels (a key of ``TRUTH``), ``options`` how exactly.
    """

    name: str
    split: str
    image: str
    truth: tuple[str, ...]
    kind: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


Pixels = tuple[NDArray[np.uint8], NDArray[np.int32], dict[str, Any]]
"""Image (H, W, 3), labels (H, W) and what is known about them."""
Read = Callable[[SampleSource], Pixels]


class Opened(NamedTuple):
    """An open dataset, all splits of it; `fingerprint` reads the files where it has to."""

    manifest: Manifest
    sources: Sequence[SampleSource]
    read: Read
    fingerprint: Callable[[], str]


def read_source(folder: Path, source: SampleSource) -> Pixels:
    """Read one sample from disk."""
    image, image_meta = read_image(folder / source.image)
    paths = [folder / path for path in source.truth]
    labels, truth_meta = TRUTH[source.kind](paths, image.shape[:2], source.options)
    if labels.shape != image.shape[:2]:
        raise DataError(
            f"{paths[0]}: expected the size of its image {folder / source.image}, "
            f"{image.shape[:2]} (height, width), found {labels.shape}"
        )
    return image, labels, {**image_meta, **truth_meta, **source.meta}


Truth = tuple[NDArray[np.int32], dict[str, Any]]
Shape = tuple[int, ...]
Options = Mapping[str, Any]


def _from_labels(paths: Sequence[Path], shape: Shape, options: Options) -> Truth:
    return read_labels(paths[0]), {}


def _from_mask(paths: Sequence[Path], shape: Shape, options: Options) -> Truth:
    mask = read_mask(paths[0])
    binary = bool((mask[mask > 0] == mask.max()).all())
    return components(mask), {"mask_dtype": str(mask.dtype), "mask_binary": binary}


def _from_masks(paths: Sequence[Path], shape: Shape, options: Options) -> Truth:
    """One file per nucleus (BBBC038): painted from large to small, so none hides a smaller one.

    Numbers follow the order of `paths`. A nucleus that was annotated twice, pixel for pixel, has
    one number.
    """
    pixels = []  # flat indices: hundreds of full-size masks would not fit in memory
    for path in paths:
        mask = read_mask(path)
        if mask.shape != shape:
            raise DataError(
                f"{path}: expected the size of its image, {shape} (height, width), "
                f"found {mask.shape}"
            )
        pixels.append(np.flatnonzero(mask))
    labels = np.zeros(shape, dtype=np.int32)
    for index in sorted(range(len(pixels)), key=lambda i: (-pixels[i].size, i)):
        labels.flat[pixels[index]] = index + 1
    kept = np.unique(labels[labels > 0]).size
    return labels, {
        "overlap_px": sum(p.size for p in pixels) - int((labels > 0).sum()),
        "hidden_objects": sum(p.size > 0 for p in pixels) - kept,
    }


def _from_red(paths: Sequence[Path], shape: Shape, options: Options) -> Truth:
    """Pieces of equal value in the red channel (BBBC039), 8-connected.

    The values only tell touching nuclei apart; nuclei that do not touch may share a value.
    """
    from skimage.measure import label

    stored = read_channels(paths[0])
    red = stored if stored.ndim == 2 else stored[..., 0]
    return label(red, background=0, connectivity=2).astype(np.int32), {}


def _from_dots(paths: Sequence[Path], shape: Shape, options: Options) -> Truth:
    """Every non-zero pixel of the red channel is a cell (VGG cells), even beside another one.

    Labels are disks of ``options["dot_radius"]`` pixels; a pixel belongs to its nearest dot.
    """
    from scipy import ndimage

    stored = read_channels(paths[0])
    dots = (stored if stored.ndim == 2 else stored[..., 0]) > 0
    rows, columns = np.nonzero(dots)
    labels = np.zeros(dots.shape, dtype=np.int32)
    if rows.size:
        numbers = np.zeros(dots.shape, dtype=np.int32)
        numbers[rows, columns] = np.arange(1, rows.size + 1)
        distance, (row, column) = ndimage.distance_transform_edt(~dots, return_indices=True)
        labels = np.where(distance <= options["dot_radius"], numbers[row, column], 0)
    return labels.astype(np.int32), {
        "labelling": "dots",
        "dots": list(zip(rows.tolist(), columns.tolist(), strict=True)),
    }


TRUTH: Registry[Callable[[Sequence[Path], Shape, Options], Truth]] = Registry(
    "kind of truth",
    {
        "labels": _from_labels,
        "mask": _from_mask,
        "masks": _from_masks,
        "red": _from_red,
        "dots": _from_dots,
    },
)
