"""From a picture of any size to its heatmap, and to labelled objects.

A picture goes through the network whole where memory allows. Where it does not, it goes through in
tiles that overlap by all a pixel can depend on (half the receptive field), of which only the part
without the overlap is kept. Tiles begin on the grid of the poolings, so a pixel's logit does not
know whether it was computed in a tile or in the whole: nothing has to be blended.

Taught in: 07_out_of_distribution
"""

from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellcount_lib.checks import check_image, check_positive
from cellcount_lib.data.scaling import resize_image
from cellcount_lib.errors import InputError, unknown_name
from cellcount_lib.inference.formulations import MASK, Formulation, formulation
from cellcount_lib.inference.heatmaps import enlarged, rounded
from cellcount_lib.losses import cell_logit
from cellcount_lib.models import SegmentationModel
from cellcount_lib.models.measure import receptive_field

if TYPE_CHECKING:
    from cellcount_lib.inference.model_file import ModelInfo, TrainedModel

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Peak memory of a forward pass per pixel that enters the network, measured as the growth of the
# process on one 600x800 picture in float32: Unet 977 bytes, c-ResUnet 730, FCN and small Unet less;
# bfloat16 needs about half.
BYTES_PER_PIXEL = 1000
SMALLEST_TILE = 256


class Prediction(NamedTuple):
    """What a trained network finds in a picture."""

    heatmap: NDArray[np.float32]
    labels: NDArray[np.int32]
    threshold: float
    protocol: str


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device asked for, or the best one there is: CUDA, Apple's GPU, else the CPU."""
    if device is None:
        apple = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else apple)
    try:
        asked = torch.device(device)
        torch.empty(1, device=asked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {str(device)!r} cannot be used here: {reason}") from error
    return asked


def choose_precision(device: torch.device, precision: str = "auto") -> torch.dtype:
    """Return the number format of convolutions; float32 means plain float32 throughout.

    "auto" takes bfloat16 where the processor multiplies it natively, float16 on older GPUs, and
    float32 elsewhere: emulated bfloat16 is slower than float32.
    """
    if precision != "auto":
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, ["auto", *PRECISIONS])
        if precision == "fp16" and device.type == "cpu":
            raise InputError("precision 'fp16' needs a GPU; use 'bf16' or 'fp32' on the CPU")
        return PRECISIONS[precision]
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float16
    if device.type == "cpu" and _bf16_in_cpu():
        return torch.bfloat16
    return torch.float32


