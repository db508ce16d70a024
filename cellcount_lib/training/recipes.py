"""Recipes: how a network is trained, as published, and as we would.

A recipe says what happens at the published length. Under a shorter profile its patience and its
steps shrink in proportion (`Recipe.shortened`), so that a schedule keeps its shape.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from cellcount_lib.registry import Registry
from cellcount_lib.training.augment import Augmentation
from cellcount_lib.training.crops import Copies

Optimizer = Literal["sgd", "momentum", "rmsprop", "adagrad", "adam", "adamw", "schedule-free"]
Schedule = Literal["plateau", "one-cycle", "steps", "warm-up", "constant"]
Monitor = Literal["valid_loss", "dice"]
Sampling = Literal["grid", "random", "cells"]


@dataclass(frozen=True)
class Recipe:
    """Optimiser, schedule, loss, crops and augmentation of a training.

    Schedule "plateau" multiplies the rate by `factor` after `patience` epochs without improvement,
    "steps" does so every `patience` epochs, "one-cycle" raises it and lowers it once, "warm-up"
    raises it in the first twentieth of the steps and leaves it then, "constant" leaves it.
    """

    name: str
    source: str
    optimizer: Optimizer
    # the initial rate (the largest one of one-cycle); "valley" looks for it with fastai's `lr_find`
    lr: float | Literal["valley"]
    schedule: Schedule
    monitor: Monitor  # what "better" means: the best epoch by this is kept
    loss: str
    sampling: Sampling  # where crops come from: a name of `crops.PLACES`
    epochs: int
    batch: int
    augmentation: Augmentation
    copies: Copies = field(default_factory=Copies)
    patience: int = 0
    factor: float = 1.0
    stop_after: int | None = None  # epochs without improvement before training ends
    min_delta: float = 0.0  # smaller gains do not count as improvement
    weight_map: bool = False  # whether the loss is weighted by maps
    weight_decay: float = 0.0
    momentum: float = 0.9  # of "momentum"
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam
    eps: float = 1e-8
    # rate of the layers down to the bottleneck, relative to the others'; 0 keeps them as they are
    contracting_lr: float = 1.0

    def shortened(self, epochs: int | None) -> "Recipe":
        """Return the recipe for this many epochs: patience in proportion, at least one epoch.

        The stop keeps its proportion to the patience, so that the rate falls as often before the
        training ends as it does at the published length.

        Examples
        --------
        >>> short = RECIPES["morelli2021"].shortened(16)
        >>> short.epochs, short.patience, short.stop_after
        (16, 1, 5)
        """
        if epochs is None or epochs == self.epochs:
            return self
        share = epochs / self.epochs
        patience = self.patience and max(1, round(self.patience * share))
        longer = patience / self.patience if self.patience else share
        stop = self.stop_after and max(2, round(self.stop_after * longer))
        return replace(self, epochs=epochs, patience=patience, stop_after=stop)


# R21 keeps every crop and adds 5 augmented copies, 11 where the labels were drawn by hand, and 80 +
# 35 + 13 of a crop with artifacts. (The last revision of its script says 4 and 10. S3 speaks of 150
# new crops in the place of each of six; S0 says 25, "resampled by 6".)
_MORELLI = Recipe(
    name="morelli2021",
    source="S3, section Model training; learning rate of S3; R21",
    optimizer="adam",
    # S3 and S0 give 0.006 and 0.06; R21 uses 0.001, and 5 epochs for 4. No source gives the number
    # of epochs: training stops by itself, 200 is a bound that the stop never reached in 2023.
    lr=0.006,
    schedule="plateau",
    patience=4,
    factor=0.7,
    stop_after=20,
    monitor="valid_loss",
    loss="wbce-2021",
    weight_map=True,
    sampling="grid",
    copies=Copies(semi_automatic=6, manual=12, artifact=129),
    epochs=200,
    batch=4,
    augmentation=Augmentation(rotate=180, elastic=0.03, light=0.1, noise=0.05, blur=1.0),
    eps=1e-7,  # Keras
)

_CLISSA = Recipe(
    name="clissa2023",
    source="S1; R23 (fastai's defaults where S1 is silent)",
    optimizer="adamw",  # fastai's Adam decays weights apart from the gradient
    # S1 names lr_find. R23 calls it and throws the result away (`cfg._replace` returns a copy), so
    # that fit_one_cycle ran at fastai's default.
    lr=1e-3,
    schedule="one-cycle",
    monitor="dice",
    min_delta=0.005,
    loss="dice",
    sampling="random",
    epochs=200,
    batch=32,
    augmentation=Augmentation(
        rotate=15, flip=True, zoom=0.1, light=0.1, share=0.5, affine_share=0.75
    ),
    weight_decay=0.01,
    betas=(0.95, 0.99),
    eps=1e-5,
)

_FCN = Recipe(
    name="fcn2016",
    source="S2, section 3",
    optimizer="momentum",
    lr=0.01,
    schedule="steps",
    patience=20,
    factor=0.1,
    monitor="valid_loss",
    loss="bce",
    sampling="random",
    epochs=60,
    batch=8,
    augmentation=Augmentation(quarter_turns=True, flip=True),
    weight_decay=0.001,
)

RECIPES = Registry(
    "recipe",
    {
        "morelli2021": _MORELLI,
        "morelli2021-s0": replace(
            _MORELLI,
            name="morelli2021-s0",
            source="as morelli2021, with the augmentation factors of S0",
            copies=Copies(semi_automatic=4, manual=10, artifact=25),
        ),
        "clissa2023": _CLISSA,
        "clissa2023-lr-find": replace(
            _CLISSA,
            name="clissa2023-lr-find",
            source="as clissa2023, with the learning rate that S1 describes",
            lr="valley",
        ),
        "fcn2016": _FCN,
        "fcn2016-frozen": replace(
            _FCN,
            name="fcn2016-frozen",
            source="this project; fine-tuning of the expanding layers alone",
            contracting_lr=0.0,
        ),
        "fcn2016-discriminative": replace(
            _FCN,
            name="fcn2016-discriminative",
            source="this project; learning rates that grow with depth, as fastai offers them",
            contracting_lr=0.1,
        ),
        "recommended": Recipe(
            name="recommended",
            source="this project",
            optimizer="adamw",
            lr=5e-3,
            schedule="one-cycle",
            monitor="dice",
            loss="combined-balanced",
            sampling="cells",
            epochs=100,
            batch=16,
            augmentation=Augmentation(quarter_turns=True, flip=True, light=0.1),
            weight_decay=0.01,
            betas=(0.95, 0.99),
            eps=1e-5,
        ),
    },
)
"""Recipes by name.

``recommended`` is this project's. Its loss was chosen on *validation* pictures, under this recipe,
with three seeds and a short schedule (profile ``smoke``, four epochs of 40 steps of 8 crops). Dice
of the best epoch: 0.68, 0.70 and 0.71; ``combinedft-overcrowd`` 0.65, 0.69 and 0.55,
``combinedft-balanced`` 0.64, 0.66 and 0.47. The docstring of `benchmarks.quality` has the command.
In the committed tables of losses, trained by the recipe of 2023, it is within 0.02 of the best on
neurons and on real nuclei (``python -m benchmarks.quality --committed losses
losses-bbbc038-fluo-x1``). No committed run tells about the rest: half of the crops at a cell, turns
by quarters (interpolation blurs the small crops of a reduced picture), the rate.
"""
