"""The weights that the authors released, in this project's c-ResUnet: files of numbers, never code.

Both releases list the layers in the order in which this project's network has them, so that names
need no translation; shapes are checked. The file of 2021 is a dictionary of Keras's arrays, the
files of 2023 are what fastai's Learner saves. Each ends in the sigmoid of one logit map, which here
belongs to the loss. The files were not seen when this was written, only the code that reads them.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cellcount_lib.data.fetch.store import data_root
from cellcount_lib.errors import DataError, unknown_name
from cellcount_lib.inference.model_file import restore
from cellcount_lib.models import SegmentationModel, build

FOLDER = "published-weights"  # beside the datasets
RELEASED = "github.com/clissa/fluocells-scientific-data, models"
# by dataset: the file here, and where it comes from
WEIGHTS = {
    "fnc-v1": (
        "c-ResUnet_state_dict.pkl",
        "github.com/clissa/object-counting-ML-INFN, models/c-ResUnet_state_dict.pkl",
    ),
    "fnc-v2-yellow": ("yellow.pth", f"{RELEASED}/yellow_54321/model.pth"),
    "fnc-v2-red": ("red.pth", f"{RELEASED}/red_98765/model.pth"),
    "fnc-v2-green": ("green.pth", f"{RELEASED}/green_12345/model.pth"),
}


def published(dataset: str, *, root: str | Path | None = None) -> SegmentationModel:
    """Load the released network of a dataset from ``published-weights`` in the datasets' folder."""
    if dataset not in WEIGHTS:
        raise unknown_name("dataset with released weights", dataset, WEIGHTS)
    name, source = WEIGHTS[dataset]
    path = data_root(root) / FOLDER / name
    if not path.is_file():
        raise DataError(f"{path}: expected the authors' weights there; get them from {source}")
    return convert(path)


def convert(path: Path) -> SegmentationModel:
    """Build the c-ResUnet with the weights of a released file."""
    numbers = [v for k, v in _read(path).items() if not k.endswith("num_batches_tracked")]
    model = build("c-resunet")
    tensors = model.state_dict()
    names = [name for name in tensors if not name.endswith("num_batches_tracked")]
    if len(numbers) != len(names):
        raise DataError(f"{path}: expected {len(names)} arrays of weights, found {len(numbers)}")
    for name, value in zip(names, numbers, strict=True):
        if isinstance(value, np.ndarray) and value.ndim == 4:  # Keras: channels last
            value = value.transpose(3, 2, 0, 1)
        tensors[name] = torch.as_tensor(np.ascontiguousarray(value), dtype=torch.float32)
    restore(model, tensors, path)
    return model.eval()


def _read(path: Path) -> Mapping[str, Tensor | np.ndarray[Any, Any]]:
    """Read a dictionary of tensors, as torch saves it, or of NumPy's arrays."""
    try:
        if zipfile.is_zipfile(path):
            with torch.serialization.safe_globals(_fastais()):
                values = torch.load(path, map_location="cpu", weights_only=True)
        else:
            with path.open("rb") as file:
                values = _OnlyArrays(file).load()
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ImportError) as error:
        raise DataError(
            f"{path}: expected nothing but weights; what else is in it was not read ({error})"
        ) from error
    if isinstance(values, Mapping) and isinstance(values.get("model"), Mapping):
        values = values["model"]  # beside the state of the optimiser
    if not isinstance(values, Mapping) or not all(
        isinstance(v, Tensor | np.ndarray) for v in values.values()
    ):
        raise DataError(f"{path}: expected a dictionary of weights, found {type(values).__name__}")
    return values


def _multiarray() -> ModuleType:
    """Return the module of NumPy that pickles of arrays name."""
    return import_module("numpy._core.multiarray")


def _fastais() -> list[Any]:
    """Return what fastai's Learner saves beside tensors: lists and numbers."""
    from fastai.torch_core import L

    from_numpy = [np.dtype, _multiarray().scalar]
    return [L, *from_numpy, *(getattr(np.dtypes, name) for name in np.dtypes.__all__)]


class _OnlyArrays(pickle.Unpickler):
    """Reads arrays and dictionaries; any other name in a pickle could be a call of anything."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) in known:
            return known[module, name]
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _multiarray()._reconstruct
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
