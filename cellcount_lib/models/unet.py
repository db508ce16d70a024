"""Unet and small Unet of S3: Ronneberger's network with 5x5 filters in the bottleneck."""

import torch
from torch import Tensor, nn

from cellcount_lib.modelconfig import ModelConfig
from cellcount_lib.models.base import SegmentationModel, conv, conv_relu, init_keras, up


class Unet(SegmentationModel):
    """Unet of S3 (first width 32) and small Unet (8): Ronneberger's, with 5x5 in the bottleneck."""

    multiple = 16  # four poolings

    def __init__(self, config: ModelConfig, *, width: int) -> None:
        super().__init__(config)
        w1, w2, w3, w4, w5 = (width * 2**level for level in range(5))

        # encoder
        self.encoder1 = conv_relu_twice(config.in_channels, w1)
        self.encoder2 = conv_relu_twice(w1, w2)
        self.encoder3 = conv_relu_twice(w2, w3)
        self.encoder4 = conv_relu_twice(w3, w4)
        self.pool = nn.MaxPool2d(2)

        # bottleneck
        self.bottleneck = conv_relu_twice(w4, w5, kernel=5)

        # decoder
        self.up4, self.decoder4 = up(w5, w4), conv_relu_twice(2 * w4, w4)
        self.up3, self.decoder3 = up(w4, w3), conv_relu_twice(2 * w3, w3)
        self.up2, self.decoder2 = up(w3, w2), conv_relu_twice(2 * w2, w2)
        self.up1, self.decoder1 = up(w2, w1), conv_relu_twice(2 * w1, w1)
        self.head = conv(w1, config.out_channels, 1)

        init_keras(self)

    def segment(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        x1 = self.encoder1(x)  # (N, w1, H, W)
        x2 = self.encoder2(self.pool(x1))  # (N, w2, H/2, W/2)
        x3 = self.encoder3(self.pool(x2))  # (N, w3, H/4, W/4)
        x4 = self.encoder4(self.pool(x3))  # (N, w4, H/8, W/8)

        x = self.bottleneck(self.pool(x4))  # (N, w5, H/16, W/16)

        x = self.decoder4(torch.cat([self.up4(x), x4], dim=1))  # (N, w4, H/8, W/8)
        x = self.decoder3(torch.cat([self.up3(x), x3], dim=1))  # (N, w3, H/4, W/4)
        x = self.decoder2(torch.cat([self.up2(x), x2], dim=1))  # (N, w2, H/2, W/2)
        x = self.decoder1(torch.cat([self.up1(x), x1], dim=1))  # (N, w1, H, W)
        return self.head(x)  # (N, out_channels, H, W)


def conv_relu_twice(inside: int, outside: int, kernel: int = 3) -> nn.Sequential:
    """Make the level of a Unet; no batch norm, as in S3."""
    return nn.Sequential(*conv_relu(inside, outside, kernel), *conv_relu(outside, outside, kernel))
