"""A trained network as a BioImage.IO package, which QuPath, deepImageJ and others load.

The package takes pixels from 0 to 255 at the scale of the network and gives logits, or where the
network draws a heatmap alone, the heatmap. What a package cannot say stands in its README: at which
size the network knows cells, the cutoff, and which objects `cellcount predict` makes of a heatmap.

References
----------
Ouyang et al. (2022), "BioImage Model Zoo: a community-driven resource for accessible deep learning
in bioimage analysis"; the specification of models, version 0.5 (bioimage.io).
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from cellcount_lib.data.simulate import simulate
from cellcount_lib.data.stretch import HIGH_PERCENTILE, LOW_PERCENTILE
from cellcount_lib.files import write_whole
from cellcount_lib.inference.export import OPSET, check_suffix, onnx_graph, torchscript
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.info import ModelInfo, names
from cellcount_lib.inference.model_file import TrainedModel
from cellcount_lib.inference.network import seen
from cellcount_lib.inference.predict import answer, halo

FORMAT = "0.5.4"  # of the specification
STUDY = "10.1038/s41598-021-01929-5"  # of the c-ResUnet and the neurons that are simulated
LICENCE = "Apache-2.0"  # of the models that come with the project


def export_package(
    trained: TrainedModel, path: Path, *, name: str, licence: str | None = None
) -> None:
    """Write a network as a package with ONNX and TorchScript weights, whole or not at all.

    Test tensors are made of a simulated picture. `licence` is an SPDX name; a model that comes with
    the project has the project's.
    """
    check_suffix(path, ".zip")
    info, planes = trained.info, formulation(trained.info.formulation).planes
    reach = halo(trained.model)
    pixels = simulated_picture(info, smallest_side(trained.model.multiple, reach))
    drawn = apply(trained, _prepared(pixels) if info.stretch else pixels)
    if not planes:
        drawn = (1 / (1 + np.exp(-drawn))).astype(np.float32)
    files = {
        "weights.onnx": onnx_graph(trained, torch.float32).SerializeToString(),
        "weights.pt": torchscript(trained),
        "pixels.npy": _npy(pixels),
        "heatmap.npy": _npy(drawn),
        "cover.png": _cover(pixels, drawn),
        "README.md": readme(info, name).encode(),
    }
    about = description(trained, name, licence, reach=reach)
    for part in _parts(about):
        part["sha256"] = hashlib.sha256(files[part["source"]]).hexdigest()
    files["bioimageio.yaml"] = yaml.safe_dump(about, sort_keys=False).encode()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for file, content in files.items():
            packed.writestr(zipfile.ZipInfo(file), content, zipfile.ZIP_DEFLATED)
    write_whole(path, data.getvalue())


def description(
    trained: TrainedModel, name: str, licence: str | None, *, reach: int
) -> dict[str, Any]:
    """Return what ``bioimageio.yaml`` says; hashes of files are missing.

    `reach` is how far from a pixel the network looks.
    """
    info, planes = trained.info, formulation(trained.info.formulation).planes
    multiple = trained.model.multiple
    size = {"min": smallest_side(multiple, reach), "step": multiple}
    sides = [{"type": "space", "id": axis} for axis in "yx"]
    ours = name in names()
    about: dict[str, Any] = {
        "type": "model",
        "format_version": FORMAT,
        "name": "cellcount " + re.sub(r"[^A-Za-z0-9_+() -]", "-", name),  # others are not allowed
        "description": "Draws where the cells of a fluorescence picture are.",
        "documentation": {"source": "README.md"},
        "covers": [{"source": "cover.png"}],
        "cite": [{"text": "Morelli, Clissa et al. (2021)", "doi": STUDY}],
        "tags": ["fluorescence-light-microscopy", "semantic-segmentation", "cells", "2d"],
        "inputs": [
            {
                "id": "pixels",
                "description": "red, green and blue from 0 to 255; grey in all three",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["red", "green", "blue"]},
                    *(side | {"size": size, "concatenable": True} for side in sides),
                ],
                "data": {"type": "float32", "range": [0.0, 255.0]},
                "preprocessing": _stretching() if info.stretch else [],
                "test_tensor": {"source": "pixels.npy"},
            }
        ],
        "outputs": [
            {
                "id": "heatmap",
                "description": "logits" if planes else "probability that a pixel is of a cell",
                "axes": [
                    {"type": "batch"},
                    {
                        "type": "channel",
                        "channel_names": ["cell", *(f"plane{n + 1}" for n in range(planes))],
                    },
                    *(
                        side
                        | {
                            "size": {"tensor_id": "pixels", "axis_id": side["id"]},
                            "halo": reach,
                        }
                        for side in sides
                    ),
                ],
                "data": {"type": "float32"},
                "postprocessing": [] if planes else [{"id": "sigmoid"}],
                "test_tensor": {"source": "heatmap.npy"},
            }
        ],
        "weights": {
            "onnx": {"source": "weights.onnx", "opset_version": OPSET},
            "torchscript": {
                "source": "weights.pt",
                "parent": "onnx",
                "pytorch_version": torch.__version__.split("+")[0],
            },
        },
    }
    if ours:
        about["authors"] = [{"name": "The cell-counting book team"}]
    if licence or ours:
        about["license"] = licence or LICENCE
    return about


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every description of a file."""
    if isinstance(node, dict):
        if "source" in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _parts(inner)


