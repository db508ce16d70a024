"""Cellpose's ``_seg.npy``: a pickled dictionary, of which the masks are wanted.

A pickle may call any function of any package while it is read. Here it is read with stand-ins: what
an array, a dtype and a number are made of is noted, nothing else is called, and only numbers become
arrays.
"""

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.checks import check_labels
from cellcount_lib.errors import DataError
from cellcount_lib.labels.labelled import (
    Labelled,
    Pictures,
    base_name,
    checked_shape,
    reading,
)

SUFFIX = "_seg.npy"


class _Dtype:
    """What a pickle says of a dtype."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        code = str(self.code)
        if len(code) > 3 or code[:1] not in "biuf" or not code[1:].isdigit():
            raise DataError(f"expected numbers in an array, found {code[:20]!r}")
        return np.dtype(("" if self.order == "|" else str(self.order)) + code)


class _Array:
    """What a pickle says of an array."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> NDArray[Any]:
        _, shape, kind, fortran, data = self.state
        if not isinstance(kind, _Dtype) or not isinstance(data, bytes):
            raise DataError("expected an array of numbers, found another")
        values = np.frombuffer(data, kind.dtype())
        return values.reshape(shape, order="F" if fortran else "C")


class _Ignored:
    """A value that is not wanted."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _Ignored,  # bytes of protocol 2, which cellpose does not write
}
for _core in ("numpy.core", "numpy._core"):
    STAND_INS[f"{_core}.multiarray", "_reconstruct"] = _Array
    STAND_INS[f"{_core}.multiarray", "scalar"] = _Ignored


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return STAND_INS[module, name]
        except KeyError:
            raise DataError(
                f"expected arrays and numbers, found a call of {module}.{name}, which is refused"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("expected arrays and numbers, found a reference to something else")


def read(path: Path, pictures: Pictures) -> list[Labelled]:
    """Read the masks; the picture is named as the file says, else by the name of this file."""
    with reading(path, f"a {SUFFIX} of cellpose"):
        about = _stored(path)
        masks = about["masks"]
        labels = check_labels("masks", masks.array() if isinstance(masks, _Array) else masks)
        checked_shape(labels.shape)
        named = about.get("filename")
        name = base_name(named) if isinstance(named, str) and named else own_name(path)
        return [Labelled(name, labels.copy())]


def own_name(path: Path) -> str:
    """Return the name of the picture that a file is named after."""
    return path.name.removesuffix(SUFFIX)


def _stored(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, kind = header(file)
        if shape != () or not kind.hasobject:
            raise DataError(f"expected one dictionary, found {kind} of shape {shape}")
        whole = _Unpickler(io.BytesIO(file.read())).load()
    value = whole.state[4] if isinstance(whole, _Array) else None
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        raise DataError("expected one dictionary, found something else")
    return value[0]


def write(pictures: Sequence[Labelled]) -> bytes:
    """Return what cellpose's window opens beside the picture."""
    from skimage.segmentation import find_boundaries

    (one,) = pictures
    small = one.labels.max() <= np.iinfo(np.uint16).max
    masks = one.labels.astype(np.uint16 if small else np.uint32)
    about = {
        "filename": one.name,
        "masks": masks,
        "outlines": masks * find_boundaries(one.labels, mode="inner"),
        "chan_choose": [0, 0],
        "ismanual": np.zeros(int(one.labels.max()), bool),
        "flows": [],
        "est_diam": None,
    }
    data = io.BytesIO()
    whole = np.empty((), object)
    whole[()] = about
    np.save(data, whole, allow_pickle=True)
    return data.getvalue()
