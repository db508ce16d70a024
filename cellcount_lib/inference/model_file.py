"""A trained network in one file: weights as safetensors, with everything needed to use them inside.

The file holds tensors and text, nothing that runs when it is read: no pickle. Its header carries
the configuration of the network, the scale at which it saw its training pictures, the protocol and
the cutoff that were chosen for it, and where it comes from.

Taught in: 02_architectures, 07_out_of_distribution
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.files import write_whole
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.info import DEFAULT, ModelInfo, shipped
from cellcount_lib.inference.predict import logit_map
from cellcount_lib.models import SegmentationModel, from_config


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network in evaluation mode, what is known about it, and how torch is to run it."""

    model: SegmentationModel
    info: ModelInfo
    device: str | None = None
    precision: str = "auto"

    def logit_map(
        self, image: NDArray[np.uint8], *, scale: float, memory_mb: float | None = None
    ) -> NDArray[np.float32]:
        """Return logits as `predict.logit_map` does: this is a `network.Network`."""
        return logit_map(
            self.model,
            image,
            scale=scale,
            device=self.device,
            precision=self.precision,
            memory_mb=memory_mb,
            stretch=self.info.stretch,
            asks=formulation(self.info.formulation),
        )


def save_model(
    path: str | Path, model: SegmentationModel, info: ModelInfo, *, half: bool = False
) -> None:
    """Write a model file, whole or not at all.

    With `half`, weights are rounded to float16: half the size, for files that travel. They are
    float32 again when loaded; the heatmap moves by about 1e-3.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: expected a name that ends in .safetensors")
    if info.config != model.config:
        raise InputError(f"info.config: expected the model's, {model.config}, found {info.config}")
    tensors = {
        name: (t.half() if half and t.is_floating_point() else t)
        for name, t in model.state_dict().items()
    }
    write_tensors(path, tensors, info.header())


def load_model(
    name: str | Path = DEFAULT,
    *,
    device: str | None = None,
    precision: str = "auto",
    finite: bool = True,
) -> TrainedModel:
    """Load a safetensors file, or that of a model that ships with the project by its name.

    A network with weights of NaN, in which a training may end, is refused, unless `finite` is off.
    """
    path = shipped(name, ".safetensors")
    tensors, about = read_tensors(path)
    info = ModelInfo.of_header(about, path)
    model = from_config(info.config)
    restore(model, tensors, path, finite=finite)
    return TrainedModel(model.eval(), info, device, precision)


def tensor_digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Return the SHA-256 of the names and bytes of tensors, and of a text."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        total.update(name.encode())
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def restore(
    model: SegmentationModel, tensors: Mapping[str, Tensor], path: Path, *, finite: bool = True
) -> None:
    """Copy weights into a model after checking that they are its own and, if asked, finite."""
    expected = model.state_dict()
    if missing := sorted(expected.keys() ^ tensors.keys()):
        raise DataError(
            f"{path}: expected the {len(expected)} tensors of {model.config.name!r}; "
            f"{len(missing)} are missing or foreign, first {missing[0]!r}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise DataError(
                f"{path}: {name}: expected shape {tuple(expected[name].shape)} for "
                f"{model.config.name!r}, found {tuple(tensor.shape)}"
            )
        if finite and not torch.isfinite(tensor).all():
            raise DataError(f"{path}: {name} holds NaN or infinity; this model cannot be used")
    model.load_state_dict(dict(tensors))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write tensors and text as safetensors, whole or not at all."""
    payload = save({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, dict(about))
    write_whole(path, payload)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and text of a safetensors file."""
    if not path.is_file():
        raise DataError(f"{path}: expected a safetensors file, found nothing of that name")
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path}: expected a safetensors file, but it cannot be read ({error}); "
            "it is damaged, cut short or of another kind"
        ) from error
