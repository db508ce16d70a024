"""What it takes to build a network again; known where torch is not installed, too."""

from dataclasses import dataclass

from cellcount_lib.errors import InputError

# Momentum 0.99 of Keras, which R21 was trained with and R23 copied, is 0.01 in torch.
BN_MOMENTUM = 0.01


@dataclass(frozen=True)
class ModelConfig:
    """What it takes to build the same network again; stored on the model and in checkpoints."""

    name: str  # in `MODELS`
    in_channels: int = 3
    out_channels: int = 1  # one logit map (sigmoid), or two (softmax, as the FCN of S2)
    # Share of the newest batch in the running statistics of batch normalisation. The published 0.01
    # needs several hundred steps to forget its start; shorter trainings need 0.1.
    bn_momentum: float = BN_MOMENTUM

    def __post_init__(self) -> None:
        for field in ("in_channels", "out_channels"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{field}: expected a whole number >= 1, found {value!r}")
        if not 0 < self.bn_momentum <= 1:
            raise InputError(f"bn_momentum: expected a number in (0, 1], found {self.bn_momentum}")
