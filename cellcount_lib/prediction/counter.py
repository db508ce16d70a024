"""One picture counted: by which model, its cells how wide."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.inference.network import Prediction
from cellcount_lib.prediction.models import Model, choose
from cellcount_lib.prediction.sizes import estimated_width, median_width

NEAR = 1.1  # times the width that cells were expected to have: near enough
LOOKS = 3  # at most so many times a network looks at a picture


class Counted(NamedTuple):
    """What a model found in a picture."""

    model: Model
    prediction: Prediction
    cell_px: float | None  # the width that cells were expected to have
    cell_px_from: str


def counted(
    image: NDArray[np.uint8],
    models: Sequence[Model],
    *,
    cell_px: float | None = None,
    by_pixel_size: bool = False,
    **options: Any,
) -> Counted:
    """Count a picture by the model that suits it, its cells as wide as said or as they seem to be.

    A width that is said in micrometres (`by_pixel_size`) makes an estimate needless, for a model
    that knows the pixel size of its training pictures. The first estimate is what Otsu's threshold
    finds. Where the network then finds cells of another width, it looks again, at what it found.
    `options` are those of `predict`.
    """
    model = choose(models, image)
    if cell_px is not None:
        return Counted(model, model.apply(image, cell_px=cell_px, **options), cell_px, "option")
    if by_pixel_size and model.pixel_size_um is not None:
        return Counted(model, model.apply(image, **options), None, "pixel size")
    width = estimated_width(image) if model.measures else None
    origin = "pixel size, or as in training" if width is None else "estimated"
    prediction = model.apply(image, cell_px=width, **options)
    for _ in range(LOOKS - 1):
        found = median_width(prediction.labels)
        if not model.measures or model.cell_px is None or found is None:
            break
        expected = model.cell_px / prediction.magnified
        if expected / NEAR <= found <= expected * NEAR:
            break
        width, origin = found, "found"
        prediction = model.apply(image, cell_px=width, **options)
    return Counted(model, prediction, width, origin)
