"""A trained network in one file: weights as safetensors, with everything needed to use them inside.

The file holds tensors and text, nothing that runs when it is read: no pickle. Its header carries
the configuration of the network, the scale at which it saw its training pictures, the protocol and
the cutoff that were chosen for it, and where it comes from.

Taught in: 02_architectures, 07_out_of_distribution
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cellcount_lib.checks import check_positive
from cellcount_lib.errors import DataError, InputError, unknown_name
from cellcount_lib.files import write_whole
from cellcount_lib.inference.formulations import OF_LOSS, formulation
from cellcount_lib.models import ModelConfig, SegmentationModel, from_config
from cellcount_lib.scoring.protocols import Protocol, protocol

FORMAT = "cellcount-model/1"
SHIPPED = Path(__file__).parents[1] / "pretrained"
DEFAULT = "c-resunet-simulated"
MODEL = "model.safetensors"  # name of the file in the folder of a training


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a trained network."""

    config: ModelConfig
    protocol: str = "recommended"  # turns its heatmaps into objects
    threshold: float = 0.5  # cutoff on the heatmap, chosen on validation pictures
    scale: float = 1.0  # at 0.25, pictures are reduced four times before they enter
    pixel_size_um: float | None = None  # of the original training pictures, if it is known
    cell_px: float | None = None  # width of a typical training cell in the original pictures
    protocol_scale: float = 1.0  # by which the protocol's sizes in pixels follow these cells
    formulation: str = "mask"  # what the network was asked to draw, a name in `formulations`
    # where it comes from: dataset, loss, recipe, profile, seed, scores, versions; JSON values
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        protocol(self.protocol)
        if self.formulation not in ("mask", *OF_LOSS):
            raise unknown_name("formulation", self.formulation, ("mask", *OF_LOSS))
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold: expected a number in [0, 1], found {self.threshold!r}")
        for name in ("scale", "pixel_size_um", "cell_px", "protocol_scale"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))

    def ruler(self, name: str | None = None) -> Protocol:
        """Return a protocol (default: the model's) as this model's heatmaps need it."""
        magnification = 1 / (self.scale * self.protocol_scale)
        asks = formulation(self.formulation)
        return asks.adapt(protocol(name or self.protocol), magnification=magnification)


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network in evaluation mode, and what is known about it."""

    model: SegmentationModel
    info: ModelInfo


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
    write_tensors(path, tensors, {"format": FORMAT, "info": json.dumps(dataclasses.asdict(info))})


def load_model(name: str | Path = DEFAULT) -> TrainedModel:
    """Load a model file, or one that ships with the project by its name (`shipped`)."""
    path = Path(name)
    if str(name) in shipped():
        path = SHIPPED / f"{name}.safetensors"
    elif path.suffix != ".safetensors" and not path.exists():
        raise unknown_name("model", str(name), [*shipped(), "FILE.safetensors"])
    tensors, about = read_tensors(path)
    if about.get("format") != FORMAT:
        raise DataError(
            f"{path}: expected a model written by this project ({FORMAT}), "
            f"found {about.get('format', 'safetensors without that mark')!r}"
        )
    try:
        stored = json.loads(about["info"])
        info = ModelInfo(**stored | {"config": ModelConfig(**stored["config"])})
        model = from_config(info.config)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: its description cannot be used: {error}") from error
    restore(model, tensors, path)
    return TrainedModel(model.eval(), info)


def shipped() -> list[str]:
    """Return the names of the models that come with the project."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def tensor_digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Return the SHA-256 of the names and bytes of tensors, and of a text."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        total.update(name.encode())
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def restore(model: SegmentationModel, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into a model after checking that they are its own, and finite."""
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
        if not torch.isfinite(tensor).all():
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
