"""c-ResUnet and ResUnet of S3: a Unet of pre-activation residual blocks."""

import torch
from torch import Tensor, nn

from cellcount_lib.modelconfig import BN_MOMENTUM, ModelConfig
from cellcount_lib.models.base import BN_EPS, SegmentationModel, conv, init_keras, up
from cellcount_lib.models.elu import ELU


class ResUnet(SegmentationModel):
    """c-ResUnet of S3 (Fig. 2); without `colour` and `deep_bottleneck` its parent, ResUnet.

    S3 reads as if ResUnet had 3x3 filters in the bottleneck; only 5x5 gives its 887k parameters.
    """

    multiple = 8  # three poolings

    def __init__(self, config: ModelConfig, *, colour: bool, deep_bottleneck: bool) -> None:
        super().__init__(config)
        first = config.in_channels

        self.colour: nn.Module = nn.Identity()
        if colour:  # a learned conversion to grey, c-ResUnet's first novelty
            self.colour = nn.Sequential(conv(first, 1, 1), *bn_elu(1))
            first = 1

        # encoder
        self.encoder1 = nn.Sequential(conv(first, 16, 3), *bn_elu(16), conv(16, 16, 3))
        self.encoder2 = ResidualBlock(16, 32)
        self.encoder3 = ResidualBlock(32, 64)
        self.pool = nn.MaxPool2d(2)

        # bottleneck
        blocks = [ResidualBlock(64, 128, kernel=5)]
        if deep_bottleneck:  # a wider field of view, c-ResUnet's second novelty
            blocks.append(ResidualBlock(128, 128, kernel=5))
        self.bottleneck = nn.Sequential(*blocks)

        # decoder
        self.decoder3 = UpResidualBlock(128, 64)
        self.decoder2 = UpResidualBlock(64, 32)
        self.decoder1 = UpResidualBlock(32, 16)
        self.head = conv(16, config.out_channels, 1)

        init_keras(self)

    def segment(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        x = self.colour(x)  # (N, 1, H, W)
        x1 = self.encoder1(x)  # (N, 16, H, W)
        x2 = self.encoder2(self.pool(x1))  # (N, 32, H/2, W/2)
        x3 = self.encoder3(self.pool(x2))  # (N, 64, H/4, W/4)

        x = self.bottleneck(self.pool(x3))  # (N, 128, H/8, W/8)

        x = self.decoder3(x, x3)  # (N, 64, H/4, W/4)
        x = self.decoder2(x, x2)  # (N, 32, H/2, W/2)
        x = self.decoder1(x, x1)  # (N, 16, H, W)
        return self.head(x)  # (N, out_channels, H, W)


class ResidualBlock(nn.Module):
    """Pre-activation residual block: (BN, ELU, conv) twice, plus a shortcut (S3 Fig. 2, R21, R23).

    The shortcut is a 1x1 convolution without batch norm where the number of channels changes.
    """

    def __init__(self, inside: int, outside: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *bn_elu(inside),
            conv(inside, outside, kernel),
            *bn_elu(outside),
            conv(outside, outside, kernel),
        )
        self.shortcut = conv(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, H, W)."""
        return self.main(x) + self.shortcut(x)


class UpResidualBlock(nn.Module):
    """Decoder block: double the size, join the encoder's map, (BN, ELU, conv) twice, add.

    The upsampled map is also the shortcut.
    """

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.up = up(inside, outside)
        self.main = nn.Sequential(
            *bn_elu(2 * outside),
            conv(2 * outside, outside, 3),
            *bn_elu(outside),
            conv(outside, outside, 3),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, inside, H/2, W/2) and (N, outside, H, W) -> (N, outside, H, W)."""
        x = self.up(x)
        return self.main(torch.cat([x, skip], dim=1)) + x


def bn_elu(channels: int) -> list[nn.Module]:
    """Make the pre-activation of the residual networks."""
    return [nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM), ELU()]
