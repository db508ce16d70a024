"""Losses that measure overlap: Dice, Tversky and Focal Tversky."""

import torch
from torch import Tensor

from cellcount_lib.checks import check_positive
from cellcount_lib.errors import InputError, unknown_name
from cellcount_lib.losses.base import Loss

REGIONS = ("image", "batch")


def soft_counts(
    logits: Tensor, target: Tensor, weight: Tensor, over: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Count true positive, false negative and false positive pixels, with probabilities as counts.

    One count per image, shape (N,), or one over all images of the batch, shape (1,).
    """
    p, q = logits.sigmoid(), (-logits).sigmoid()  # q = 1 - p without the rounding

    def total(x: Tensor) -> Tensor:
        return x.flatten(1).sum(1) if over == "image" else x.sum().reshape(1)

    return total(weight * target * p), total(weight * target * q), total(weight * (1 - target) * p)


class Tversky(Loss):
    r"""Tversky loss: Dice with separate prices for missed pixels and for false ones.

    .. math:: 1 - TI = 1 - \frac{TP + s}{TP + \alpha\, FN + \beta\, FP + s}

    Parameters
    ----------
    alpha, beta : float
        Prices of false negatives and false positives, as in Abraham & Khan and R23; S1 writes them
        the other way round, 1 - beta and beta. alpha = beta = 0.5 is Dice.
    smooth : float
        s; decides what a batch without cells costs: all reported pixels are then false, and the
        loss is close to 1 as soon as beta FP exceeds s.
    over : {"batch", "image"}
        Count over the whole batch, as R23 does, or in each image and average the losses.

    References
    ----------
    Salehi et al. (2017), "Tversky loss function for image segmentation".

    Examples
    --------
    Two cell pixels and two background pixels, all at p = 0.5: TP = FN = FP = 1.

    >>> target = torch.tensor([[[1, 1, 0, 0]]])
    >>> Tversky(alpha=0.7, beta=0.3)(torch.zeros(1, 1, 1, 4), target)  # 1 - 1 / (1 + 0.7 + 0.3)
    tensor(0.5000)
    """

    def __init__(
        self, *, alpha: float = 0.7, beta: float = 0.3, smooth: float = 1e-6, over: str = "batch"
    ) -> None:
        super().__init__()
        if over not in REGIONS:
            raise unknown_name("over", over, REGIONS)
        if not (alpha >= 0 and beta >= 0):
            raise InputError(f"alpha, beta: expected numbers >= 0, found {alpha!r}, {beta!r}")
        self.alpha, self.beta = alpha, beta
        self.smooth = check_positive("smooth", smooth)
        self.over = over

    def one_minus_index(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return 1 - TI, per image or for the batch, without a difference that would round."""
        tp, fn, fp = soft_counts(logits, target, weight, self.over)
        errors = self.alpha * fn + self.beta * fp
        return errors / (tp + errors + self.smooth)

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """See `Loss.value`."""
        return self.one_minus_index(logits, target, weight).mean()


class FocalTversky(Tversky):
    r"""Focal Tversky loss: images (or batches) that are nearly right count less (S1).

    .. math:: FTL = (1 - TI)^\gamma

    Parameters
    ----------
    gamma : float
        The exponent itself, as S1 and R23 write it. S1's table says 2, R23's default is 4/3.
        Abraham & Khan have 1 / gamma as exponent and gamma = 4/3: that is ``gamma=0.75`` here.
    alpha, beta, smooth, over
        See `Tversky`. S1 sums over the classes. Here there is one index, of the cells; in R23, one
        of both classes (`TwoClassFocalTversky`).

    References
    ----------
    Abraham & Khan (2019), "A novel focal Tversky loss function with improved attention U-Net for
    lesion segmentation".

    Examples
    --------
    >>> target = torch.tensor([[[1, 1, 0, 0]]])
    >>> FocalTversky(gamma=2.0)(torch.zeros(1, 1, 1, 4), target)  # 0.5 squared, see Tversky
    tensor(0.2500)
    """

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        alpha: float = 0.7,
        beta: float = 0.3,
        smooth: float = 1e-6,
        over: str = "batch",
    ) -> None:
        super().__init__(alpha=alpha, beta=beta, smooth=smooth, over=over)
        self.gamma = check_positive("gamma", gamma)

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """See `Loss.value`."""
        errors = self.one_minus_index(logits, target, weight)
        # For gamma < 1 the slope of the power is infinite at 0.
        return errors.clamp_min(torch.finfo(errors.dtype).tiny).pow(self.gamma).mean()


class Dice(Tversky):
    r"""Dice loss (S1).

    .. math:: DL = 1 - \frac{2 \sum y p + s}{\sum y + \sum p + s}

    Parameters
    ----------
    smooth : float
        s; the formula of S1 shows 1, its table of settings and R23 1e-6. Without it, an image that
        has no cells, and in which none is reported, would be 0/0.
    over : {"image", "batch"}
        In each image and averaged over the batch, as in R23, or over the whole batch at once. With
        the study's tiny s, an image without cells costs 1 whatever is predicted, and so teaches
        nothing until sum(p) has come down to s; over the batch it only adds to sum(p).

    Notes
    -----
    R23 (fastai's ``DiceLoss``) also averages in the Dice of the background (`TwoClassDice`); the
    formula of S1 and this class take the cells alone.

    References
    ----------
    Milletari et al. (2016), "V-Net"; Sudre et al. (2017), "Generalised Dice overlap".

    Examples
    --------
    >>> target = torch.tensor([[[1, 1, 0, 0]]])
    >>> Dice(smooth=1.0)(torch.zeros(1, 1, 1, 4), target)  # 1 - (2 * 1 + 1) / (2 + 2 + 1)
    tensor(0.4000)
    """

    def __init__(self, *, smooth: float = 1e-6, over: str = "image") -> None:
        # sum(y) + sum(p) = 2 TP + FN + FP: twice what Tversky has, with both prices 1/2
        super().__init__(
            alpha=0.5, beta=0.5, smooth=check_positive("smooth", smooth) / 2, over=over
        )
