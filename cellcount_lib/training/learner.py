"""The fastai Learner of this book, whole.

Taught in: 03_one_experiment
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from schedulefree import AdamWScheduleFree
from torch import nn

from cellcount_lib.losses import Loss
from cellcount_lib.machine import keep_freed_memory
from cellcount_lib.models import SegmentationModel
from cellcount_lib.training.callbacks import (
    AtTheMean,
    Autocast,
    Dice,
    EpochSeed,
    Found,
    History,
    StopAtNaN,
    Watch,
)
from cellcount_lib.training.fast import (
    Callback,
    CancelEpochException,
    DataLoaders,
    Learner,
    MixedPrecision,
    OptimWrapper,
    ParamScheduler,
    Recorder,
    TrainEvalCallback,
    combined_cos,
)
from cellcount_lib.training.loader import Batches
from cellcount_lib.training.recipes import Recipe


class EpochLearner(Learner):
    """A Learner that can begin at a later epoch, and says why it stopped.

    Fastai's own ``start_epoch`` runs through the epochs it skips with all callbacks, which would
    count them as epochs without improvement.
    """

    first_epoch = 0
    stop_reason = ""

    def _do_fit(self) -> None:
        keep_freed_memory()
        for epoch in range(self.first_epoch, self.n_epoch):
            self.epoch = epoch
            self._with_events(self._do_epoch, "epoch", CancelEpochException)
            if self.stop_reason:
                break


def make_learner(
    model: nn.Module,
    train: Batches,
    valid: Batches,
    loss: Loss,
    recipe: Recipe,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    cbs: Sequence[Callback] = (),
) -> EpochLearner:
    """Put network, batches, loss and recipe together; `fit` trains the model in place.

    Convolutions compute in `dtype`: float32, bfloat16, or float16 (CUDA, with scaled gradients).
    `cbs` are further callbacks: progress, checkpoint.
    """
    model.to(device=train.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = {torch.bfloat16: [Autocast(dtype)], torch.float16: [MixedPrecision()]}
    learn = EpochLearner(
        DataLoaders(train, valid, device=train.device),
        model,
        loss_func=loss,
        opt_func=partial(optimizer, model, recipe),
        metrics=[Dice(), Found()],
        default_cbs=False,
        cbs=[
            TrainEvalCallback(),
            Recorder(add_time=False),
            EpochSeed(seed),
            StopAtNaN(),
            History(),
            Watch(
                recipe.monitor,
                min_delta=recipe.min_delta,
                patience=recipe.patience if recipe.schedule == "plateau" else 0,
                factor=recipe.factor,
                stop_after=recipe.stop_after,
            ),
            *precision.get(dtype, []),
            *([AtTheMean()] if recipe.optimizer == "schedule-free" else []),
            *cbs,
        ],
    )
    learn.logger = _silent
    return learn


def optimizer(model: nn.Module, recipe: Recipe, params: object, *, lr: float) -> OptimWrapper:
    """Make the optimiser of a recipe; normalisation and biases are not decayed.

    Fastai calls it with `params`, the parameters in groups of its own, which are not used.
    """
    slow = set()
    if recipe.contracting_lr != 1 and isinstance(model, SegmentationModel):
        slow = set(map(id, model.contracting()))
    groups: list[dict[str, object]] = []
    for first in (True, False):
        part = [p for p in model.parameters() if (id(p) in slow) == first]
        if part:
            groups += [
                {"params": [p for p in part if p.ndim > 1], "weight_decay": recipe.weight_decay},
                {"params": [p for p in part if p.ndim <= 1], "weight_decay": 0.0},
            ]
    adaptive: dict[str, Any] = {"betas": recipe.betas, "eps": recipe.eps, "fused": True}
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd": torch.optim.SGD,
        "momentum": partial(torch.optim.SGD, momentum=recipe.momentum),
        "rmsprop": torch.optim.RMSprop,
        "adagrad": torch.optim.Adagrad,
        "adam": partial(torch.optim.Adam, **adaptive),
        "adamw": partial(torch.optim.AdamW, **adaptive),
        "schedule-free": partial(AdamWScheduleFree, betas=recipe.betas, eps=recipe.eps),
    }
    return OptimWrapper(opt=kinds[recipe.optimizer](groups, lr=lr))


def rates(recipe: Recipe, lr: float) -> float | NDArray[np.float64]:
    """Return the learning rate, or one for each group of `optimizer` where they differ.

    Examples
    --------
    >>> from cellcount_lib.training.recipes import RECIPES
    >>> rates(RECIPES["fcn2016-discriminative"], 0.01).tolist()
    [0.001, 0.001, 0.01, 0.01]
    """
    if recipe.contracting_lr == 1:
        return lr
    return lr * np.array([recipe.contracting_lr, recipe.contracting_lr, 1.0, 1.0])


def fit(learn: EpochLearner, recipe: Recipe, lr: float) -> None:
    """Train for the recipe's epochs under its schedule."""
    largest = rates(recipe, lr)
    if recipe.schedule == "one-cycle":
        # Up to `lr` in a quarter of the steps, down to almost nothing; momentum the other way.
        cycle = {"lr": combined_cos(0.25, largest / 25, largest, largest / 1e5)}
        if recipe.optimizer in ("momentum", "adam", "adamw"):
            cycle["mom"] = combined_cos(0.25, 0.95, 0.85, 0.95)
        learn.fit(recipe.epochs, largest, cbs=ParamScheduler(cycle))
    elif recipe.schedule == "steps":
        every = recipe.patience / recipe.epochs

        def decayed(share: float) -> float | NDArray[np.float64]:
            # `share` of the training is a sum of floats: 1/3 may arrive as 0.33333
            return largest * recipe.factor ** int(share / every + 1e-6)

        learn.fit(recipe.epochs, largest, cbs=ParamScheduler({"lr": decayed}))
    elif recipe.schedule == "warm-up":

        def raised(share: float) -> float | NDArray[np.float64]:
            return largest * min(1 / 25 + 20 * share, 1.0)

        learn.fit(recipe.epochs, largest, cbs=ParamScheduler({"lr": raised}))
    else:
        learn.fit(recipe.epochs, largest)


def find_lr(learn: EpochLearner, *, steps: int = 100) -> float:
    """Look for a learning rate: fastai's test with rising rates, suggestion "valley" (R23).

    The learner is spent afterwards: use one made for the purpose.
    """
    with tempfile.TemporaryDirectory() as folder:
        learn.path = Path(folder)  # the test puts the weights aside there
        return float(learn.lr_find(num_it=steps, show_plot=False).valley)


def _silent(*_: object) -> None:
    """Print nothing: the history has the numbers."""
