"""A trained network as an ONNX file, which runs where torch is not installed.

The graph takes pixels as they are stored, uint8 (N, 3, H, W), and gives what `predict.answer`
gives. All sizes are open. Weights are rounded to float16 and computed with in float32.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cellcount_lib.errors import InputError
from cellcount_lib.files import write_whole
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.model_file import TrainedModel, tensor_digest
from cellcount_lib.inference.predict import answer, halo
from cellcount_lib.models import SegmentationModel

OPSET = 20
SMALL = 64  # numbers; what has fewer gains nothing by being rounded


class Answer(nn.Module):
    """What is exported: from stored pixels to the logit of "cell" and planes beside it."""

    def __init__(self, model: SegmentationModel, planes: int) -> None:
        super().__init__()
        self.model, self.planes = model, planes

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, 1 + planes, H, W)."""
        return answer(self.model, pixels, self.planes)


def export_onnx(trained: TrainedModel, path: Path) -> None:
    """Write a network as ONNX, with the metadata of its safetensors file, whole or not at all."""
    if path.suffix != ".onnx":
        raise InputError(f"{path}: expected a name that ends in .onnx")
    import onnx

    asks = formulation(trained.info.formulation)
    sides = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    pixels = torch.zeros(2, 3, 40, 56, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own code
        program = torch.onnx.export(
            Answer(trained.model.cpu().eval(), asks.planes),
            (pixels,),
            input_names=["pixels"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=(sides,),
            optimize=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _forget_traces(model)
    _halve(model.graph)
    about = trained.info.header() | {
        "weights": tensor_digest(trained.model.state_dict())[:12],
        "multiple": str(trained.model.multiple),
        "halo": str(halo(trained.model)),
    }
    onnx.helper.set_model_props(model, about)
    write_whole(path, model.SerializeToString())


def _forget_traces(model: Any) -> None:
    """Remove what torch notes beside nodes and values: lines of code, with paths of the machine."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for weights in graph.initializer:
        weights.ClearField("metadata_props")


def _halve(graph: Any) -> None:
    """Store float32 weights of a graph as float16, each followed by its conversion."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weights in graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype != np.float32 or values.size < SMALL:
            continue
        name = weights.name
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
