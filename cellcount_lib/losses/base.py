"""What the losses have in common: inputs, activation and decoding."""

import sys

import torch
from torch import Tensor, nn

from cellcount_lib.errors import InputError


def cell_logit(logits: Tensor) -> Tensor:
    """Reduce logits (N, 1, 2 or 3, H, W) to the one of "cell", (N, 1, H, W).

    Softmax over two channels is the sigmoid of their difference,
    exp(z1) / (exp(z0) + exp(z1)) = sigmoid(z1 - z0), so the FCN of S2 with its two maps trains
    under the same losses as the networks of S3 with one. If there are three channels (background,
    inside, outline), the second competes with the other two together.
    """
    if logits.ndim != 4 or logits.shape[1] not in (1, 2, 3) or logits.numel() == 0:
        raise InputError(
            "logits: expected shape (N, 1, 2 or 3, H, W) with at least one pixel, "
            f"found {tuple(logits.shape)}"
        )
    if logits.shape[1] == 3:
        return logits[:, 1:2] - logits[:, [0, 2]].logsumexp(dim=1, keepdim=True)
    return logits if logits.shape[1] == 1 else logits[:, 1:] - logits[:, :1]


class Loss(nn.Module):
    """A loss on logits that owns its activation and its decoding, as fastai expects.

    Called as ``loss(logits, target, weight=None)``:

    - `logits`: (N, 1, H, W), or (N, 2, H, W) with "cell" in the second channel;
    - `target`: (N, 1, H, W) or (N, H, W), bool, integer or floating point, 0 background, 1 cell;
    - `weight`: the weight map, of the same shape, multiplies the contribution of every pixel.

    The result is one number in float32, whatever the precision of the logits (float64 is kept).
    Subclasses define `value` on prepared tensors of shape (N, 1, H, W).
    """

    largest = 1.0  # largest value of a target

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss, a tensor without dimensions."""
        # Sums over 512x512 pixels overflow float16, and bfloat16 stops counting at 256.
        logits = plain(logits)
        logits = cell_logit(logits if logits.dtype == torch.float64 else logits.float())
        target = _pixels("target", target, logits)
        hint = " (binarise the mask with > 0)" if self.largest == 1 else ""
        expected = f"values in [0, {self.largest:g}]{hint}"
        check_range("target", target, expected, largest=self.largest)
        if weight is None:
            weight = torch.ones_like(target)
        else:
            weight = _pixels("weight", weight, logits)
            check_range("weight", weight, "finite values >= 0", largest=sys.float_info.max)
        return self.value(logits, target, weight)

    def value(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Compute the loss from float tensors, all (N, 1, H, W)."""
        raise NotImplementedError

    def cell(self, logits: Tensor) -> Tensor:
        """Reduce logits to the one of "cell", (N, 1, H, W)."""
        return cell_logit(logits)

    def activation(self, logits: Tensor) -> Tensor:
        """Turn logits (N, C, H, W) into probabilities of "cell", (N, 1, H, W)."""
        return self.cell(logits).sigmoid()

    def truth(self, target: Tensor) -> Tensor:
        """Pixels that the network should call "cell", bool: what metrics compare with."""
        return target > 0

    def decodes(self, probabilities: Tensor) -> Tensor:
        """Turn the probabilities that `activation` gives into masks, bool (N, H, W)."""
        return probabilities[:, 0] > 0.5


def plain(tensor: Tensor) -> Tensor:
    """Return an ordinary tensor: fastai's subclasses refuse to be mixed."""
    return tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor)


def _pixels(name: str, tensor: Tensor, logits: Tensor) -> Tensor:
    """Return `tensor` in the shape and precision of the reduced logits."""
    tensor = plain(tensor)
    if tensor.ndim == 3:
        tensor = tensor.unsqueeze(1)
    if tensor.shape != logits.shape:
        raise InputError(
            f"{name}: expected shape {tuple(logits.shape)}, with or without the channel, "
            f"found {tuple(tensor.shape)}"
        )
    return tensor.to(logits.dtype)


def check_range(name: str, tensor: Tensor, expected: str, *, largest: float) -> None:
    """Raise if a value is NaN, negative, or above `largest`."""
    if torch.compiler.is_compiling():  # a look at the values would break the graph
        return
    low, high = (float(v) for v in torch.aminmax(tensor.detach()))
    if not (low >= 0 and high <= largest):  # NaN fails every comparison
        raise InputError(f"{name}: expected {expected}, found {low:g} to {high:g}")
