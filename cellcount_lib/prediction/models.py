"""What counts: a model that comes with the project, or that of a file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cellcount_lib.errors import InputError
from cellcount_lib.inference.engine import load_onnx
from cellcount_lib.inference.info import ModelInfo, shipped
from cellcount_lib.inference.network import Network, Prediction, predict

Counter = Callable[..., Prediction]
"""Called with a picture, `pixel_size_um`, `cell_px`, `threshold`, `protocol` as `predict` is."""


class Model(NamedTuple):
    """What a person may count with."""

    name: str  # with the first digits of the SHA-256 of its weights: what decides its results
    apply: Counter
    info: ModelInfo | None  # of a network


def open_model(
    name: str, *, device: str | None = None, precision: str = "auto", at_once: int = 1
) -> Model:
    """Open a model by name or path; `at_once` pictures will share this machine.

    ONNX Runtime runs it, on the processor. Torch runs safetensors files, and any model that a
    `device` or a `precision` is asked for.
    """
    torch_asked = device is not None or precision != "auto"
    path = shipped(name, ".safetensors" if torch_asked else ".onnx")
    network: Network
    if path.suffix == ".safetensors":
        from cellcount_lib.inference.model_file import load_model, tensor_digest
        from cellcount_lib.inference.predict import choose_device, choose_precision

        choose_precision(choose_device(device), precision)
        network = load_model(path, device=device, precision=precision)
        weights = tensor_digest(network.model.state_dict())[:12]
    elif torch_asked:
        raise InputError(
            f"{path} runs on the processor in fp32; --device and --precision need "
            "the safetensors file of the model"
        )
    else:
        network = load_onnx(path, at_once=at_once)
        weights = network.weights
    return Model(f"{Path(name).stem} {weights}", partial(predict, network), network.info)
