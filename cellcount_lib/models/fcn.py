"""The fully convolutional network of S2, after FCRN-A: encoder and decoder without skips."""

from torch import Tensor, nn

from cellcount_lib.modelconfig import ModelConfig
from cellcount_lib.models.base import SegmentationModel, conv, conv_relu, init_xavier


class FCN(SegmentationModel):
    """Fully convolutional network of S2 (Fig. 6), after FCRN-A of Xie et al.: no skip connections.

    S2 writes "upsampling-ReLU-convolution". Here the ReLU comes before the upsampling, which is
    cheaper and, because this upsampling copies pixels, the same function.
    """

    multiple = 8  # three poolings

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.encoder = nn.Sequential(
            *conv_relu(config.in_channels, 32), nn.MaxPool2d(2),  # (N, 32, H/2, W/2)
            *conv_relu(32, 64), nn.MaxPool2d(2),  # (N, 64, H/4, W/4)
            *conv_relu(64, 128), nn.MaxPool2d(2),  # (N, 128, H/8, W/8)
        )  # fmt: skip
        self.bottleneck = nn.Sequential(*conv_relu(128, 512))  # (N, 512, H/8, W/8)
        self.decoder = nn.Sequential(
            nn.Upsample(scale_factor=2), *conv_relu(512, 128),  # (N, 128, H/4, W/4)
            nn.Upsample(scale_factor=2), *conv_relu(128, 64),  # (N, 64, H/2, W/2)
            nn.Upsample(scale_factor=2), *conv_relu(64, 32),  # (N, 32, H, W)
        )  # fmt: skip
        self.head = conv(32, config.out_channels, 3)

        init_xavier(self)

    def segment(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return self.head(self.decoder(self.bottleneck(self.encoder(x))))
