"""From a picture of any size to its heatmap, with torch.

Taught in: 07_out_of_distribution
"""

from functools import partial, reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellcount_lib.errors import InputError, unknown_name
from cellcount_lib.inference.formulations import MASK, Formulation
from cellcount_lib.inference.heatmaps import enlarged, rounded
from cellcount_lib.inference.network import budget, seen
from cellcount_lib.inference.tiles import whole_or_tiles
from cellcount_lib.losses import cell_logit
from cellcount_lib.models import SegmentationModel
from cellcount_lib.models.measure import receptive_field

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Peak memory of a forward pass per pixel that enters the network, measured as the growth of the
# process on one 600x800 picture in float32: Unet 977 bytes, c-ResUnet 730, FCN and small Unet less;
# bfloat16 needs about half.
BYTES_PER_PIXEL = 1000


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
    stretch: bool = False,
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
    stretch : bool
        Whether its intensities are `stretched` first, as in training.
    asks : Formulation
        What the network was asked to draw.
    mirrored : bool
        Average the answers for the picture and its three mirror images, each mirrored back (S4).
    """
    shown = seen(image, scale, stretch)
    where = choose_device(device)
    dtype = choose_precision(where, precision)
    free = float(torch.cuda.mem_get_info(where)[0]) if where.type == "cuda" else None
    training = model.training
    model = model.to(device=where, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    try:
        with torch.inference_mode():
            pixels = torch.tensor(np.ascontiguousarray(shown), device=where)
            pixels = pixels.permute(2, 0, 1)[None]  # channels last
            answers = []
            for axes in ((), (-1,), (-2,), (-2, -1)) if mirrored else ((),):
                turned = pixels.flip(axes)
                found = whole_or_tiles(
                    partial(_forward, model, turned, dtype, asks.planes),
                    shown.shape[:2],
                    halo=lambda: halo(model),
                    multiple=model.multiple,
                    most_pixels=budget(memory_mb, free) / BYTES_PER_PIXEL,
                )
                answers.append(reduce(asks.mirrored, axes, found))
    finally:
        model.train(training)
    logits = np.mean(answers, axis=0)
    return rounded(logits if asks.planes else logits[0])


def halo(model: SegmentationModel) -> int:
    """Return how far from a pixel the network looks."""
    return receptive_field(model, at="output") // 2 + 1


def answer(model: SegmentationModel, pixels: Tensor, planes: int) -> Tensor:
    """Return the logit of "cell" and the planes beside it, (N, 1 + planes, H, W): what is exported.

    The pixels are uint8 (N, 3, H, W).
    """
    image = pixels.float().div(255)
    if model.config.in_channels == 1:
        image = image.mean(dim=1, keepdim=True)
    logits = model(image)
    classes, drawn = logits.split([logits.shape[1] - planes, planes], dim=1)
    return torch.cat([cell_logit(classes), drawn], dim=1).float()


def _forward(
    model: SegmentationModel, pixels: Tensor, dtype: torch.dtype, planes: int, y: slice, x: slice
) -> NDArray[np.float32]:
    part = pixels[..., y, x].contiguous(memory_format=torch.channels_last)
    with torch.autocast(pixels.device.type, dtype, enabled=dtype != torch.float32):
        logits = answer(model, part, planes)
    found: NDArray[np.float32] = logits[0].cpu().numpy()
    return found
