"""What a training is, by name: everything that decides its result.

Taught in: 03_one_experiment
"""

from dataclasses import dataclass, replace
from typing import cast, get_args

from cellcount_lib import losses
from cellcount_lib.checks import check_positive
from cellcount_lib.errors import InputError, unknown_name
from cellcount_lib.models import MODELS
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training.labelling import LABELLINGS
from cellcount_lib.training.profiles import PROFILES, Profile
from cellcount_lib.training.recipes import RECIPES, Optimizer, Recipe


@dataclass(frozen=True)
class Training:
    """Everything that decides what a training gives, by name.

    None takes what the recipe or the profile says.
    """

    dataset: str = "simulated"  # as `datasets.load` takes it
    arch: str = "c-resunet"
    recipe: str = "recommended"
    profile: str = "laptop"
    protocol: str = "recommended"
    loss: str | None = None
    weight_map: bool | None = None
    # AO of S3: the crops with the most artifacts are drawn as often as the recipe's `copies` say
    oversample_artifacts: bool = False
    # how training pictures are labelled, in place of the labels that are given: in `LABELLINGS`
    labels: str | None = None
    optimizer: str | None = None  # as in `Recipe`
    lr: float | None = None  # its learning rate, the largest of the schedule
    grey: float | None = None  # share of the crops that are shown without colour
    stretch: bool = False  # pictures are `stretched`, now and whenever the model is used
    init: str | None = None  # start from the weights of this model file instead of fresh ones
    seed: int = 0
    scale: float | None = None  # at which the network sees pictures
    # By which the protocol's sizes in pixels are multiplied. None takes 1 for the data that the
    # protocols were made for, and elsewhere what brings its cells to the size of theirs.
    protocol_scale: float | None = None
    crop: int | None = None
    batch: int | None = None
    steps: int | None = None
    epochs: int | None = None
    precision: str = "auto"  # or fp32, bf16, fp16

    def __post_init__(self) -> None:
        MODELS[self.arch]
        if self.loss is not None and self.loss not in losses.names():
            raise unknown_name("loss", self.loss, losses.names())
        protocol(self.protocol)
        for name in ("crop", "batch", "steps", "epochs"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"{name}: expected a whole number >= 1, found {value!r}")
        if self.labels is not None:
            LABELLINGS[self.labels]
        if self.optimizer is not None and self.optimizer not in get_args(Optimizer):
            raise unknown_name("optimiser", self.optimizer, get_args(Optimizer))
        for name in ("scale", "protocol_scale", "lr"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        self.resolved()

    def resolved(self) -> tuple[Recipe, Profile]:
        """Return recipe and profile with the overrides of this training in them."""
        profile = PROFILES[self.profile]
        recipe = RECIPES[self.recipe].shortened(self.epochs or profile.epochs)
        if self.optimizer == "schedule-free":
            recipe = replace(recipe, schedule="warm-up")  # averages do what a falling rate does
        recipe = replace(
            recipe,
            batch=self.batch or profile.batch or recipe.batch,
            loss=self.loss or recipe.loss,
            optimizer=cast("Optimizer", self.optimizer or recipe.optimizer),
            lr=self.lr or recipe.lr,
            weight_map=recipe.weight_map if self.weight_map is None else self.weight_map,
        )
        if self.grey is not None:
            recipe = replace(recipe, augmentation=replace(recipe.augmentation, grey=self.grey))
        crop, steps = self.crop or profile.crop, self.steps or profile.steps
        return recipe, replace(profile, crop=crop, steps=steps)
