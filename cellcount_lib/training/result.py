"""What a training gave: the cutoff and the scores of its network, as a result and as files.

Taught in: 03_one_experiment
"""

import dataclasses
import io
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cellcount_lib.data.datasets import load
from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.inference.evaluation import ScaledProtocol, heatmaps
from cellcount_lib.inference.formulations import OF_LOSS, formulation
from cellcount_lib.inference.heatmaps import Kept, save_heatmaps
from cellcount_lib.inference.info import MODEL, ModelInfo
from cellcount_lib.inference.model_file import save_model
from cellcount_lib.models import SegmentationModel
from cellcount_lib.plots import history_figure
from cellcount_lib.scoring.cutoff import Choice
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training.checkpoint import differences
from cellcount_lib.training.data import Data
from cellcount_lib.training.prepare import Prepared
from cellcount_lib.training.spec import Training

Status = Literal["completed", "collapsed"]


@dataclass(frozen=True, eq=False)
class Result:
    """What a training gave."""

    status: Status
    reason: str  # why it collapsed or stopped early; else empty
    model: SegmentationModel  # weights of the best epoch, in evaluation mode
    info: ModelInfo
    history: list[dict[str, float]]  # one row per epoch
    choice: Choice  # of the cutoff
    cutoffs: pd.DataFrame  # validation scores by cutoff
    images: pd.DataFrame | None  # one row per test picture
    scores: dict[str, float]  # of the test pictures together, under the protocol
    scaled: ScaledProtocol  # with what the formulation changes, at the scale of the data
    heatmaps: dict[str, dict[str, Kept]]  # of "val" and "test" pictures, by name
    # of data and evaluation in this process, and of all epochs, also before an interruption
    seconds: dict[str, float]


def evaluate(ready: Prepared, data: Data, *, jobs: int | None = None) -> Result:
    """Choose the cutoff on validation pictures and score the test pictures, all at full size."""
    start = time.perf_counter()
    training, learn = ready.training, ready.learn
    asks = formulation(ready.recipe.loss)
    magnification = 1 / (data.scale * data.protocol_scale)
    measure = asks.adapt(protocol(training.protocol), magnification=magnification)
    scaled = ScaledProtocol(measure, data.protocol_scale, jobs)
    look = partial(
        heatmaps,
        learn.model.eval(),
        scale=data.scale,
        stretch=training.stretch,
        asks=asks,
        device=next(learn.model.parameters()).device,
        precision=training.precision,
        jobs=jobs,
    )
    kept, labels = look(data.val_set)
    choice, curve = scaled.choose_cutoff(kept, labels)
    blind = _finds_nothing(curve)
    reason = "; ".join(filter(None, [learn.stop_reason, blind]))
    collapsed = bool(blind) or "loss became" in reason
    status: Status = "collapsed" if collapsed else "completed"
    images, scores = None, {}
    test_kept: dict[str, Kept] = {}
    if data.test_set is not None:
        test_kept, labels = look(data.test_set)
        images = scaled.score(test_kept, labels, choice.cutoff).drop(columns="cutoff")
        scores = scaled.pooled(images)
    info = ModelInfo(
        learn.model.config,
        protocol=scaled.protocol.name,
        threshold=choice.cutoff,
        scale=data.scale,
        pixel_size_um=data.pixel_size_um,
        cell_px=data.cell_px,
        protocol_scale=data.protocol_scale,
        stretch=training.stretch,
        formulation=ready.recipe.loss if ready.recipe.loss in OF_LOSS else "mask",
        training=ready.identity | {"status": status, "reason": reason, "lr_used": ready.lr},
    )
    return Result(
        status=status,
        reason=reason,
        model=learn.model,
        info=info,
        history=learn.history.rows,
        choice=choice,
        cutoffs=curve,
        images=images,
        scores=scores,
        scaled=scaled,
        heatmaps={"val": kept, "test": test_kept},
        seconds={"training": ready.seconds, "evaluation": time.perf_counter() - start},
    )


def _finds_nothing(curve: pd.DataFrame) -> str:
    """Say what no cutoff of the grid finds, if anything: cells, or pixels better than chance.

    At a low cutoff a network that answers the same everywhere "finds" the whole picture.
    """
    score, what = ("f1", "cell") if "f1" in curve else ("mcc", "pixel of a cell")
    return "" if (curve[score] > 0).any() else f"no {what} found on validation pictures"


def leave(out: Path, training: Training, result: Result) -> None:
    """Write what a training gave; ``training.json`` comes last and says that all is there."""
    save_model(out / MODEL, result.model, result.info)
    for name, table in (("cutoffs", result.cutoffs), ("images", result.images)):
        if table is not None:
            write_whole(out / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    for part, kept in result.heatmaps.items():
        save_heatmaps(out / f"heatmaps-{part}.npz", kept)
    picture = io.BytesIO()
    history_figure(result.history).savefig(picture, format="png", dpi=120)
    write_whole(out / "history.png", picture.getvalue())
    summary = {
        "status": result.status,
        "reason": result.reason,
        "protocol": result.info.protocol,
        "protocol_scale": result.info.protocol_scale,
        "threshold": result.info.threshold,
        "choice": result.choice._asdict(),
        "scores": result.scores,
        "seconds": {k: round(v, 2) for k, v in result.seconds.items()},
        "settings": dict(result.info.training),
        "asked": dataclasses.asdict(training),
    }
    write_whole(out / "training.json", json.dumps(summary, indent=1))


def finished(training: Training, out: Path, *, root: Path | None = None) -> dict[str, Any] | None:
    """Return the summary that a complete training left in `out`; None if it is not complete.

    A folder that holds another training, or this one on data that has changed, is an error.
    """
    path = out / "training.json"
    if not path.exists():
        return None
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
        asked, old = summary["asked"], summary["settings"]["fingerprint"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected the summary of a training, it is damaged") from error
    wanted = json.loads(json.dumps(dataclasses.asdict(training)))
    different = list(differences(asked, wanted))
    if not different and load(training.dataset, root=root, split="train").fingerprint != old:
        different = [f"the pictures of {training.dataset} have changed"]
    if different:
        raise DataError(
            f"{out} holds another training: {'; '.join(different)}. Choose another folder, or "
            "remove this one"
        )
    return summary
