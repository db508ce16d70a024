"""One training from settings to a model file: data, Learner, resume, cutoff, scores.

Taught in: 03_one_experiment
"""

import dataclasses
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellcount_lib import losses
from cellcount_lib.data.datasets import load
from cellcount_lib.errors import DataError
from cellcount_lib.evaluation import Ruler, heatmaps
from cellcount_lib.files import write_whole
from cellcount_lib.formulations import formulation
from cellcount_lib.heatmaps import Kept, save_heatmaps
from cellcount_lib.inference import choose_device, choose_precision
from cellcount_lib.models import SegmentationModel, build
from cellcount_lib.plots import history_figure
from cellcount_lib.progress import watched
from cellcount_lib.protocols import protocol
from cellcount_lib.runs.identity import code_hashes, digest
from cellcount_lib.seeds import derived_seed
from cellcount_lib.training.callbacks import Progress
from cellcount_lib.training.checkpoint import Checkpoint, differences, read_checkpoint
from cellcount_lib.training.data import Data, make_batches, read_data
from cellcount_lib.training.learner import EpochLearner, find_lr, fit, make_learner
from cellcount_lib.training.loader import Batches
from cellcount_lib.training.settings import Training
from cellcount_lib.weights import MODEL, ModelInfo, load_model, restore, save_model

if TYPE_CHECKING:
    import pandas as pd
    import torch


@dataclass(frozen=True, eq=False)
class Result:
    """What a training gave.

    Attributes
    ----------
    status : {"completed", "collapsed"}
    reason : str
        Why it collapsed or stopped early; else empty.
    model : SegmentationModel
        Weights of the best epoch, in evaluation mode.
    info : ModelInfo
    history : list of dict
        One row per epoch.
    cutoffs : DataFrame
        Validation scores by cutoff.
    images : DataFrame or None
        One row per test picture.
    scores : dict
        Of the test pictures together, under the protocol.
    ruler : Ruler
        The protocol with what the formulation changes in it, at the scale of the data.
    heatmaps : dict
        Of "val" and "test" pictures, by name.
    seconds : dict
        Time of data and evaluation in this process, and of all epochs, also those before an
        interruption.
    """

    status: str
    reason: str
    model: SegmentationModel
    info: ModelInfo
    history: list[dict[str, Any]]
    cutoffs: "pd.DataFrame"
    images: "pd.DataFrame | None"
    scores: dict[str, Any]
    ruler: Ruler
    heatmaps: dict[str, dict[str, Kept]]
    seconds: dict[str, float]


def make_model(training: Training, runs: Path | None = None) -> SegmentationModel:
    """Build the network with this training's initial weights.

    Parameters
    ----------
    training : Training
    runs : Path, optional
        Folder of the runs, if `training.init` is the id of one.
    """
    plan, scale = training.resolved()
    model = build(
        training.arch,
        out_channels=formulation(plan.loss).channels,
        bn_momentum=scale.bn_momentum,
        seed=derived_seed(training.seed, "weights"),
    )
    if training.init is not None:
        start = Path(training.init)
        if runs is not None and (runs / start / MODEL).exists():
            start = runs / start / MODEL
        restore(model, load_model(start).model.state_dict(), start)
    return model


def make_training_learner(
    training: Training,
    train: Batches,
    valid: Batches,
    *,
    dtype: "torch.dtype",
    cbs: Sequence[Any] = (),
    runs: Path | None = None,
) -> EpochLearner:
    """Make the Learner of a training; see `learner.make_learner` and `make_model`."""
    plan, _ = training.resolved()
    return make_learner(
        make_model(training, runs),
        train,
        valid,
        losses.build(plan.loss),
        plan,
        seed=training.seed,
        dtype=dtype,
        cbs=cbs,
    )


def train(
    training: Training,
    out: Path | None = None,
    *,
    data: Data | None = None,
    root: Path | None = None,
    device: str | None = None,
    show: bool | None = None,
    compiled: bool = False,
    jobs: int | None = None,
) -> Result:
    """Train, choose the cutoff, score the test pictures, and leave a model file.

    Parameters
    ----------
    training : Training
    out : Path, optional
        Folder for checkpoint, history and model. A training that was interrupted here continues,
        and ends with the weights it would have had.
    data : Data, optional
        The pictures, if they were read before; else they are read here.
    root : Path, optional
        Folder of the datasets.
    device : str, optional
        Default: a GPU where there is one.
    show : bool, optional
        Progress; default: where a person looks.
    compiled : bool
        Use `torch.compile`.
    jobs : int, optional
        Processes that read pictures and score; default: one per core.

    Returns
    -------
    Result
    """
    say = print if (watched() if show is None else show) else _quiet
    start = time.perf_counter()
    if data is None:
        say(f"reading {training.dataset}")
        data = read_data(training, root=root, jobs=jobs)
    ready = prepare(training, data, out, device=device, show=show, compiled=compiled)
    seconds = {"data": time.perf_counter() - start}
    ready.fit()
    say(f"training took {ready.seconds:.0f} s; choosing the cutoff, scoring the test pictures")
    result = evaluate(ready, data, jobs=jobs)
    result.seconds.update(seconds)
    if out is not None:
        leave(out, training, result)
    return result


