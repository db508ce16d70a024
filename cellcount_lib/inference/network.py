"""From a picture to its cells, whatever runs the network: ONNX Runtime or torch.

Taught in: 07_out_of_distribution
"""

from typing import NamedTuple, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray

from cellcount_lib.checks import check_image, check_positive
from cellcount_lib.data.scaling import resize_image
from cellcount_lib.data.stretch import stretched
from cellcount_lib.errors import InputError
from cellcount_lib.inference.heatmaps import enlarged
from cellcount_lib.inference.info import ModelInfo


class Network(Protocol):
    """A trained network that can be applied to pictures."""

    @property
    def info(self) -> ModelInfo:
        """What is known about it."""

    def logit_map(
        self, image: NDArray[np.uint8], *, scale: float, memory_mb: float | None = None
    ) -> NDArray[np.float32]:
        """Return logits as they are kept (`heatmaps.rounded`), at `scale` times the size."""


class Prediction(NamedTuple):
    """What a trained network finds in a picture."""

    heatmap: NDArray[np.float32] | None  # of a network
    labels: NDArray[np.int32]
    threshold: float | None
    protocol: str
    magnified: float  # how much larger the network saw the picture than it is


def predict(
    network: Network,
    image: NDArray[np.uint8],
    *,
    pixel_size_um: float | None = None,
    cell_px: float | None = None,
    threshold: float | None = None,
    protocol: str | None = None,
    memory_mb: float | None = None,
) -> Prediction:
    """Find the cells of a picture, uint8 (H, W, 3).

    Its pixel size, or the width in pixels of a typical cell in it, says how it must be `magnified`.
    Cutoff and protocol are the model's, unless others are given.
    """
    info = network.info
    ratio = magnified(info, pixel_size_um=pixel_size_um, cell_px=cell_px)
    name = protocol or info.protocol
    cutoff = info.threshold if threshold is None else threshold
    logits = network.logit_map(image, scale=info.scale * ratio, memory_mb=memory_mb)
    if not np.isfinite(logits).all():
        raise InputError("the network answers with NaN or infinity: this model cannot be used")
    heat = enlarged(logits, image.shape[:2])
    labels = info.ruler(name).segment(heat, cutoff, scale=info.protocol_scale / ratio)
    return Prediction(heat if heat.ndim == 2 else heat[0], labels, cutoff, name, ratio)


def magnified(
    info: ModelInfo, *, pixel_size_um: float | None = None, cell_px: float | None = None
) -> float:
    """Return how much larger a picture must become to look like the training pictures.

    The network knows cells of one size. The width of a typical cell says best how to get there, the
    pixel size second; without either, or where the model does not know its own, sizes are assumed
    to be equal. The sizes of the post-processing follow.

    Examples
    --------
    >>> from cellcount_lib.modelconfig import ModelConfig
    >>> info = ModelInfo(ModelConfig("fcn"), pixel_size_um=0.3, cell_px=40)
    >>> magnified(info, pixel_size_um=0.6), magnified(info, cell_px=20), magnified(info)
    (2.0, 2.0, 1.0)
    """
    if cell_px is not None and info.cell_px is not None:
        return info.cell_px / check_positive("cell_px", cell_px)
    if pixel_size_um is not None and info.pixel_size_um is not None:
        return check_positive("pixel_size_um", pixel_size_um) / info.pixel_size_um
    return 1.0


def seen(image: NDArray[np.uint8], scale: float, stretch: bool) -> NDArray[np.uint8]:
    """Return a picture as the network sees it: round(H scale) rows of it, maybe `stretched`."""
    image = check_image("image", image)
    size = tuple(max(1, round(n * check_positive("scale", scale))) for n in image.shape[:2])
    image = image if scale == 1.0 else resize_image(image, (size[0], size[1]))
    return stretched(image) if stretch else image


def budget(memory_mb: float | None, free: float | None = None) -> float:
    """Return how many bytes a forward pass may need: what is said, or half of what is free."""
    if memory_mb is None:
        return (psutil.virtual_memory().available if free is None else free) / 2
    return check_positive("memory_mb", memory_mb) * 1e6
