"""What the released code of the loss study (R23) computes, kept to show its effect.

Its network ends in a sigmoid and its complement, [1 - p, p]. Its losses, fastai's among them,
expect logits and apply softmax to that; they look at both classes where the formulas of S1 have the
cells alone; and its Combined losses sum Dice where they take the mean of the rest. The presets
"released-..." put together what ran. Do not train with them for any other purpose.

Taught in: 05_losses.
"""

import torch
from torch import Tensor

from cellcount_lib.losses.base import Loss
from cellcount_lib.losses.combined import Combined, CombinedFT
from cellcount_lib.losses.region import Dice, FocalTversky

DICE_TERMS = 64.0  # images of a batch (32) times classes (2), over which R23 sums


class DoubleActivation(Loss):
    r"""Another loss, `of`, that gets probabilities although it expects logits.

    Softmax over [1 - p, p] is sigmoid(2p - 1), so inside the loss a probability can only lie
    between sigmoid(-1) = 0.27 and sigmoid(1) = 0.73, and gradients have another factor 2p(1 - p).
    `activation` is still a single sigmoid: that is the heatmap the network returned.

    Examples
    --------
    A perfectly predicted background pixel still costs -log(0.731):

    >>> from cellcount_lib.losses import build
    >>> loss = build("historical.double-activation", of="bce")
    >>> loss(torch.full((1, 1, 1, 1), -80.0), torch.zeros(1, 1, 1))
    tensor(0.3133)
    """

    def __init__(self, of: Loss) -> None:
        super().__init__()
        self.of = of

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """See `Loss.value`."""
        return self.of.value(2 * logits.sigmoid() - 1, target, weight)


class TwoClassDice(Dice):
    r"""Mean of the Dice losses of cells and of background, fastai's ``DiceLoss``.

    Examples
    --------
    One cell pixel in a hundred is missed: nothing of the cells, nearly all of the background.

    >>> logits, target = torch.full((1, 1, 10, 10), -80.0), torch.zeros(1, 10, 10)
    >>> target[0, 0, 0] = 1
    >>> Dice()(logits, target), TwoClassDice()(logits, target)  # 1, and (1 + 1/199) / 2
    (tensor(1.0000), tensor(0.5025))
    """

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """See `Loss.value`."""
        cells = super().value(logits, target, weight)
        return (cells + super().value(-logits, 1 - target, weight)) / 2


class TwoClassFocalTversky(FocalTversky):
    r"""Focal Tversky with background and cells flattened into one index, as in R23.

    A correct background pixel is then a true positive, too, and an error is a miss in one class and
    a false alarm in the other: TP is the sum of the probabilities of the true class, and FN = FP.
    With alpha + beta = 1 the index is therefore the soft *accuracy*, and the loss is
    (mean |y - p|)^gamma: a network that finds nothing in an image with 1% of cells has 0.99.

    Examples
    --------
    One cell pixel in a hundred is missed. The cells' own index is 0, this one 0.99:

    >>> logits, target = torch.full((1, 1, 10, 10), -80.0), torch.zeros(1, 10, 10)
    >>> target[0, 0, 0] = 1
    >>> FocalTversky(gamma=1.0)(logits, target), TwoClassFocalTversky(gamma=1.0)(logits, target)
    (tensor(1.0000), tensor(0.0100))
    """

    def __init__(self, *, gamma: float = 4 / 3) -> None:
        super().__init__(gamma=gamma)

    def one_minus_index(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return 1 - TI over both classes: each pixel appears once as cell, once as background."""
        return super().one_minus_index(
            torch.cat([logits, -logits], dim=-1),
            torch.cat([target, 1 - target], dim=-1),
            torch.cat([weight, weight], dim=-1),
        )


class ReleasedCombined(Combined):
    """R23's CombinedLoss: its Dice is of both classes, and weighs `DICE_TERMS` times lambda_2.

    fastai's ``DiceLoss`` sums over images and classes unless told otherwise. The factor is that of
    the study's batches of 32, whatever the size of a batch here.
    """

    def __init__(self, *, bce: float = 0.3, dice: float = 0.3, focal: float = 0.4) -> None:
        super().__init__(bce=bce, dice=DICE_TERMS * dice, focal=focal)
        self.dice = TwoClassDice()


class ReleasedCombinedFT(CombinedFT):
    """R23's CombinedFTLoss: as `ReleasedCombined`, and Focal Tversky over both classes."""

    def __init__(self, *, bce: float = 0.3, dice: float = 0.3, focal: float = 0.4) -> None:
        super().__init__(bce=bce, dice=DICE_TERMS * dice, focal=focal)
        self.dice, self.focal = TwoClassDice(), TwoClassFocalTversky()
