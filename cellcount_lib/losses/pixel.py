"""Losses that are averages over pixels: weighted cross-entropy and focal loss."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cellcount_lib.checks import check_positive
from cellcount_lib.errors import InputError, unknown_name
from cellcount_lib.losses.base import Loss

MEANS = ("pixels", "weights")


def log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p and log(1 - p), straight from the logits: exact where p rounds to 0 or 1.

    These are torch's ``logsigmoid``, which takes three times as long on a CPU. Beyond the threshold
    log(1 + exp(z)) is z in double precision, too.
    """
    return -F.softplus(-logits, threshold=40), -F.softplus(logits, threshold=40)


class WeightedBCE(Loss):
    r"""Binary cross-entropy with a weight for each class (S1; S3 with class weights 1.5 and 1).

    .. math:: L = -\frac{1}{M} \sum_i w_i\, [\beta\, y_i \log p_i + \beta_0 (1 - y_i) \log(1 - p_i)]

    Parameters
    ----------
    cell_weight, background_weight : float
        beta and beta_0.
    mean_over : {"pixels", "weights"}
        What M is: the number of pixels, as in Keras and R21 (the loss grows with the weights), or
        the sum of all weights, as in ``torch.nn.CrossEntropyLoss(weight=...)`` and R23 (the loss
        keeps its scale). S1 does not say.

    Examples
    --------
    A cell and a background pixel, both at p = 0.5; log 2 = 0.693:

    >>> logits, target = torch.zeros(1, 1, 1, 2), torch.tensor([[[1, 0]]])
    >>> WeightedBCE(cell_weight=3.0)(logits, target)  # (3 log 2 + log 2) / 2
    tensor(1.3863)
    >>> WeightedBCE(cell_weight=3.0, mean_over="weights")(logits, target)
    tensor(0.6931)
    """

    def __init__(
        self, *, cell_weight: float = 1.0, background_weight: float = 1.0, mean_over: str = "pixels"
    ) -> None:
        super().__init__()
        if mean_over not in MEANS:
            raise unknown_name("mean_over", mean_over, MEANS)
        self.cell_weight = check_positive("cell_weight", cell_weight)
        self.background_weight = check_positive("background_weight", background_weight)
        self.mean_over = mean_over

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """See `Loss.value`."""
        cell = weight * self.cell_weight * target
        background = weight * self.background_weight * (1 - target)
        log_p, log_q = log_probabilities(logits)
        loss = -(cell * log_p + background * log_q)
        if self.mean_over == "pixels":
            return loss.mean()
        # A weight map of zeros gives 0, not 0/0.
        return loss.sum() / (cell + background).sum().clamp_min(torch.finfo(loss.dtype).tiny)


class Focal(Loss):
    r"""Focal loss: cross-entropy in which easy pixels count less (S1).

    .. math:: FL(p_t) = -\alpha_t (1 - p_t)^\gamma \log p_t, \quad
        p_t = p \text{ for cells and } 1 - p \text{ for background}

    averaged over pixels.

    Parameters
    ----------
    gamma : float
        How much less easy pixels count; 0 gives cross-entropy. The study and Lin et al. use 2.
    alpha : float, optional
        Weight of cells; the background has 1 - alpha. None gives both the weight 1, as in R23; Lin
        et al. use 0.25.

    References
    ----------
    Lin et al. (2017), "Focal loss for dense object detection", Eq. 5.

    Examples
    --------
    At p_t = 0.5 and gamma = 2 every pixel counts a quarter of its cross-entropy:

    >>> Focal()(torch.zeros(1, 1, 1, 2), torch.tensor([[[1, 0]]])) / 0.6931472
    tensor(0.2500)
    """

    def __init__(self, *, gamma: float = 2.0, alpha: float | None = None) -> None:
        super().__init__()
        if not gamma >= 0:
            raise InputError(f"gamma: expected a number >= 0, found {gamma!r}")
        if alpha is not None and not 0 <= alpha <= 1:
            raise InputError(f"alpha: expected None or a number in [0, 1], found {alpha!r}")
        self.gamma = gamma
        self.alpha = alpha

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """See `Loss.value`."""
        log_p, log_q = log_probabilities(logits)
        # A power as exp(gamma log x): its gradient is finite at x = 0 for every gamma.
        cells = -torch.exp(self.gamma * log_q) * log_p
        background = -torch.exp(self.gamma * log_p) * log_q
        alpha, rest = (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)
        return (weight * (alpha * target * cells + rest * (1 - target) * background)).mean()
