"""Weighted sums of a pixel loss, Dice and a focal loss (S1)."""

from torch import Tensor

from cellcount_lib.errors import InputError
from cellcount_lib.losses.base import Loss
from cellcount_lib.losses.pixel import Focal, WeightedBCE
from cellcount_lib.losses.region import Dice, FocalTversky


class Combined(Loss):
    r"""CombinedLoss of S1.

    .. math:: L = \lambda_1\, BCE + \lambda_2\, Dice + \lambda_3\, Focal

    Parameters
    ----------
    bce, dice, focal : float
        lambda_1, lambda_2, lambda_3 (balanced: 0.3, 0.3, 0.4).
    cell_weight, smooth, over, gamma
        See `WeightedBCE` (the study weights both classes alike here), `Dice` and `Focal`.

    Notes
    -----
    R23 leaves fastai's ``DiceLoss`` at its default, the sum over images and both classes: in a
    batch of 32 its Dice term weighs 64 times as much as lambda_2 says (`ReleasedCombined`). Here it
    is the mean.

    Examples
    --------
    >>> import torch
    >>> logits, target = torch.zeros(1, 1, 1, 4), torch.tensor([[[1, 1, 0, 0]]])
    >>> Combined(smooth=1.0)(logits, target)  # 0.3 log 2 + 0.3 * 0.4 + 0.4 * log 2 / 4
    tensor(0.3973)
    """

    def __init__(
        self,
        *,
        bce: float = 0.3,
        dice: float = 0.3,
        focal: float = 0.4,
        cell_weight: float = 1.0,
        smooth: float = 1e-6,
        over: str = "image",
        gamma: float = 2.0,
    ) -> None:
        super().__init__()
        self.lambdas = _lambdas(bce, dice, focal)
        self.bce = WeightedBCE(cell_weight=cell_weight, mean_over="weights")
        self.dice = Dice(smooth=smooth, over=over)
        self.focal: Loss = Focal(gamma=gamma)

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """See `Loss.value`."""
        bce, dice, focal = self.lambdas
        return (
            bce * self.bce.value(logits, target, weight)
            + dice * self.dice.value(logits, target, weight)
            + focal * self.focal.value(logits, target, weight)
        )


class CombinedFT(Combined):
    r"""CombinedFTLoss of S1: Focal Tversky in the place of the focal loss.

    .. math:: L = \lambda_1\, BCE + \lambda_2\, Dice + \lambda_3\, FocalTversky

    Parameters
    ----------
    bce, dice, focal, cell_weight, smooth, over
        See `Combined`; Dice and Focal Tversky have the same `smooth`.
    gamma, alpha, beta : float
        See `FocalTversky`. S1 gives no gamma for this loss; 4/3 is R23's.
    """

    def __init__(
        self,
        *,
        bce: float = 0.3,
        dice: float = 0.3,
        focal: float = 0.4,
        cell_weight: float = 1.0,
        smooth: float = 1e-6,
        over: str = "image",
        gamma: float = 4 / 3,
        alpha: float = 0.7,
        beta: float = 0.3,
    ) -> None:
        super().__init__(
            bce=bce, dice=dice, focal=focal, cell_weight=cell_weight, smooth=smooth, over=over
        )
        self.focal = FocalTversky(gamma=gamma, alpha=alpha, beta=beta, smooth=smooth)


def _lambdas(*values: float) -> tuple[float, ...]:
    if not (all(v >= 0 for v in values) and 0 < sum(values) < float("inf")):
        raise InputError(f"weights of the terms: expected numbers >= 0, not all 0, found {values}")
    return values