def _npy(array: NDArray[np.float32]) -> bytes:
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


def _stretching() -> list[dict[str, Any]]:
    """Return the steps that come nearest to `data.stretch.stretched`."""
    percentiles = {"min_percentile": LOW_PERCENTILE, "max_percentile": HIGH_PERCENTILE}
    return [
        {"id": "scale_range", "kwargs": {"axes": ["channel", "y", "x"]} | percentiles},
        {"id": "clip", "kwargs": {"min": 0.0, "max": 1.0}},
        {"id": "scale_linear", "kwargs": {"gain": 255.0}},
    ]


def _prepared(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Do what `_stretching` says."""
    low, high = np.percentile(pixels, (LOW_PERCENTILE, HIGH_PERCENTILE))
    return np.float32(255) * np.clip((pixels - low) / (high - low + 1e-6), 0, 1, dtype=np.float32)


def smallest_side(multiple: int, reach: int) -> int:
    """Return the side of a picture of which something is left without the halo.

    Examples
    --------
    >>> smallest_side(16, 90)  # 2 x 90 + 64 and to the next multiple
    256
    """
    return -(-(2 * reach + 64) // multiple) * multiple


def simulated_picture(info: ModelInfo, side: int) -> NDArray[np.float32]:
    """Return a simulated picture as the network would see it, but not stretched: (1, 3, H, W)."""
    full = max(64, round(side / info.scale))
    picture = seen(simulate(0, size=(full, full)).image, side / full, stretch=False)
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32)


def apply(trained: TrainedModel, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the answer of the network itself, not of a file."""
    with torch.no_grad():
        planes = formulation(trained.info.formulation).planes
        drawn: NDArray[np.float32] = answer(trained.model, torch.tensor(pixels), planes).numpy()
    return drawn


def _cover(pixels: NDArray[np.float32], drawn: NDArray[np.float32]) -> bytes:
    """Return the test picture beside the answer, as PNG."""
    left = pixels[0].transpose(1, 2, 0)
    first = drawn[0, 0]
    shade = 255 * (first - first.min()) / max(float(np.ptp(first)), 1e-6)
    both = np.concatenate([left, shade[..., None].repeat(3, axis=2)], axis=1)
    data = io.BytesIO()
    Image.fromarray(np.rint(both).astype(np.uint8)).save(data, format="PNG")
    return data.getvalue()


def readme(info: ModelInfo, name: str) -> str:
    """Return what a person needs to know who uses a network outside of this project."""
    cell = None if info.cell_px is None else info.cell_px * info.scale
    size = "of unknown width" if cell is None else f"{cell:.0f} pixels wide"
    trained = ", ".join(f"{k}: {v}" for k, v in info.training.items() if not isinstance(v, dict))
    planes = formulation(info.formulation).planes
    lines = [
        f"# {name}",
        "",
        "A network for cells that are brighter than their surroundings, in fluorescence pictures.",
        "",
        "- Give it 8-bit pictures, red, green and blue from 0 to 255; grey in all three channels.",
        f"- It knows cells {size}: enlarge or reduce pictures so that theirs are.",
        f"- It was asked to draw: {info.formulation}."
        + (f" The first plane is a logit, {planes} more are beside it." if planes else ""),
        f"- Cutoff of the heatmap: {info.threshold}; objects are made by the protocol "
        f"`{info.protocol}`.",
    ]
    if info.stretch:
        lines.append(
            f"- Intensities are stretched between the percentiles {LOW_PERCENTILE} and "
            f"{HIGH_PERCENTILE}. `cellcount predict` leaves pictures with few grey levels as they "
            "are; a package cannot say that."
        )
    lines += [
        "",
        "`cellcount predict --model FILE.onnx` does all of this by itself, with the file that "
        "`cellcount export` writes as ONNX.",
        "",
        f"## Training\n\n{trained or 'unknown'}",
        "",
        "## Validation\n\nCount some pictures by hand and compare, before results are relied on.",
        "",
    ]
    return "\n".join(lines)
