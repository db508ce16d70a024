"""A training made ready: the network, its Learner, its learning rate, and where it goes on.

Taught in: 03_one_experiment
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cellcount_lib import losses
from cellcount_lib.fingerprint import digest
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.info import MODEL
from cellcount_lib.inference.model_file import load_model, restore
from cellcount_lib.inference.predict import choose_device, choose_precision
from cellcount_lib.machine import subnormals_as_zero
from cellcount_lib.models import build
from cellcount_lib.models.base import SegmentationModel
from cellcount_lib.seeds import derived_seed
from cellcount_lib.training.callbacks import Progress
from cellcount_lib.training.checkpoint import Checkpoint, read_checkpoint
from cellcount_lib.training.code import training_code
from cellcount_lib.training.data import Data, make_batches
from cellcount_lib.training.fast import Callback
from cellcount_lib.training.learner import EpochLearner, find_lr, fit, make_learner
from cellcount_lib.training.profiles import Profile
from cellcount_lib.training.recipes import Recipe
from cellcount_lib.training.spec import Training


@dataclass(frozen=True, eq=False)
class Prepared:
    """A Learner ready to be trained, with its learning rate."""

    training: Training
    recipe: Recipe  # with the overrides of the training in it
    learn: EpochLearner
    lr: float  # the recipe's, or the one that was searched for
    identity: dict[str, Any]  # all that decides the weights

    @subnormals_as_zero()
    def fit(self) -> None:
        """Train, from the checkpoint if there is one; the weights are then those of the best epoch.

        Nothing happens twice: a training that is over is only read.
        """
        fit(self.learn, self.recipe, self.lr)
        if self.learn.watch.best:
            self.learn.model.load_state_dict(self.learn.watch.best)

    @property
    def seconds(self) -> float:
        """Time of all epochs so far, also of those before an interruption."""
        return float(sum(row["seconds"] for row in self.learn.history.rows))


@subnormals_as_zero()
def prepare(
    training: Training,
    data: Data,
    out: Path | None = None,
    *,
    device: str | None = None,
    show: bool | None = None,
    compiled: bool = False,
) -> Prepared:
    """Make the Learner of a training, with its batches, its callbacks and its learning rate."""
    recipe, profile = training.resolved()
    where = choose_device(device)
    dtype = choose_precision(where, training.precision)
    train, valid = make_batches(training, recipe, profile, data, device=where)

    def learner(*cbs: Callback) -> EpochLearner:
        model = make_model(training, recipe, profile, None if out is None else out.parent)
        loss = losses.build(recipe.loss)
        return make_learner(
            model, train, valid, loss, recipe, seed=training.seed, dtype=dtype, cbs=cbs
        )

    decides = identity(training, recipe, profile, data, dtype)
    checkpoint = None
    lr = recipe.lr
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        checkpoint = out / "checkpoint.safetensors"
        if checkpoint.exists():
            lr = read_checkpoint(checkpoint, decides)[1]["lr"]
    if lr == "valley":
        # With a network of its own, so that nothing carries over; a hundred steps are too many
        # where the training itself is not much longer.
        train.epoch = 0
        lr = find_lr(learner(), steps=max(20, min(100, recipe.epochs * len(train) // 4)))
    lr = float(lr)
    cbs = [] if checkpoint is None else [Checkpoint(checkpoint, decides, lr=lr)]
    learn = learner(Progress(show), *cbs)
    if out is not None:
        learn.history.file = out / "history.csv"
    if compiled:
        learn.model.compile()
    return Prepared(training, recipe, learn, lr, decides)


def make_model(
    training: Training, recipe: Recipe, profile: Profile, runs: Path | None = None
) -> SegmentationModel:
    """Build the network with this training's initial weights.

    Recipe and profile are the resolved ones; `training.init` may be the id of a run in the folder
    `runs`.
    """
    model = build(
        training.arch,
        out_channels=formulation(recipe.loss).channels,
        bn_momentum=profile.bn_momentum,
        seed=derived_seed(training.seed, "weights"),
    )
    if training.init is not None:
        start = Path(training.init)
        if runs is not None and (runs / start / MODEL).exists():
            start = runs / start / MODEL
        restore(model, load_model(start).model.state_dict(), start)
    return model


def identity(
    training: Training, recipe: Recipe, profile: Profile, data: Data, dtype: torch.dtype
) -> dict[str, Any]:
    """Return all that decides the weights, as JSON values: what a checkpoint must agree on."""
    return {
        "dataset": training.dataset,
        "fingerprint": data.fingerprint,
        "arch": training.arch,
        "recipe": dataclasses.asdict(recipe),
        "profile": dataclasses.asdict(profile),
        "oversample_artifacts": training.oversample_artifacts,
        "stretch": training.stretch,
        "labels": training.labels,
        "init": training.init,
        "seed": training.seed,
        "scale": data.scale,
        "protocol_scale": data.protocol_scale,  # automatic labels depend on it
        "precision": str(dtype).removeprefix("torch."),
        "code": digest(training_code(training)),
    }
