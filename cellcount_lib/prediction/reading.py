"""Read any picture that a microscope writes: stacks, channels, 8 to 32 bit, and the pixel size.

`data.images.read_image`, which reads training data, refuses every file that could only be read by
guessing. Here a file may have many planes, which are counted one by one, and many channels, of
which the user chooses.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import psutil
import tifffile
from numpy.typing import NDArray
from PIL import Image

from cellcount_lib.data.decode import TIFF, explained, photometric, read_stored, without_alpha
from cellcount_lib.data.images import to_uint8
from cellcount_lib.errors import DataError, InputError

PLAUSIBLE_UM = (0.01, 10.0)  # of a light microscope's pixel; 72 dpi would be 353
_MICRONS = {"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "\\u00b5m": 1.0}
UNIT_UM = _MICRONS | {"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}


class Plane(NamedTuple):
    """One picture of a file."""

    number: int  # 1, 2, ... within the file; 0 if the file has only one
    image: NDArray[np.uint8]  # (H, W, 3): what the network sees
    stored: NDArray[Any]  # (H, W, C): the chosen channels with the values of the file
    rule: str  # how `stored` became 8 bits


def parse_channels(text: str | None) -> tuple[int, ...] | None:
    """Read ``--channels``: one number (shown as grey), or three (as red, green, blue; 0 is black).

    Examples
    --------
    >>> parse_channels("2"), parse_channels("3,1,0"), parse_channels(None)
    ((2,), (3, 1, 0), None)
    """
    if text is None:
        return None
    try:
        chosen = tuple(int(part) for part in text.split(","))
    except ValueError:
        chosen = ()
    if len(chosen) not in (1, 3) or min(chosen) < 0 or max(chosen) == 0:
        raise InputError(
            "--channels: expected one number of a channel, or three for red, green and blue "
            f"(0 leaves one black), as in 2 or 3,1,0; found {text!r}"
        )
    return chosen


def read_planes(path: Path, channels: Sequence[int] | None = None) -> list[Plane]:
    """Read the planes of a PNG, JPEG or TIFF.

    `channels` are as `parse_channels` returns them. Without them, a grey or RGB picture is taken as
    it is, and a file with other channels is an error.
    """
    stack = _stack(path)
    if stack.size == 0:
        raise DataError(f"{path}: expected at least one pixel, found shape {stack.shape}")
    if stack.dtype.kind == "f" and not np.isfinite(stack).all():
        raise DataError(f"{path}: expected numbers, found NaN or infinity among the pixels")
    planes = []
    for number, stored in enumerate(stack, start=1):
        chosen = _choose(path, stored, channels)
        values, note = to_uint8(_whole_numbers(chosen))
        image = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
        one = 0 if len(stack) == 1 else number
        planes.append(Plane(one, np.ascontiguousarray(image), chosen, note["intensity"]))
    return planes


def _choose(path: Path, stored: NDArray[Any], channels: Sequence[int] | None) -> NDArray[Any]:
    number = stored.shape[2]
    if channels is None:
        if number in (1, 3):
            return stored
        raise DataError(
            f"{path}: expected grey or RGB, found {number} channels; say which to use: "
            "--channels 1 for the first, or --channels 2,1,0 for the second as red and the first "
            "as green"
        )
    if max(channels) > number:
        raise DataError(f"{path}: expected channel {max(channels)}, the file has {number}")
    black = np.zeros_like(stored[..., 0])
    return np.stack([stored[..., c - 1] if c else black for c in channels], axis=2)


def _whole_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return uint8 or uint16; other types are mapped linearly to the whole range of 16 bits.

    Such a map does not change which values the percentiles of `to_uint8` map to 8 bits.
    """
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    low, high = float(values.min()), float(values.max())
    share = (values.astype(np.float64) - low) / (high - low if high > low else 1.0)
    return np.rint(share * 65535).astype(np.uint16)


def _stack(path: Path) -> NDArray[Any]:
    """Return (planes, H, W, channels) with the values of the file; alpha is dropped."""
    if path.suffix.lower() not in TIFF:
        return _colour(read_stored(path, palette_as="colour"))[np.newaxis]

    with explained(path), tifffile.TiffFile(path) as file:
        series, kind = file.series[0], photometric(path, file.pages.first)
        if kind in ("YCBCR", "PALETTE"):
            return _frames(path)
        if series.size * series.dtype.itemsize > psutil.virtual_memory().available / 4:
            raise DataError(
                f"{path}: expected pictures that fit in a quarter of the free memory, found "
                f"{series.size * series.dtype.itemsize / 1e9:.1f} GB; save the planes apart"
            )
        try:
            array = series.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _frames(path)  # LZW and the like: Pillow's libtiff reads them
        axes = series.axes
        if "Y" not in axes or "X" not in axes:
            raise DataError(f"{path}: expected pictures, found axes {axes}")
        alpha = kind == "RGB" and "S" in axes and array.shape[axes.index("S")] == 4
        array = array.reshape(series.shape)
        colour = [i for i, a in enumerate(axes) if a in "CS"]
        others = [i for i, a in enumerate(axes) if a not in "CSYX"]
        array = array.transpose([*others, axes.index("Y"), axes.index("X"), *colour])
        height, width = array.shape[len(others) : len(others) + 2]
        array = array.reshape(-1, height, width, int(np.prod(array.shape[len(others) + 2 :])))
        return array[..., :3] if alpha else array


def _frames(path: Path) -> NDArray[Any]:
    """Read all frames with Pillow; they must have one size."""
    frames = []
    with Image.open(path) as image:
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            colours = image.mode in ("P", "YCbCr", "CMYK")
            frames.append(_colour(np.asarray(image.convert("RGB") if colours else image)))
    return np.stack(frames)


def _colour(array: NDArray[Any]) -> NDArray[Any]:
    """Return (H, W, 1 or 3), without alpha."""
    return array[..., np.newaxis] if array.ndim == 2 else without_alpha(array)


def pixel_size(path: Path) -> float | None:
    """Return the pixel size in micrometres that a TIFF states, if it is plausible.

    It is taken from the OME metadata, ImageJ's unit, or the resolution tags. Values outside 0.01 to
    10 describe a screen or a printer, not a microscope.
    """
    if path.suffix.lower() not in TIFF:
        return None

    with explained(path), tifffile.TiffFile(path) as file:
        ome = file.ome_metadata if file.is_ome else None
        size = _ome_size(ome) if ome else _tag_size(file)
    low, high = PLAUSIBLE_UM
    return size if size is not None and low <= size <= high else None


def _ome_size(text: str) -> float | None:
    for element in ElementTree.fromstring(text).iter():
        if element.tag.endswith("}Pixels") and "PhysicalSizeX" in element.attrib:
            unit = UNIT_UM.get(element.get("PhysicalSizeXUnit", "µm"))
            return unit and float(element.attrib["PhysicalSizeX"]) * unit
    return None


def _tag_size(file: Any) -> float | None:
    tags = file.pages.first.tags
    if "XResolution" not in tags:
        return None
    over, under = tags["XResolution"].value  # pixels per unit
    if not over or not under:
        return None
    if file.is_imagej:
        unit = UNIT_UM.get(str((file.imagej_metadata or {}).get("unit", "")).lower())
    else:
        code = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 2
        unit = {2: 25400.0, 3: 10000.0}.get(code)
    return unit and unit * under / over
