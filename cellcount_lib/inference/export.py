"""A trained network as an ONNX file, which runs where torch is not installed, or as TorchScript.

Both take pixels as they are stored, (N, 3, H, W) from 0 to 255, and give what `predict.answer`
gives. All sizes are open. In ONNX files weights are rounded to float16 and computed with in
float32.
"""

import copy
import io
import json
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
from cellcount_lib.models.elu import ELU

OPSET = 20
SMALL = 64  # numbers; what has fewer gains nothing by being rounded


class Answer(nn.Module):
    """What is exported: from stored pixels to the logit of "cell" and planes beside it."""

    def __init__(self, model: SegmentationModel, planes: int) -> None:
        super().__init__()
        self.model, self.planes = model, planes

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) from 0 to 255 -> (N, 1 + planes, H, W)."""
        return answer(self.model, pixels, self.planes)


def export_onnx(trained: TrainedModel, path: Path, *, mirrored: bool = False) -> None:
    """Write a network as ONNX, with the metadata of its safetensors file, whole or not at all.

    With `mirrored`, the file says that answers are averaged over a picture and its mirror images.
    """
    import onnx

    check_suffix(path, ".onnx")
    model = onnx_graph(trained, torch.uint8)
    about = trained.info.header() | {
        "weights": tensor_digest(trained.model.state_dict(), "mirrored" if mirrored else "")[:12],
        "multiple": str(trained.model.multiple),
        "halo": str(halo(trained.model)),
        "mirrored": json.dumps(mirrored),
    }
    onnx.helper.set_model_props(model, about)
    write_whole(path, model.SerializeToString())


def export_torchscript(trained: TrainedModel, path: Path) -> None:
    """Write a network as TorchScript, with the metadata of its safetensors file in ``info.json``.

    It takes uint8 as well as float32.
    """
    check_suffix(path, ".pt")
    write_whole(path, torchscript(trained))


def torchscript(trained: TrainedModel) -> bytes:
    """Return a network as the bytes of a TorchScript file."""
    wrapped = copy.deepcopy(_answer(trained))
    for module in wrapped.modules():
        if isinstance(module, ELU):
            module.__class__ = nn.ELU  # type: ignore[assignment]  # ours calls Python
    data = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # it is deprecated, and what others still load
        traced = torch.jit.trace(wrapped, torch.zeros(1, 3, 40, 56), check_trace=False)
        torch.jit.save(traced, data, {"info.json": json.dumps(trained.info.header())})
    return data.getvalue()


def onnx_graph(trained: TrainedModel, dtype: torch.dtype) -> Any:
    """Return a network as an ONNX model whose input, "pixels", is of a type."""
    sides = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    pixels = torch.zeros(2, 3, 40, 56, dtype=dtype)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own code
        program = torch.onnx.export(
            _answer(trained),
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
    return model


def _answer(trained: TrainedModel) -> Answer:
    planes = formulation(trained.info.formulation).planes
    return Answer(trained.model.cpu().eval(), planes).eval()


def check_suffix(path: Path, suffix: str) -> None:
    """Raise unless a file to be written has the suffix of its kind."""
    if path.suffix != suffix:
        raise InputError(f"{path}: expected a name that ends in {suffix}")


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
