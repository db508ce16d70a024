"""What a network costs, and how much of the image it sees."""

import copy

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cellcount_lib.errors import unknown_name
from cellcount_lib.models.base import SegmentationModel

PLACES = ("bottleneck", "output")
ROOM = 384  # height of the image that is tried: more than any field here


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_flops(model: SegmentationModel, *, size: tuple[int, int] = (512, 512)) -> int:
    """Count the operations of one forward pass on one image of `size`, 2 per multiply-add.

    As usual, only convolutions count. Nothing is computed: only shapes go through the network.

    Examples
    --------
    >>> from cellcount_lib.models import build
    >>> round(count_flops(build("c-resunet")) / 1e9, 1)  # GFLOP per 512x512 crop
    28.5
    """
    shapes_only = copy.deepcopy(model).to("meta")
    image = torch.empty(1, model.config.in_channels, *size, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes_only(image)
    return counter.get_total_flops()


@torch.inference_mode(False)  # whoever predicts asks for it, too, and it needs gradients
def receptive_field(model: str | SegmentationModel, *, at: str = "bottleneck") -> int:
    """Side in pixels of the square of the image on which one unit depends.

    These are the pixels for which the unit has a gradient, in a copy of the network whose weights
    are all alike, so that nothing cancels, and that averages where the network takes the maximum,
    through which only one pixel of four has a gradient.

    Parameters
    ----------
    model : str or SegmentationModel
        A network, or the name of one.
    at : {"bottleneck", "output"}
        The deepest feature map (for the FCN, S2 gives 38x38), or the logits. At the output the
        field depends on where a pixel lies on the grid of the poolings; the largest is returned.

    Examples
    --------
    The second 5x5 block in the bottleneck of c-ResUnet widens its view:

    >>> receptive_field("resunet"), receptive_field("c-resunet")
    (100, 164)
    """
    if at not in PLACES:
        raise unknown_name("place of the receptive field", at, PLACES)
    if isinstance(model, str):
        from cellcount_lib.models import build

        model = build(model)
    alike = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    for layer in alike.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
        for name, child in layer.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(layer, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    maps: dict[str, Tensor] = {}
    alike.bottleneck.register_forward_hook(lambda *args: maps.update(bottleneck=args[-1]))
    image = torch.ones(1, model.config.in_channels, ROOM, model.multiple, requires_grad=True)
    maps["output"] = alike(image)
    units = maps[at][0, 0, :, 0]
    sides = []
    for unit in units[len(units) // 2 :][: model.multiple if at == "output" else 1]:
        (gradient,) = torch.autograd.grad(unit, image, retain_graph=True)
        rows = gradient.ne(0).any(dim=3).any(dim=1).nonzero()[:, 1]
        first, last = int(rows.min()), int(rows.max())
        assert 0 < first <= last < ROOM - 1, "the field is cut off by the edge of the image"
        sides.append(last - first + 1)
    return max(sides)
