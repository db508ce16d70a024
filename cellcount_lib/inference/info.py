"""What is known about a trained network, whatever runs it, and which models the project ships.

The same text stands in the header of a safetensors file and in the metadata of an ONNX file.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellcount_lib.checks import check_positive
from cellcount_lib.errors import DataError, InputError, unknown_name
from cellcount_lib.inference.formulations import OF_LOSS, formulation
from cellcount_lib.modelconfig import ModelConfig
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
    stretch: bool = False  # intensities are `stretched`, in training as now
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

    def header(self) -> dict[str, str]:
        """Return the text that a model file carries beside its weights."""
        return {"format": FORMAT, "info": json.dumps(dataclasses.asdict(self))}

    @classmethod
    def of_header(cls, header: Mapping[str, str], path: Path) -> "ModelInfo":
        """Read what `header` returned; `path` names the file in errors."""
        if header.get("format") != FORMAT:
            raise DataError(
                f"{path}: expected a model written by this project ({FORMAT}), "
                f"found {header.get('format', 'a file without that mark')!r}"
            )
        try:
            stored = json.loads(header["info"])
            return cls(**stored | {"config": ModelConfig(**stored["config"])})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: its description cannot be used: {error}") from error


def shipped(name: str | Path, suffix: str) -> Path:
    """Return the file of a model: one that comes with the project by its name, or any by its path.

    Examples
    --------
    >>> shipped("my/model.onnx", ".onnx").name, shipped(DEFAULT, ".onnx").parent == SHIPPED
    ('model.onnx', True)
    """
    path = Path(name)
    if str(name) in names():
        return SHIPPED / f"{name}{suffix}"
    if path.suffix not in (".safetensors", ".onnx") and not path.exists():
        raise unknown_name("model", str(name), [*names(), "FILE.onnx", "FILE.safetensors"])
    return path


def names() -> list[str]:
    """Return the names of the models that come with the project."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))
