"""A training made ready: the network, its Learner, its learning rate, and where it goes on.

Taught in: 03_one_experiment
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cellcount_lib import losses
from cellcount_lib.fingerprint import digest
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.model_file import MODEL, load_model, restore
from cellcount_lib.inference.predict import choose_device, choose_precision
from cellcount_lib.models import build
from cellcount_lib.models.base import SegmentationModel
from cellcount_lib.seeds import derived_seed
from cellcount_lib.training.callbacks import Progress
from cellcount_lib.training.checkpoint import Checkpoint, read_checkpoint
from cellcount_lib.training.code import training_code
from cellcount_lib.training.data import Data, make_batches
from cellcount_lib.training.learner import EpochLearner, find_lr, fit, make_learner
from cellcount_lib.training.loader import Batches
from cellcount_lib.training.spec import Training


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
        "code": digest(training_code(training)),
    }
