"""The five networks of the three studies: c-ResUnet, ResUnet, Unet and small Unet (S3), FCN (S2).

Read a network from top to bottom like its figure: `__init__` lists the blocks, `segment` connects
them (encoder, bottleneck, decoder, head). All return logits; the activation belongs to the loss.

>>> from cellcount_lib.models.measure import count_parameters
>>> model = build("c-resunet")
>>> count_parameters(model)
1707287
>>> model(torch.zeros(1, 3, 45, 50)).shape  # any image size
torch.Size([1, 1, 45, 50])

Taught in: 02_architectures.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from cellcount_lib.modelconfig import BN_MOMENTUM, ModelConfig
from cellcount_lib.models.base import SegmentationModel
from cellcount_lib.models.fcn import FCN
from cellcount_lib.models.resunet import ResUnet
from cellcount_lib.models.unet import Unet
from cellcount_lib.registry import Registry

__all__ = ["MODELS", "ModelConfig", "SegmentationModel", "build", "from_config"]

MODELS: Registry[Callable[[ModelConfig], SegmentationModel]] = Registry(
    "model",
    {
        "c-resunet": partial(ResUnet, colour=True, deep_bottleneck=True),
        "resunet": partial(ResUnet, colour=False, deep_bottleneck=False),
        "unet": partial(Unet, width=32),
        "small-unet": partial(Unet, width=8),
        "fcn": FCN,
    },
)


def build(
    name: str,
    in_channels: int = 3,
    out_channels: int = 1,
    *,
    bn_momentum: float = BN_MOMENTUM,
    seed: int = 0,
) -> SegmentationModel:
    """Build a network of `MODELS` with fresh weights; the arguments are those of `ModelConfig`.

    The network maps images (N, in_channels, H, W) to logits (N, out_channels, H, W). Its weights
    depend on the arguments only: torch's global generator is neither read nor changed.
    """
    return from_config(ModelConfig(name, in_channels, out_channels, bn_momentum), seed=seed)


def from_config(config: ModelConfig, *, seed: int = 0) -> SegmentationModel:
    """Build the network of a checkpoint: ``from_config(ModelConfig(**saved))``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[config.name](config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = config.bn_momentum
    return model
