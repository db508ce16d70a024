"""What a file of labels says, and what every reader of one needs."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from cellcount_lib.data.decode import EXTENSIONS, TIFF, explained
from cellcount_lib.errors import CellcountError, DataError, InputError
from cellcount_lib.labels.outlines import Box, filled

MOST_PIXELS = 2**28  # of a picture: labels of more are not made because a file says so
MOST_BYTES = 2**30  # of a file


class Labelled(NamedTuple):
    """The labels of one picture."""

    name: str  # of the picture's file, without folders
    labels: NDArray[np.int32]  # (H, W)
    overlap: int = 0  # pixels that several objects had; the last one keeps them


class Canvas:
    """A label image that objects are put on, numbered from 1; outside of it they are cut off."""

    def __init__(self, shape: tuple[int, int]) -> None:
        height, width = checked_shape(shape)
        self.labels = np.zeros((height, width), np.int32)
        self.number = self.overlap = 0

    def add_rings(self, rings: Sequence[NDArray[Any]]) -> None:
        """Put on what is inside an odd number of rings."""
        height, width = self.labels.shape
        self.add(*filled(rings, (height, width)))

    def add(self, box: Box, mask: NDArray[np.bool_]) -> None:
        """Put on the pixels of a mask, which has the shape of its box; none are no object."""
        if not mask.any():
            return
        self.number += 1
        here = self.labels[box]
        self.overlap += int(np.count_nonzero(here[mask]))
        here[mask] = self.number

    def labelled(self, name: str) -> Labelled:
        """Return what has been put on."""
        return Labelled(name, self.labels, self.overlap)


def checked_shape(shape: Sequence[Any]) -> tuple[int, int]:
    """Return (height, width) of a picture, as a file states it."""
    height, width = (int(n) for n in shape)
    if not (height > 0 and width > 0 and height * width <= MOST_PIXELS):
        raise DataError(f"expected pictures of 1 to {MOST_PIXELS} pixels, found {width} x {height}")
    return height, width


def base_name(name: Any) -> str:
    """Return the name of a picture without folders or address.

    Examples
    --------
    >>> base_name("/data/upload/1/a.png?d=x"), base_name("..\\\\..\\\\b.tif")
    ('a.png', 'b.tif')
    """
    last = str(name).split("?")[0].replace("\\", "/").split("/")[-1]
    if last in ("", ".", "..") or not last.isprintable() or len(last) > 200:
        raise DataError(f"expected the name of a picture, found {str(name)[:200]!r}")
    return last


class Pictures:
    """The pictures that labels belong to, in a folder: outlines do not say how large these are."""

    def __init__(self, folder: Path | None) -> None:
        if folder is not None and not folder.is_dir():
            raise InputError(f"{folder}: expected a folder of pictures, found none")
        self.folder = folder

    def shape(self, name: str) -> tuple[int, int]:
        """Return (height, width) of the picture of that name, or of that stem."""
        if self.folder is None:
            raise DataError(
                f"the format does not say how large {name} is; give the folder of the pictures: "
                "--pictures FOLDER"
            )
        stem = Path(name).stem if Path(name).suffix.lower() in EXTENSIONS else name
        places = [self.folder / name, *(self.folder / f"{stem}{end}" for end in EXTENSIONS)]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise DataError(f"{self.folder}: expected the picture {name}, found none of that name")
        with explained(path):
            if path.suffix.lower() in TIFF:
                with tifffile.TiffFile(path) as file:
                    first = file.pages.first
                    return int(first.imagelength), int(first.imagewidth)
            with Image.open(path) as image:
                return image.height, image.width


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever goes wrong with a file of another program into one sentence."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"expected at most {MOST_BYTES / 1e9:.1f} GB, found more")
        yield
    except CellcountError as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise DataError(f"{path}: needs more memory than there is") from error
    # what a damaged or hostile file makes of the accesses of a reader, or of a library
    except Exception as error:
        raise DataError(
            f"{path}: expected {what}, found something else ({type(error).__name__}: "
            f"{str(error)[:200]})"
        ) from error


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_bytes())


def points(values: Any) -> NDArray[np.float64]:
    """Return corners (n, 2) of a list of pairs."""
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or array.shape[1] < 2 or len(array) < 3:
        raise DataError(f"expected three corners (x, y) or more, found shape {array.shape}")
    return array[:, :2]
