"""What a model brings to a training that starts from it: question, stretch, width of the cells.

Weights that drew flows of stretched cells 20 pixels wide are a poor start for a mask of unstretched
cells half as wide. So `cellcount train --init MODEL` takes these three from the model, unless it is
told otherwise. It also learns more slowly than from nothing: large steps at the beginning would
forget what the weights know (`benchmarks.starting` measures what comes of it).
"""

from dataclasses import replace
from pathlib import Path

from cellcount_lib.errors import InputError
from cellcount_lib.inference.info import ModelInfo
from cellcount_lib.inference.model_file import load_model
from cellcount_lib.training.data import full_size
from cellcount_lib.training.spec import Training

LARGEST = 2.0  # more pixels hold nothing more to see
SLOWER = 0.1  # times the recipe's learning rate


def started(
    training: Training, *, stretch: bool | None = None, root: Path | None = None
) -> Training:
    """Return a training that goes on from `training.init` as that model was trained.

    What `training` and `stretch` say themselves stays; None asks the model.
    """
    if training.init is None:
        raise InputError("a training that starts from a model: expected `init`, found none")
    info, (recipe, _) = load_model(training.init).info, training.resolved()
    slow = None if recipe.lr == "valley" else SLOWER * recipe.lr
    parts = full_size(training.dataset, training.profile, protocol_scale=1.0, root=root)
    return replace(
        training,
        loss=training.loss or info.training.get("recipe", {}).get("loss"),
        stretch=info.stretch if stretch is None else stretch,
        lr=training.lr or slow,
        scale=training.scale or scale_of(info, parts.cell_px),
    )


def scale_of(info: ModelInfo, cell_px: float) -> float | None:
    """Return the scale at which cells `cell_px` wide are as wide as the model has seen them.

    None if the model does not say how wide its cells were.

    Examples
    --------
    >>> from cellcount_lib.modelconfig import ModelConfig
    >>> info = ModelInfo(ModelConfig("c-resunet"), cell_px=40.0, scale=0.5)
    >>> scale_of(info, 25.0), scale_of(info, 4.0)
    (0.8, 2.0)
    """
    if info.cell_px is None:
        return None
    return min(LARGEST, max(0.01, round(info.cell_px * info.scale / cell_px, 2)))
