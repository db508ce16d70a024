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
import tifffile
from numpy.typing import NDArray
from PIL import Image

from cellcount_lib.data.decode import (
    EXTENSIONS,
    TIFF,
    explained,
    photometric,
    read_stored,
    without_alpha,
)
from cellcount_lib.data.images import to_uint8
from cellcount_lib.errors import DataError, InputError, unknown_name
from cellcount_lib.prediction.microscope import READERS, Series, check_fits, read_series

READABLE = (*EXTENSIONS, *READERS)
PROJECTIONS = ("max",)

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


def check_projection(name: str | None) -> None:
    """Raise unless ``--project`` names a projection."""
    if name is not None and name not in PROJECTIONS:
        raise unknown_name("projection", name, PROJECTIONS)


class Pictures(NamedTuple):
    """What a file holds."""

    planes: list[Plane]
    pixel_um: float | None  # micrometres per pixel, if the file states a plausible size
    depth: int  # planes of its deepest stack, before a projection


def read_pictures(
    path: Path, channels: Sequence[int] | None = None, *, project: str | None = None
) -> Pictures:
    """Read a PNG, JPEG, TIFF, CZI, ND2 or LIF.

    `channels` are as `parse_channels` returns them. Without them, a grey or RGB picture is taken as
    it is, and a file with other channels is an error. With `project` "max" a stack becomes one
    plane, of the largest values along Z, or along its pages where it does not say what they are.
    """
    check_projection(project)
    planes: list[Plane] = []
    pixel_um, depth = None, 1
    for series in _series(path):
        pixel_um = pixel_um if pixel_um is not None else plausible(series.pixel_um)
        deep = next((a for a in "ZIQ" if a in series.axes), "")
        depth = max(depth, series.array.shape[series.axes.index(deep)] if deep else 1)
        if series.array.size == 0:
            raise DataError(f"{path}: expected at least one pixel, found {series.array.shape}")
        if series.array.dtype.kind == "f" and not np.isfinite(series.array).all():
            raise DataError(f"{path}: expected numbers, found NaN or infinity among the pixels")
        if project and deep:
            array = series.array.max(axis=series.axes.index(deep))
            series = Series(series.axes.replace(deep, ""), array)
        planes += [_plane(path, stored, channels) for stored in _stack(path, series)]
    if len(planes) > 1:
        planes = [plane._replace(number=n) for n, plane in enumerate(planes, start=1)]
    return Pictures(planes, pixel_um, depth)


def _plane(path: Path, stored: NDArray[Any], channels: Sequence[int] | None) -> Plane:
    chosen = _choose(path, stored, channels)
    values, note = to_uint8(_whole_numbers(chosen))
    image = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    measured = chosen[..., [c > 0 for c in channels]] if channels else chosen  # black is none
    return Plane(0, np.ascontiguousarray(image), measured, note["intensity"])


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


def _series(path: Path) -> list[Series]:
    """Read every picture of a file, with the values of the file; alpha is dropped."""
    suffix = path.suffix.lower()
    if suffix in READERS:
        with explained(path):
            return read_series(path)
    if suffix not in TIFF:
        return [Series("YXS", _colour(read_stored(path, palette_as="colour")))]

    with explained(path), tifffile.TiffFile(path) as file:
        kind = photometric(path, file.pages.first)
        pixel_um = _tiff_pixel(file)
        # others than OME keep previews beside the picture
        chosen = file.series if file.is_ome else file.series[:1]
        if kind in ("YCBCR", "PALETTE"):
            return [Series("IYXS", _frames(path), pixel_um)]
        check_fits(path, sum(series.size * series.dtype.itemsize for series in chosen))
        try:
            arrays = [series.asarray().reshape(series.shape) for series in chosen]
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            # LZW and the like: Pillow's libtiff reads them
            return [Series("IYXS", _frames(path), pixel_um)]
        found = []
        for series, array in zip(chosen, arrays, strict=True):
            axes = series.axes
            if kind == "RGB" and "S" in axes and array.shape[axes.index("S")] == 4:
                array = np.take(array, range(3), axis=axes.index("S"))
            found.append(Series(axes, array, pixel_um))
        return found


def _stack(path: Path, series: Series) -> NDArray[Any]:
    """Return (planes, H, W, channels)."""
    axes, array = series.axes, series.array
    if "Y" not in axes or "X" not in axes:
        raise DataError(f"{path}: expected pictures, found axes {axes}")
    colour = [i for i, a in enumerate(axes) if a in "CS"]
    others = [i for i, a in enumerate(axes) if a not in "CSYX"]
    array = array.transpose([*others, axes.index("Y"), axes.index("X"), *colour])
    height, width = array.shape[len(others) : len(others) + 2]
    return array.reshape(-1, height, width, int(np.prod(array.shape[len(others) + 2 :])))


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


def plausible(pixel_um: float | None) -> float | None:
    """Return a pixel size in micrometres unless it describes a screen or a printer, or nothing.

    Examples
    --------
    >>> plausible(0.325), plausible(25400 / 72), plausible(None)
    (0.325, None, None)
    """
    low, high = PLAUSIBLE_UM
    return pixel_um if pixel_um is not None and low <= pixel_um <= high else None


def _tiff_pixel(file: Any) -> float | None:
    """Return the pixel size that a TIFF states: in OME metadata, ImageJ's unit, or its tags."""
    ome = file.ome_metadata if file.is_ome else None
    return _ome_size(ome) if ome else _tag_size(file)


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
