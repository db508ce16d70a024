"""Decode PNG, JPEG and TIFF into arrays of the stored values; errors say what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cellcount_lib.errors import DataError

TIFF = (".tif", ".tiff")
LOSSY = (".jpg", ".jpeg")
EXTENSIONS = (".png", *LOSSY, *TIFF)


def read_stored(path: Path, *, palette_as: str) -> NDArray[Any]:
    """Read unsigned integers (H, W) or (H, W, C) as the file stores them.

    ``palette_as`` is "colour" (for pictures: 8 or 16 bit) or "index" (for labels: any depth).
    """
    with explained(path):
        read = _read_tiff if path.suffix.lower() in TIFF else _read_pillow
        array = read(path, palette_as)
    if array.size == 0:
        raise DataError(f"{path}: expected at least one pixel, found shape {array.shape}")
    if array.dtype.kind == "i" and array.min() >= 0:
        array = array.astype(f"u{array.dtype.itemsize}")
    if array.dtype.kind not in "bu":
        raise DataError(
            f"{path}: expected unsigned integers, found {array.dtype} values "
            f"from {array.min():.4g} to {array.max():.4g}; save it as 8 or 16 bit"
        )
    if palette_as == "colour":
        if array.dtype.kind == "b":
            array = array.astype(np.uint8) * 255
        if array.dtype.itemsize > 2:
            raise DataError(f"{path}: expected 8 or 16 bit, found {array.dtype}")
    return array


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn any failure to decode a file into a DataError that says what to do."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise DataError(f"{path}: expected an image file, found {what}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; copy or download it again")
    try:
        yield
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise DataError(
            f"{path}: expected at most {most:.0f} million pixels, found more; cut it into "
            "parts, or reduce it"
        ) from error
    except UnidentifiedImageError:
        with path.open("rb") as file:
            begins = file.read(8)
        raise DataError(
            f"{path}: expected PNG, JPEG or TIFF, found a file that begins with {begins!r}"
        ) from None
    # A damaged file makes the decoders raise almost anything (struct.error, zlib.error, KeyError).
    except Exception as error:
        raise DataError(
            f"{path}: cannot be read ({error or type(error).__name__}); it is truncated or damaged"
        ) from error


def _read_tiff(path: Path, palette_as: str) -> NDArray[Any]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series, kind = file.series[0], photometric(path, file.pages.first)
        if kind == "YCBCR" or (kind == "PALETTE" and palette_as == "colour"):
            return _read_pillow(path, palette_as)
        axes = "".join(
            a for a, n in zip(series.axes, series.shape, strict=True) if n > 1 or a in "YX"
        )
        if axes not in ("YX", "YXS", "SYX"):
            raise DataError(
                f"{path}: expected one plane, grey or colour, found a stack with axes "
                f"{series.axes} of shape {series.shape}; project it or save one plane per file"
            )
        try:
            array = series.asarray().squeeze()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _read_pillow(path, palette_as)  # LZW and the like: Pillow's libtiff reads them
    array = array.reshape([n for a, n in zip(series.axes, series.shape, strict=True) if a in axes])
    return np.moveaxis(array, 0, 2) if axes == "SYX" else array


def photometric(path: Path, page: Any) -> str:
    """Return what the values of a TIFF page mean: MINISBLACK, RGB, PALETTE or YCBCR."""
    kind = getattr(page.photometric, "name", str(page.photometric))
    if kind == "MINISWHITE":
        raise DataError(f"{path}: expected 0 = black, found inverted grey (WhiteIsZero)")
    if kind not in ("MINISBLACK", "RGB", "PALETTE", "YCBCR"):
        raise DataError(f"{path}: expected grey or RGB, found {kind.lower()} (CMYK and such)")
    return kind


def _read_pillow(path: Path, palette_as: str) -> NDArray[Any]:
    with Image.open(path) as image:
        stored = image.tile[0].args if image.tile else None
        if image.format == "PNG" and stored in ("RGB;16B", "RGBA;16B"):
            return _read_png_colour16(path, stored)
        if stored == "LA;16B":
            raise DataError(f"{path}: 16-bit grey with alpha is not supported; remove the alpha")
        if image.mode == "P":
            return np.asarray(image if palette_as == "index" else image.convert("RGB"))
        if image.mode not in ("1", "L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I", "F"):
            raise DataError(f"{path}: expected grey, RGB or RGBA, found mode {image.mode}")
        return np.asarray(image)


def without_alpha(array: NDArray[Any]) -> NDArray[Any]:
    """Return (H, W, C) without its alpha channel, if it has one."""
    return array[..., :-1] if array.shape[2] in (2, 4) else array


def _read_png_colour16(path: Path, stored: str) -> NDArray[np.uint16]:
    # Pillow keeps only the high byte of 16-bit colour. Its ";16L" unpacker takes the other byte, so
    # two passes give both without decoding PNG by hand.
    halves = []
    for order in (";16B", ";16L"):
        with Image.open(path) as image:
            image.tile = [image.tile[0]._replace(args=stored.replace(";16B", order))]
            halves.append(np.asarray(image).astype(np.uint16))
    return halves[0] * np.uint16(256) + halves[1]