def _bf16_in_cpu() -> bool:
    can = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(can.get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16"))


def heatmap(
    model: SegmentationModel,
    image: NDArray[np.uint8],
    *,
    scale: float = 1.0,
    device: str | torch.device | None = None,
    precision: str = "auto",
    memory_mb: float | None = None,
    asks: Formulation = MASK,
) -> NDArray[np.float32]:
    """Return the probability of "cell" at every pixel of a picture, float32 (H, W).

    The logits of `logit_map` are enlarged to the size of the picture, bilinearly. If a formulation
    draws planes beside it, they follow it, (1 + planes, H, W).
    """
    logits = logit_map(
        model,
        image,
        scale=scale,
        device=device,
        precision=precision,
        memory_mb=memory_mb,
        asks=asks,
    )
    return enlarged(logits, image.shape[:2])


def logit_map(
    model: SegmentationModel,
    image: NDArray[np.uint8],
    *,
    scale: float = 1.0,
    device: str | torch.device | None = None,
    precision: str = "auto",
    memory_mb: float | None = None,
    asks: Formulation = MASK,
    mirrored: bool = False,
) -> NDArray[np.float32]:
    """Return the logit of "cell" at the size at which the network sees the picture, `rounded`.

    What a formulation draws beside it follows, (1 + planes, H, W).

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        A network with one input channel gets the mean of the three.
    scale : float
        The network sees the picture at this size: the result has round(H scale) rows.
    device, precision
        See `choose_device`, `choose_precision`.
    memory_mb : float, optional
        What a forward pass may need; above it the picture is cut into tiles. Default: half of the
        memory that is free.
    asks : Formulation
        What the network was asked to draw.
    mirrored : bool
        Average the answers for the picture and its three mirror images, each mirrored back (S4).
    """
    image = check_image("image", image)
    where = choose_device(device)
    dtype = choose_precision(where, precision)
    height, width = (max(1, round(n * check_positive("scale", scale))) for n in image.shape[:2])
    seen = image if scale == 1.0 else resize_image(image, (height, width))
    if memory_mb is None:
        budget = _free_bytes(where) / 2
    else:
        budget = check_positive("memory_mb", memory_mb) * 1e6
    training = model.training
    model = model.to(device=where, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    try:
        with torch.inference_mode():
            pixels = torch.tensor(np.ascontiguousarray(seen), device=where)
            pixels = pixels.permute(2, 0, 1)[None]  # channels last
            answers = []
            for axes in ((), (-1,), (-2,), (-2, -1)) if mirrored else ((),):
                answer = _logits(model, pixels.flip(axes), dtype, budget, asks.planes)[0]
                answers.append(reduce(asks.mirrored, axes, answer.cpu().numpy()))
    finally:
        model.train(training)
    logits = np.mean(answers, axis=0)
    return rounded(logits if asks.planes else logits[0])


def predict(
    trained: "TrainedModel",
    image: NDArray[np.uint8],
    *,
    pixel_size_um: float | None = None,
    cell_px: float | None = None,
    threshold: float | None = None,
    protocol: str | None = None,
    device: str | torch.device | None = None,
    precision: str = "auto",
    memory_mb: float | None = None,
) -> Prediction:
    """Find the cells of a picture, uint8 (H, W, 3).

    Its pixel size, or the width in pixels of a typical cell in it, says how it must be `magnified`.
    Cutoff and protocol are the model's, unless others are given.
    """
    info = trained.info
    ratio = magnified(info, pixel_size_um=pixel_size_um, cell_px=cell_px)
    name = protocol or info.protocol
    cutoff = info.threshold if threshold is None else threshold
    heat = heatmap(
        trained.model,
        image,
        scale=info.scale * ratio,
        device=device,
        precision=precision,
        memory_mb=memory_mb,
        asks=formulation(info.formulation),
    )
    if not np.isfinite(heat).all():
        raise InputError("the network answers with NaN or infinity: this model cannot be used")
    labels = info.ruler(name).segment(heat, cutoff, scale=info.protocol_scale / ratio)
    return Prediction(heat if heat.ndim == 2 else heat[0], labels, cutoff, name)


def magnified(
    info: "ModelInfo", *, pixel_size_um: float | None = None, cell_px: float | None = None
) -> float:
    """Return how much larger a picture must become to look like the training pictures.

    The network knows cells of one size. The width of a typical cell says best how to get there, the
    pixel size second; without either, or where the model does not know its own, sizes are assumed
    to be equal. The sizes of the post-processing follow.

    Examples
    --------
    >>> from cellcount_lib.inference.model_file import ModelConfig, ModelInfo
    >>> info = ModelInfo(ModelConfig("fcn"), pixel_size_um=0.3, cell_px=40)
    >>> magnified(info, pixel_size_um=0.6), magnified(info, cell_px=20), magnified(info)
    (2.0, 2.0, 1.0)
    """
    if cell_px is not None and info.cell_px is not None:
        return info.cell_px / check_positive("cell_px", cell_px)
    if pixel_size_um is not None and info.pixel_size_um is not None:
        return check_positive("pixel_size_um", pixel_size_um) / info.pixel_size_um
    return 1.0


class Tile(NamedTuple):
    """Part of one side: what goes through the network, and what is kept of it."""

    read_from: int
    read_to: int
    keep_from: int
    keep_to: int


def tiles(side: int, *, kept: int, halo: int, multiple: int) -> Iterator[Tile]:
    """Cut a side into tiles that keep up to `kept` pixels and read `halo` more on either side.

    Every tile begins on a multiple of `multiple` and, except at the end of the side, ends on one.

    Examples
    --------
    >>> [tuple(tile) for tile in tiles(100, kept=48, halo=10, multiple=8)]
    [(0, 64, 0, 48), (32, 100, 48, 96), (80, 100, 96, 100)]
    """
    kept, halo = (-(-length // multiple) * multiple for length in (kept, halo))
    for start in range(0, side, kept):
        stop = min(start + kept, side)
        yield Tile(max(0, start - halo), min(side, stop + halo), start, stop)


def _logits(
    model: SegmentationModel, pixels: Tensor, dtype: torch.dtype, budget: float, planes: int
) -> Tensor:
    """Return the logit of "cell" and the planes beside it for uint8 pixels (1, 3, H, W).

    The picture goes through the network whole or in tiles. The result is (1, 1 + planes, H, W).
    """
    height, width = pixels.shape[-2:]
    if height * width * BYTES_PER_PIXEL <= budget:
        return _forward(model, pixels, dtype, planes)
    halo = receptive_field(model, at="output") // 2 + 1
    largest = int((budget / BYTES_PER_PIXEL) ** 0.5) - 2 * halo
    kept = max(SMALLEST_TILE, largest // model.multiple * model.multiple)
    whole = torch.empty((1, 1 + planes, height, width), device=pixels.device)
    shape = {"kept": kept, "halo": halo, "multiple": model.multiple}
    for y in tiles(height, **shape):
        for x in tiles(width, **shape):
            part = pixels[..., y.read_from : y.read_to, x.read_from : x.read_to]
            logits = _forward(model, part, dtype, planes)
            whole[..., y.keep_from : y.keep_to, x.keep_from : x.keep_to] = logits[
                ...,
                y.keep_from - y.read_from : y.keep_to - y.read_from,
                x.keep_from - x.read_from : x.keep_to - x.read_from,
            ]
    return whole


def _forward(model: SegmentationModel, pixels: Tensor, dtype: torch.dtype, planes: int) -> Tensor:
    image = pixels.float().div_(255).contiguous(memory_format=torch.channels_last)
    if model.config.in_channels == 1:
        image = image.mean(dim=1, keepdim=True)
    with torch.autocast(pixels.device.type, dtype, enabled=dtype != torch.float32):
        logits = model(image)
    classes, drawn = logits.split([logits.shape[1] - planes, planes], dim=1)
    return torch.cat([cell_logit(classes), drawn], dim=1).float()


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])

    return float(psutil.virtual_memory().available)
