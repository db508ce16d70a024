"""Files in the makers' own formats: Zeiss CZI, Nikon ND2, Leica LIF (the extra "microscopy").

Each format has a reader of its own, under the BSD licence (nd2, liffile) or, from Zeiss itself, the
LGPL (pylibCZIrw). One library for all three, bioio, would bring 60 packages for storage in clouds,
and for LIF a reader under the GPL.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from cellcount_lib.errors import DataError


class Series(NamedTuple):
    """A picture of a file in all its planes and channels."""

    axes: str  # a letter per axis: Y, X; C and S channels; Z depth; T time; others as the file says
    array: NDArray[Any]
    pixel_um: float | None = None  # micrometres per pixel, if the file states it


def check_fits(path: Path, size: float) -> None:
    """Raise unless so many bytes fit in a quarter of the free memory."""
    if size > psutil.virtual_memory().available / 4:
        raise DataError(
            f"{path}: expected pictures that fit in a quarter of the free memory, found "
            f"{size / 1e9:.1f} GB; save the planes apart"
        )


def read_series(path: Path) -> list[Series]:
    """Read every picture of a file of a microscope."""
    try:
        return list(READERS[path.suffix.lower()](path))
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path}: reading {path.suffix} needs {error.name}: "
            "pip install 'cellcount-book[microscopy]'"
        ) from error


def _czi(path: Path) -> Iterator[Series]:
    """Yield the scenes of a CZI."""
    from pylibCZIrw import czi

    with czi.open_czi(str(path)) as file:
        kinds = set(file.pixel_types.values())
        lengths = {a: stop for a, (_, stop) in file.total_bounding_box.items() if a in "TZC"}
        scenes = file.scenes_bounding_rectangle
        areas = scenes.values() if scenes else [file.total_bounding_rectangle]
        planes = int(np.prod([*lengths.values()]))
        # at most: colours of 16 bits
        check_fits(path, 6 * planes * sum(area.w * area.h for area in areas))
        pixel_um = _czi_pixel(file.metadata)
        for scene in scenes or [None]:
            read = [
                file.read(plane=dict(zip(lengths, at, strict=True)), scene=scene)
                for at in product(*map(range, lengths.values()))
            ]
            array = np.stack(read).reshape(*lengths.values(), *read[0].shape)
            if any(kind.startswith("Bgr") for kind in kinds):
                array = array[..., ::-1]
            yield Series("".join(lengths) + "YXS", array, pixel_um)


def _czi_pixel(metadata: Mapping[str, Any]) -> float | None:
    """Return micrometres per pixel; the file states metres."""
    try:
        listed = metadata["ImageDocument"]["Metadata"]["Scaling"]["Items"]["Distance"]
        return next(1e6 * float(item["Value"]) for item in listed if item["@Id"] == "X")
    except (KeyError, TypeError, ValueError, StopIteration):
        return None


def _nd2(path: Path) -> Iterator[Series]:
    """Yield what an ND2 holds: one array."""
    import nd2

    with nd2.ND2File(path) as file:
        check_fits(path, file.nbytes)
        yield Series("".join(file.sizes), file.asarray(), float(file.voxel_size().x))


def _lif(path: Path) -> Iterator[Series]:
    """Yield the images of a LIF."""
    import liffile

    with liffile.LifFile(path) as file:
        check_fits(path, sum(image.nbytes for image in file.images))
        for image in file.images:
            if not {"X", "Y"} <= set(image.sizes):
                continue  # a line or a spectrum
            places: Any = image.coords.get("X", ())
            pixel_um = 1e6 * float(places[1] - places[0]) if len(places) > 1 else None
            yield Series("".join(image.sizes), image.asarray(), pixel_um)


READERS: dict[str, Callable[[Path], Iterator[Series]]] = {
    ".czi": _czi,
    ".nd2": _nd2,
    ".lif": _lif,
}