@dataclass(frozen=True, eq=False)
class Prepared:
    """A Learner ready to be trained, with its learning rate.

    Attributes
    ----------
    training : Training
    learn : EpochLearner
    lr : float
        That of the recipe, or the one that was looked for.
    settings : dict
        All that decides the weights; see `identity`.
    """

    training: Training
    learn: EpochLearner
    lr: float
    settings: dict[str, Any]

    def fit(self) -> None:
        """Train, from the checkpoint if there is one; the weights are then those of the best epoch.

        Nothing happens twice: a training that is over is only read.
        """
        plan, _ = self.training.resolved()
        fit(self.learn, plan, self.lr)
        if self.learn.watch.best:
            self.learn.model.load_state_dict(self.learn.watch.best)

    @property
    def seconds(self) -> float:
        """Time of all epochs so far, also of those before an interruption."""
        return float(sum(row["seconds"] for row in self.learn.history.rows))


def prepare(
    training: Training,
    data: Data,
    out: Path | None = None,
    *,
    device: str | None = None,
    show: bool | None = None,
    compiled: bool = False,
) -> Prepared:
    """Make the Learner of a training, with its batches, its callbacks and its learning rate.

    Parameters as `train`.
    """
    plan, _ = training.resolved()
    where = choose_device(device)
    dtype = choose_precision(where, training.precision)
    batches, valid = make_batches(training, data, device=where)
    settings = identity(training, data, dtype)
    cbs: list[Any] = [Progress(show)]
    runs = None if out is None else out.parent
    found = None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        checkpoint = out / "checkpoint.safetensors"
        found = read_checkpoint(checkpoint, settings)[1]["lr"] if checkpoint.exists() else None
    lr = found or plan.lr
    if not isinstance(lr, float):
        lr = _searched_lr(training, batches, valid, dtype, runs)
    if out is not None:
        cbs.append(Checkpoint(checkpoint, settings, lr=lr))
    learn = make_training_learner(training, batches, valid, dtype=dtype, cbs=cbs, runs=runs)
    if out is not None:
        learn.history.file = out / "history.csv"
    if compiled:
        learn.model.compile()
    return Prepared(training, learn, lr, settings)


def evaluate(ready: Prepared, data: Data, *, jobs: int | None = None) -> Result:
    """Choose the cutoff on validation pictures and score the test pictures, all at full size."""
    start = time.perf_counter()
    training, learn = ready.training, ready.learn
    asks = formulation(training.resolved()[0].loss)
    magnification = 1 / (data.scale * data.protocol_scale)
    measure = asks.adapt(protocol(training.protocol), magnification=magnification)
    ruler = Ruler(measure, data.protocol_scale, jobs)
    look = partial(
        heatmaps,
        learn.model.eval(),
        scale=data.scale,
        device=next(learn.model.parameters()).device,
        precision=training.precision,
        jobs=jobs,
    )
    kept, labels = look(data.val_set)
    choice, curve = ruler.choose_cutoff(kept, labels)
    reason = learn.stop_reason
    pixels = "n_pred" not in curve  # a curve of pixels: nothing but chance is nothing
    nothing = not (curve["mcc"] > 0).any() if pixels else int(curve["n_pred"].max()) == 0
    if nothing:
        what = "pixel" if pixels else "object"
        reason = "; ".join(filter(None, [reason, f"no {what} predicted on validation pictures"]))
    status = "collapsed" if nothing or "loss became" in reason else "completed"
    images, scores = None, {}
    test_kept: dict[str, Kept] = {}
    if data.test_set is not None:
        test_kept, labels = look(data.test_set)
        images = ruler.score(test_kept, labels, choice.cutoff).drop(columns="cutoff")
        scores = ruler.pooled(images)
    info = ModelInfo(
        learn.model.config,
        protocol=ruler.protocol.name,
        threshold=choice.cutoff,
        scale=data.scale,
        pixel_size_um=data.pixel_size_um,
        cell_px=data.cell_px,
        protocol_scale=data.protocol_scale,
        formulation=asks.name,
        training=ready.settings | {"status": status, "reason": reason, "lr_used": ready.lr},
    )
    return Result(
        status=status,
        reason=reason,
        model=learn.model,
        info=info,
        history=learn.history.rows,
        cutoffs=curve,
        images=images,
        scores=scores,
        ruler=ruler,
        heatmaps={"val": kept, "test": test_kept},
        seconds={"training": ready.seconds, "evaluation": time.perf_counter() - start},
    )


def _searched_lr(
    training: Training,
    batches: Batches,
    valid: Batches,
    dtype: "torch.dtype",
    runs: Path | None,
) -> float:
    """Look for the learning rate with a network of its own, so that nothing carries over.

    A search of a hundred steps is shortened where the training itself is not much longer.
    """
    plan, _ = training.resolved()
    batches.epoch = 0
    steps = max(20, min(100, plan.epochs * len(batches) // 4))
    learn = make_training_learner(training, batches, valid, dtype=dtype, runs=runs)
    return find_lr(learn, steps=steps)


def identity(training: Training, data: Data, dtype: "torch.dtype") -> dict[str, Any]:
    """Return all that decides the weights, as JSON values: what a checkpoint must agree on."""
    plan, scale = training.resolved()
    return {
        "dataset": training.dataset,
        "fingerprint": data.fingerprint,
        "arch": training.arch,
        "recipe": dataclasses.asdict(plan),
        "profile": dataclasses.asdict(scale),
        "oversample_artifacts": training.oversample_artifacts,
        "init": training.init,
        "seed": training.seed,
        "scale": data.scale,
        "precision": str(dtype).removeprefix("torch."),
        "code": digest(code_hashes()),
    }


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
        "scores": result.scores,
        "seconds": {k: round(v, 2) for k, v in result.seconds.items()},
        "settings": dict(result.info.training),
        "asked": dataclasses.asdict(training),
    }
    write_whole(out / "training.json", json.dumps(summary, indent=1))


def _quiet(*_: object) -> None:
    """Say nothing."""
