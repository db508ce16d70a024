"""Validation of arrays, in one place and in the same words.

Every check returns the array in the dtype with which the caller works, so a function begins with
``labels = check_labels("labels", labels)``. The message names the argument, what was expected and
what was found.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.errors import InputError


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    return f"{type(value).__name__}"


def _plane(name: str, value: Any) -> NDArray[Any]:
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "buif":
        raise InputError(
            f"{name}: expected a two-dimensional array of numbers, found {_describe(array)}"
        )
    if array.size == 0:
        raise InputError(f"{name}: expected at least one pixel, found shape {array.shape}")
    return array


def check_mask(name: str, value: Any) -> NDArray[np.bool_]:
    """Return a boolean (H, W) mask; finite numbers are accepted, > 0 is foreground."""
    array = _plane(name, value)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{name}: expected finite values, found NaN or infinity")
    return array if array.dtype == bool else array > 0


def check_labels(name: str, value: Any) -> NDArray[np.int32]:
    """Return int32 (H, W) instance labels: 0 is background, every object one positive number."""
    array = _plane(name, value)
    if array.dtype.kind == "b":
        raise InputError(
            f"{name}: expected integer instance labels, found a boolean mask; "
            "label its connected components first (scipy.ndimage.label)"
        )
    if array.dtype.kind == "f":
        raise InputError(f"{name}: expected integer instance labels, found {_describe(array)}")
    if array.dtype.kind == "i" and array.min() < 0:
        raise InputError(f"{name}: expected labels >= 0, found {array.min()}")
    if array.dtype.itemsize >= 4 and array.max() > np.iinfo(np.int32).max:
        raise InputError(f"{name}: expected labels that fit in int32, found {array.max()}")
    return array.astype(np.int32, copy=False)


def check_heatmap(name: str, value: Any) -> NDArray[np.float32]:
    """Return a float32 (H, W) heatmap of probabilities in [0, 1]."""
    array = _plane(name, value)
    if array.dtype.kind != "f":
        raise InputError(
            f"{name}: expected probabilities as floating point, found {_describe(array)}"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{name}: expected finite probabilities, found NaN or infinity")
    if array.min() < 0 or array.max() > 1:
        raise InputError(
            f"{name}: expected probabilities in [0, 1], found {array.min():.4g} to "
            f"{array.max():.4g}; apply the loss's activation to logits first"
        )
    return array.astype(np.float32, copy=False)


def check_first_plane(name: str, value: Any) -> NDArray[np.float32]:
    """Return a heatmap (H, W), or the first of several planes (C, H, W), which has to be one."""
    array = np.asarray(value)
    if array.ndim != 3 or len(array) == 0:
        return check_heatmap(name, array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{name}: expected finite planes beside it, found NaN or infinity")
    return check_heatmap(name, array[0])


def check_image(name: str, value: Any) -> NDArray[np.uint8]:
    """Return a uint8 (H, W, 3) image; nothing is converted silently."""
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise InputError(
            f"{name}: expected a uint8 image of shape (H, W, 3), found {_describe(array)}"
        )
    return array


def check_same_shape(names: Sequence[str], arrays: Sequence[NDArray[Any]]) -> None:
    """Raise unless all arrays have the same (H, W)."""
    shapes = [a.shape[:2] for a in arrays]
    if len(set(shapes)) > 1:
        listed = ", ".join(f"{n} {s}" for n, s in zip(names, shapes, strict=True))
        raise InputError(f"expected arrays of the same height and width, found {listed}")


def check_positive(name: str, value: float) -> float:
    """Return a finite number greater than zero."""
    if not isinstance(value, int | float | np.number) or not np.isfinite(value) or value <= 0:
        raise InputError(f"{name}: expected a finite number > 0, found {value!r}")
    return float(value)
