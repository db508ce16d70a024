"""Networks run by ONNX Runtime, which needs neither torch nor a training environment."""

import json
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.errors import DataError
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.heatmaps import rounded
from cellcount_lib.inference.info import DEFAULT, ModelInfo, shipped
from cellcount_lib.inference.network import budget, seen
from cellcount_lib.inference.tiles import whole_or_tiles
from cellcount_lib.machine import cores

BYTES_PER_PIXEL = 1000


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A network of an ONNX file; it is a `network.Network`."""

    session: Any
    info: ModelInfo
    weights: str  # the first digits of the SHA-256 of its weights
    multiple: int  # the poolings' grid
    halo: int  # how far from a pixel it looks
    at_once: int = 1  # pictures that share the memory of this machine
    mirrored: bool = False  # answers are averaged over a picture and its mirror images

    def logit_map(
        self, image: NDArray[np.uint8], *, scale: float, memory_mb: float | None = None
    ) -> NDArray[np.float32]:
        """Return logits at `scale` times the size of a picture, uint8 (H, W, 3)."""
        pixels = seen(image, scale, self.info.stretch).transpose(2, 0, 1)[None]
        asks = formulation(self.info.formulation)
        answers = []
        for axes in ((), (-1,), (-2,), (-2, -1)) if self.mirrored else ((),):
            found = whole_or_tiles(
                partial(self._forward, np.flip(pixels, axes)),
                (pixels.shape[2], pixels.shape[3]),
                halo=lambda: self.halo,
                multiple=self.multiple,
                most_pixels=budget(memory_mb) / self.at_once / BYTES_PER_PIXEL,
            )
            answers.append(reduce(asks.mirrored, axes, found))
        logits = np.mean(answers, axis=0)
        return rounded(logits if asks.planes else logits[0])

    def _forward(self, pixels: NDArray[np.uint8], y: slice, x: slice) -> NDArray[np.float32]:
        given = {"pixels": np.ascontiguousarray(pixels[..., y, x])}
        logits: NDArray[np.float32] = self.session.run(None, given)[0][0]
        return logits


def load_onnx(name: str | Path = DEFAULT, *, at_once: int = 1) -> OnnxNetwork:
    """Load an ONNX file, or that of a model that ships with the project by its name.

    `at_once` pictures, each asked for in a thread of its own, share cores and memory.
    """
    path = shipped(name, ".onnx")
    if not path.is_file():
        raise DataError(f"{path}: expected an ONNX file, found nothing of that name")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, cores() // at_once)
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of many kinds, none of them public
        raise DataError(
            f"{path}: expected an ONNX file, but it cannot be read; it is damaged, cut short or of "
            "another kind"
        ) from error
    about = session.get_modelmeta().custom_metadata_map
    info = ModelInfo.of_header(about, path)
    try:
        shape = {name: int(about[name]) for name in ("multiple", "halo")}
        mirrored = json.loads(about.get("mirrored", "false")) is True
        return OnnxNetwork(
            session, info, about["weights"], at_once=at_once, mirrored=mirrored, **shape
        )
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: its description cannot be used: {error}") from error
