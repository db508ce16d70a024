"""What a network costs, and how much of the image it sees, worked out from its layers."""

import copy

import torch
from torch import nn
from torch.fx import Graph, Node, Tracer
from torch.utils.flop_counter import FlopCounterMode

from cellcount_lib.errors import unknown_name
from cellcount_lib.models.base import SegmentationModel

PLACES = ("bottleneck", "output")
Span = tuple[int, int]  # first and last index, both inclusive, along one axis


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


def receptive_field(model: str | SegmentationModel, *, at: str = "bottleneck") -> int:
    """Side in pixels of the square of the image on which one unit depends.

    The graph of the network is followed backwards from one unit, along all branches, with the span
    of indices that each layer reads. The unit lies far from the borders.

    Parameters
    ----------
    model : str or SegmentationModel
        A network, or the name of one.
    at : {"bottleneck", "output"}
        The deepest feature map (for the FCN, S2 gives 38x38), or the logits. At the output the
        field depends on where a pixel lies on the grid of the poolings; the largest is returned.

    References
    ----------
    Araujo, Norris & Sim (2019), "Computing receptive fields of convolutional neural networks".

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
    graph = _graph(model)
    nodes = list(graph.nodes)
    if at == "bottleneck":
        unit = [n for n in nodes if "bottleneck" in n.meta.get("nn_module_stack", ())][-1]
        positions = range(1)
    else:
        unit = nodes[-1]
        positions = range(model.multiple)
    spans = [_span_of_input(graph, model, unit, position) for position in positions]
    return max(last - first + 1 for first, last in spans)


def _graph(model: SegmentationModel) -> Graph:
    class OfSegment(Tracer):
        traced_func_name = "segment"  # the network itself, without padding and cropping

    return OfSegment().trace(model)


def _span_of_input(graph: Graph, model: nn.Module, unit: Node, position: int) -> Span:
    """Span of input indices on which the output of node `unit` at index `position` depends."""
    needed: dict[Node, Span] = {unit: (position, position)}
    for node in reversed(graph.nodes):
        if node not in needed:
            continue
        if node.op == "placeholder":
            return needed[node]
        layer = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        span = _read_by(layer, needed[node])
        for source in node.all_input_nodes:
            first, last = needed.get(source, span)
            needed[source] = (min(first, span[0]), max(last, span[1]))
    raise AssertionError("the unit does not depend on the image")


def _read_by(layer: nn.Module | None, span: Span) -> Span:
    """Span of indices that a layer reads to make `span`; None is an operation without a layer."""
    first, last = span
    match layer:
        case nn.Conv2d() | nn.MaxPool2d():
            kernel, stride, padding, dilation = _sides(
                layer, "kernel_size", "stride", "padding", "dilation"
            )
            return first * stride - padding, last * stride - padding + dilation * (kernel - 1)
        case nn.ConvTranspose2d():  # index i writes i * stride - padding + 0 .. kernel - 1
            kernel, stride, padding = _sides(layer, "kernel_size", "stride", "padding")
            return -((kernel - 1 - first - padding) // stride), (last + padding) // stride
        case nn.Upsample(mode="nearest", scale_factor=float() as scale):
            factor = int(scale)
            return first // factor, last // factor
        case None | nn.BatchNorm2d() | nn.ELU() | nn.ReLU() | nn.Identity():
            return span  # pixel by pixel: activations, sums, concatenations
    raise NotImplementedError(f"no rule for {type(layer).__name__}")


def _sides(layer: nn.Module, *names: str) -> list[int]:
    """Return settings of a layer that are the same along both axes."""
    values = [getattr(layer, name) for name in names]
    sides = [{value} if isinstance(value, int) else set(value) for value in values]
    assert all(len(side) == 1 for side in sides), "a square layer is expected"
    return [side.pop() for side in sides]
