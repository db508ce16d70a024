"""Read and write pictures, label images and masks; every error names the file and what to do.

PNG, JPEG and TIFF; 8 and 16 bit; grey, RGB and RGBA. Nothing is lost silently: a note says that
alpha was dropped and by which rule 16 bits became 8, and files that could only be read by guessing
(stacks, floating point, inverted grey) are errors.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cellcount_lib.checks import check_image, check_labels
from cellcount_lib.data.decode import LOSSY, read_stored, without_alpha
from cellcount_lib.errors import DataError, InputError
from cellcount_lib.files import write_whole

# Percentiles of each picture, as the authors of BBBC039 scale theirs of 16 bits: robust against a
# few hot pixels, and the same for cameras of 10, 12 and 16 bits.
LOW_PERCENTILE, HIGH_PERCENTILE = 0.1, 99.9


def read_image(path: str | Path) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Read a picture as uint8 (H, W, 3), with a note of how its values were converted.

    Grey is repeated in the three channels, alpha is dropped. The note has ``bits`` and ``channels``
    of the file, and the rule for ``intensity`` with its numbers (`to_uint8`).
    """
    path = Path(path)
    array = read_stored(path, palette_as="colour")
    channels = 1 if array.ndim == 2 else array.shape[2]
    if channels not in (1, 2, 3, 4):
        raise DataError(f"{path}: expected grey, RGB or RGBA, found {channels} channels")
    note: dict[str, Any] = {"bits": 8 * array.dtype.itemsize, "channels": channels}
    if channels in (2, 4):
        array = array[..., :-1]
        note["alpha"] = "dropped"
    if array.ndim == 2:
        array = array[..., np.newaxis]
    values, rule = to_uint8(array)
    image = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    return np.ascontiguousarray(image), note | rule


def to_uint8(array: NDArray[Any]) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Convert to 8 bits by the rule of the project; return the rule and its numbers, too.

    Values that fit in 8 bits are kept. Otherwise the range between the 0.1 and 99.9 percentiles of
    the picture (all channels together, so that colours keep their ratio) is mapped to 0..255,
    rounded, and clipped outside. The range differs from picture to picture, so the brightness of
    two 16-bit pictures cannot be compared afterwards; ``low`` and ``high`` undo it.

    Examples
    --------
    >>> values, rule = to_uint8(np.array([[0, 1000], [2000, 4095]], dtype=np.uint16))
    >>> values.tolist(), rule["low"], rule["high"]
    ([[0, 62], [125, 255]], 3.0, 4088.715)
    """
    if array.dtype == np.uint8:
        return array, {"intensity": "as stored"}
    if array.max() <= 255:
        return array.astype(np.uint8), {"intensity": "16-bit file with 8-bit values, kept"}
    low, high = (float(v) for v in np.percentile(array, [LOW_PERCENTILE, HIGH_PERCENTILE]))
    if high <= low:  # nearly constant: a few pixels carry all there is to see
        low, high = float(array.min()), float(array.max())
    scaled = (array.astype(np.float32) - low) / max(high - low, 1.0)
    values = np.rint(np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8)
    rule = f"percentiles {LOW_PERCENTILE} and {HIGH_PERCENTILE} of the picture to 0 and 255"
    return values, {"intensity": rule, "low": round(low, 3), "high": round(high, 3)}


def read_labels(path: str | Path) -> NDArray[np.int32]:
    """Read a label image as int32 (H, W): 0 is background, every object has its own number.

    Grey of any depth, indexed colour (the index is the label), or three equal channels. A
    foreground mask given by mistake (only the value 1, 255 or 65535, in three pieces or more) is an
    error, because it would count as a single object.
    """
    from scipy import ndimage

    path = Path(path)
    array = _one_plane(path, _truth(path, "labels"))
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    labels = check_labels(str(path), array)
    values = np.unique(labels)
    values = values[values > 0]
    if values.size == 1 and int(values[0]) in (1, 255, 65535):
        pieces = ndimage.label(labels)[1]
        if pieces >= 3:
            raise DataError(
                f"{path}: expected one number per object, found only the value {values[0]}, in "
                f"{pieces} separate pieces; if this is a foreground mask, put it in masks/ "
                "(column 'mask' of index.csv) and its connected components become the objects"
            )
    return labels


def read_mask(path: str | Path) -> NDArray[Any]:
    """Read a mask as stored, (H, W), one channel; > 0 is foreground.

    Not binarised here, so that the caller can say how many values it had (FNC v1: 20 are not
    binary). In a colour mask the largest channel counts; alpha does not.
    """
    array = _truth(Path(path), "masks")
    return without_alpha(array).max(axis=2) if array.ndim == 3 else array


def read_channels(path: str | Path) -> NDArray[Any]:
    """Read a PNG or TIFF as stored, (H, W) or (H, W, C)."""
    return _truth(Path(path), "labels")


def write_png(path: str | Path, image: NDArray[np.uint8]) -> None:
    """Write a uint8 (H, W, 3) image, whole or not at all."""
    _write(Path(path), Image.fromarray(check_image("image", image)))


def write_labels(path: str | Path, labels: NDArray[Any]) -> None:
    """Write (H, W) labels as a 16-bit PNG, whole or not at all; at most 65535 is representable."""
    labels = check_labels("labels", labels)
    if labels.max() > np.iinfo(np.uint16).max:
        raise InputError(f"labels: expected at most 65535 in a 16-bit PNG, found {labels.max()}")
    _write(Path(path), Image.fromarray(labels.astype(np.uint16)))


def _write(path: Path, image: Image.Image) -> None:
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: expected a name that ends in .png")
    data = io.BytesIO()
    image.save(data, format="PNG")
    write_whole(path, data.getvalue())


def _truth(path: Path, kind: str) -> NDArray[Any]:
    if path.suffix.lower() in LOSSY:
        raise DataError(f"{path}: JPEG changes pixel values; {kind} must be PNG or TIFF")
    return read_stored(path, palette_as="index")


def _one_plane(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 2:
        return array
    colours = without_alpha(array)
    if (colours == colours[..., :1]).all():
        return colours[..., 0]
    raise DataError(
        f"{path}: expected a grey label image (one number per object), found colours; "
        "save the label numbers as 16-bit grey PNG or TIFF"
    )
