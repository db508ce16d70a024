"""What the networks have in common: padding, layers, initialisation."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cellcount_lib.errors import InputError
from cellcount_lib.modelconfig import ModelConfig

BN_EPS = 1e-3  # Keras's default: R21 was trained with it, R23 copied it


class SegmentationModel(nn.Module):
    """A network that maps an image of any size to logits of the same height and width.

    A network that halves the image k times needs sides that are multiples of 2^k. `forward` repeats
    the last row and column until they are, and cuts the result back to size.
    """

    multiple: int
    bottleneck: nn.Module

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    def segment(self, x: Tensor) -> Tensor:
        """Map images whose sides are multiples of `multiple` to logits: the network itself."""
        raise NotImplementedError

    def contracting(self) -> list[nn.Parameter]:
        """Parameters of all layers from the image to the bottleneck, in order."""
        parameters: list[nn.Parameter] = []
        for name, child in self.named_children():
            parameters += child.parameters()
            if name == "bottleneck":
                break
        return parameters

    def missing(self, side: int) -> int:
        """Return how many pixels `side` is short of the next multiple of `multiple`."""
        # Not `-side % multiple`: torch 2.14 cannot compile that for changing sizes (aot_autograd).
        return (side + self.multiple - 1) // self.multiple * self.multiple - side

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to logits (N, out_channels, H, W)."""
        expected = self.config.in_channels
        if image.ndim != 4 or image.shape[1] != expected or not image.is_floating_point():
            raise InputError(
                f"image: expected a floating-point tensor (N, {expected}, H, W) for "
                f"{self.config.name!r}, found {image.dtype} {tuple(image.shape)}"
            )
        height, width = image.shape[-2:]
        # On the right and at the bottom only, so that pixels keep their place on the grid of the
        # poolings; "replicate" because it, unlike "reflect", works when the image is tiny.
        right, bottom = self.missing(width), self.missing(height)
        logits = self.segment(F.pad(image, (0, right, 0, bottom), mode="replicate"))
        # A negative padding cuts. Slicing would do the same, but its result is contiguous for some
        # sizes only, and torch.export refuses to trace both cases into one graph.
        return F.pad(logits, (0, -right, 0, -bottom))


def conv(inside: int, outside: int, kernel: int) -> nn.Conv2d:
    """Make a convolution with bias that keeps height and width."""
    return nn.Conv2d(inside, outside, kernel, padding=kernel // 2)


class Doubling(nn.ConvTranspose2d):
    """Transposed convolution 2x2, stride 2: on a CPU as the product of matrices that it is.

    Every pixel gives four, none of which gets anything from another. Torch 2.14 takes up to ten
    times as long for the gradient of the weights in bfloat16.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, inside, H, W) -> (N, outside, 2 H, 2 W)."""
        if input.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(input, output_size)
        n, inside, height, width = input.shape
        assert self.bias is not None
        weight = self.weight.permute(2, 3, 1, 0).reshape(-1, inside)  # rows: dy, dx, channel
        pixels = F.linear(input.permute(0, 2, 3, 1), weight, self.bias.repeat(4))
        # (N, H, W, dy, dx and channel) -> (N, H, dy, W, dx and channel)
        rows = pixels.view(n, height, width, 2, -1).transpose(2, 3)
        return rows.reshape(n, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def up(inside: int, outside: int) -> nn.ConvTranspose2d:
    """Make a learned doubling of height and width."""
    return Doubling(inside, outside, 2, stride=2)


def conv_relu(inside: int, outside: int, kernel: int = 3) -> list[nn.Module]:
    """Make a convolution followed by a ReLU."""
    return [conv(inside, outside, kernel), nn.ReLU()]


def init_keras(model: nn.Module) -> None:
    """Initialise as R21 does: He for convolutions, Keras's default for transposed ones, biases 0.

    Keras's ``he_normal`` is a normal distribution cut at two standard deviations, with a variance
    of 2 / fan_in after the cut. Its default ``glorot_uniform`` is Xavier's uniform distribution.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            # Cutting at two standard deviations leaves 0.8796 of the standard deviation.
            std = math.sqrt(2 / fan_in) / 0.87962566103423978
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        elif isinstance(module, nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def init_xavier(model: nn.Module) -> None:
    """Initialise as S2 does: Xavier's uniform distribution (Glorot & Bengio, 2010), biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
