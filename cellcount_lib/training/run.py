"""One training from settings to a model file: data, Learner, resume, cutoff, scores.

Taught in: 03_one_experiment
"""

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellcount_lib import losses
from cellcount_lib.data.crops import PLACES, Crops, artifact_places, grid_places
from cellcount_lib.data.datasets import Dataset, load
from cellcount_lib.data.reading import read_all, some
from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import DataError, InputError, unknown_name
from cellcount_lib.evaluation import Applied, scores
from cellcount_lib.files import write_whole
from cellcount_lib.inference import choose_device, choose_precision
from cellcount_lib.models import MODELS, SegmentationModel, build
from cellcount_lib.progress import watched
from cellcount_lib.protocols import protocol
from cellcount_lib.seeds import derived_seed
from cellcount_lib.training.callbacks import Progress
from cellcount_lib.training.checkpoint import Checkpoint, read_checkpoint
from cellcount_lib.training.learner import EpochLearner, find_lr, fit, make_learner
from cellcount_lib.training.loader import Batches
from cellcount_lib.training.profiles import Profile, profile
from cellcount_lib.training.recipes import Recipe, recipe
from cellcount_lib.weights import ModelInfo, load_model, restore, save_model

if TYPE_CHECKING:
    import pandas as pd
    import torch

WEIGHT_SIGMA = 25.0  # S3, in pixels at full size
MEASURED = 16  # training pictures that the scale is taken from
VALID_BATCHES = 4  # a validation batch is this many training batches: no gradients to keep


@dataclass(frozen=True)
class Training:
    """Everything that decides what a training gives, by name.

    Attributes
    ----------
    dataset : str
        As `datasets.load` takes it.
    arch, recipe, profile, protocol : str
        Names of `MODELS`, `RECIPES`, `PROFILES`, `PROTOCOLS`.
    loss : str or None
        A name of `losses.names()`; None takes the recipe's.
    weight_map : bool or None
        None takes the recipe's.
    oversample_artifacts : bool
        AO of S3: draw the crops with the most artifacts 150 times an epoch.
    init : str or None
        Start from the weights of this model file instead of fresh ones.
    seed : int
    scale : float or None
        At which the network sees pictures; None asks the profile.
    crop, batch, steps, epochs : int or None
        In place of the profile's or recipe's.
    precision : str
        "auto", "fp32", "bf16" or "fp16".
    """

    dataset: str = "simulated"
    arch: str = "c-resunet"
    recipe: str = "recommended"
    profile: str = "laptop"
    protocol: str = "recommended"
    loss: str | None = None
    weight_map: bool | None = None
    oversample_artifacts: bool = False
    init: str | None = None
    seed: int = 0
    scale: float | None = None
    crop: int | None = None
    batch: int | None = None
    steps: int | None = None
    epochs: int | None = None
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.arch not in MODELS:
            raise unknown_name("model", self.arch, MODELS)
        if self.loss is not None and self.loss not in losses.names():
            raise unknown_name("loss", self.loss, losses.names())
        protocol(self.protocol)
        recipe(self.recipe)
        profile(self.profile)
        for name in ("crop", "batch", "steps", "epochs"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"{name}: expected a whole number >= 1, found {value!r}")
        if self.scale is not None and not 0 < self.scale <= 1:
            raise InputError(f"scale: expected a number in (0, 1], found {self.scale!r}")

    def resolved(self) -> tuple[Recipe, Profile]:
        """Return recipe and profile with the overrides of this training in them."""
        scale = profile(self.profile)
        crop, steps = self.crop or scale.crop, self.steps or scale.steps
        plan = recipe(self.recipe).shortened(self.epochs or scale.epochs)
        plan = replace(
            plan,
            batch=self.batch or scale.batch or plan.batch,
            loss=self.loss or plan.loss,
            weight_map=plan.weight_map if self.weight_map is None else self.weight_map,
        )
        return plan, replace(scale, crop=crop, steps=steps)


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
    seconds : dict
        Time of data, training and evaluation, in this process.
    """

    status: str
    reason: str
    model: SegmentationModel
    info: ModelInfo
    history: list[dict[str, Any]]
    cutoffs: "pd.DataFrame"
    images: "pd.DataFrame | None"
    scores: dict[str, Any]
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Data:
    """Pictures of a training: reduced ones to learn from, full-size ones to judge by."""

    train: list[Sample]
    valid: list[Sample]
    val_set: Dataset
    test_set: Dataset | None
    scale: float
    fingerprint: str
    pixel_size_um: float | None


def read_data(training: Training, *, root: Path | None = None, jobs: int | None = None) -> Data:
    """Read the pictures of a training at the scale it sees them."""
    _, scale = training.resolved()
    full = {
        part: some(load(training.dataset, root=root, split=part), most)
        for part, most in (("train", scale.train_images), ("val", scale.val_images))
    }
    size = training.scale
    if size is None:
        few = [s.labels for s in read_all(some(full["train"], MEASURED), jobs=jobs)]
        counts = [np.bincount(labels.reshape(-1))[1:] for labels in few]
        areas = np.concatenate(counts)
        size = scale.scale(areas[areas > 0])
    first = full["train"][0]
    small = {
        part: list(read_all(replace(pictures, scale=size), jobs=jobs))
        for part, pictures in full.items()
    }
    try:
        test = some(load(training.dataset, root=root, split="test"), scale.test_images)
    except DataError:  # a folder of one's own may have no test pictures
        test = None
    return Data(
        small["train"],
        small["val"],
        full["val"],
        test,
        size,
        full["train"].fingerprint,
        first.meta.get("pixel_size_um"),
    )


def make_batches(
    training: Training, data: Data, *, device: "torch.device"
) -> tuple[Batches, Batches]:
    """Put the pictures on the device and plan the crops."""
    plan, scale = training.resolved()
    sigma = WEIGHT_SIGMA * data.scale if plan.weight_map else None
    places = PLACES[plan.sampling](data.train, scale.crop)
    if training.oversample_artifacts:
        places += artifact_places(data.train, scale.crop)
    samples: Sequence[Sample] = [*data.train, *data.valid]
    pinned = _too_large(samples, plan.weight_map, device)
    options: dict[str, Any] = {"weight_sigma": sigma, "device": device, "pinned": pinned}
    train = Batches(
        Crops(data.train, **options),
        places,
        side=scale.crop,
        batch=plan.batch,
        steps=scale.steps,
        seed=training.seed,
        augmentation=plan.augmentation,
    )
    valid = Batches(
        Crops(data.valid, **options),
        grid_places(data.valid, scale.crop),
        side=scale.crop,
        batch=plan.batch * VALID_BATCHES,
    )
    return train, valid


def _too_large(samples: Sequence[Sample], weights: bool, device: "torch.device") -> bool:
    """Tell whether the pictures would fill more than half of a GPU's free memory."""
    if device.type != "cuda":
        return False
    import torch

    needed = Crops.bytes_needed(samples, weights=weights)
    free = torch.cuda.mem_get_info(device)[0]
    if needed <= free / 2:
        return False
    print(
        f"pictures need {needed / 1e9:.1f} GB, the GPU has {free / 1e9:.1f} GB free: "
        "they stay in pinned host memory"
    )
    return True


def make_model(training: Training) -> SegmentationModel:
    """Build the network with this training's initial weights."""
    _, scale = training.resolved()
    seed = derived_seed(training.seed, "weights")
    model = build(training.arch, bn_momentum=scale.bn_momentum, seed=seed)
    if training.init is not None:
        start = load_model(training.init)
        restore(model, start.model.state_dict(), Path(training.init))
    return model


def make_training_learner(
    training: Training,
    train: Batches,
    valid: Batches,
    *,
    dtype: "torch.dtype",
    cbs: Sequence[Any] = (),
) -> EpochLearner:
    """Make the Learner of a training; see `learner.make_learner`."""
    plan, _ = training.resolved()
    return make_learner(
        make_model(training),
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
    plan, _ = training.resolved()
    where = choose_device(device)
    dtype = choose_precision(where, training.precision)
    say = print if (watched() if show is None else show) else _quiet
    clock = {"data": 0.0, "training": 0.0, "evaluation": 0.0}
    start = time.perf_counter()
    say(f"reading {training.dataset}")
    data = read_data(training, root=root, jobs=jobs)
    batches, valid = make_batches(training, data, device=where)
    clock["data"] = time.perf_counter() - start

    start = time.perf_counter()
    settings = identity(training, data, dtype)
    cbs: list[Any] = [Progress(show)]
    found = None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        kept = out / "checkpoint.safetensors"
        found = read_checkpoint(kept, settings)[1]["lr"] if kept.exists() else None
    lr = found or plan.lr
    if not isinstance(lr, float):
        lr = _searched_lr(training, batches, valid, dtype)
    if out is not None:
        cbs.append(Checkpoint(kept, settings, lr=lr))
    learn = make_training_learner(training, batches, valid, dtype=dtype, cbs=cbs)
    if out is not None:
        learn.history.file = out / "history.csv"
    if compiled:
        learn.model.compile()
    fit(learn, plan, lr)
    if learn.watch.best:
        learn.model.load_state_dict(learn.watch.best)
    clock["training"] = sum(row["seconds"] for row in learn.history.rows)
    say(f"training took {time.perf_counter() - start:.0f} s; choosing the cutoff")

    start = time.perf_counter()
    ruler = protocol(training.protocol)
    applied = Applied(learn.model.eval(), data.scale, where, training.precision, jobs)
    choice, curve = applied.choose_cutoff(data.val_set, ruler)
    reason = learn.stop_reason
    nothing = int(curve["n_pred"].max()) == 0
    if nothing:
        reason = "; ".join(filter(None, [reason, "no object predicted on validation pictures"]))
    status = "collapsed" if nothing or "loss became" in reason else "completed"
    images, result = None, {}
    if data.test_set is not None:
        say(f"scoring {len(data.test_set)} test pictures under {ruler.name}")
        images = applied.score(data.test_set, ruler, choice.cutoff)
        result = scores(images, ruler)
    clock["evaluation"] = time.perf_counter() - start
    info = ModelInfo(
        learn.model.config,
        protocol=ruler.name,
        threshold=choice.cutoff,
        scale=data.scale,
        pixel_size_um=data.pixel_size_um,
        training=settings | {"status": status, "reason": reason, "lr_used": lr},
    )
    done = Result(
        status, reason, learn.model, info, learn.history.rows, curve, images, result, clock
    )
    if out is not None:
        leave(out, done)
    return done


def _searched_lr(
    training: Training, batches: Batches, valid: Batches, dtype: "torch.dtype"
) -> float:
    """Look for the learning rate with a network of its own, so that nothing carries over.

    A search of a hundred steps is shortened where the training itself is not much longer.
    """
    plan, _ = training.resolved()
    batches.epoch = 0
    steps = max(20, min(100, plan.epochs * len(batches) // 4))
    return find_lr(make_training_learner(training, batches, valid, dtype=dtype), steps=steps)


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
    }


def leave(out: Path, result: Result) -> None:
    """Write what a training gave; ``training.json`` comes last and says that all is there."""
    save_model(out / "model.safetensors", result.model, result.info)
    for name, table in (("cutoffs", result.cutoffs), ("images", result.images)):
        if table is not None:
            write_whole(out / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    summary = {
        "status": result.status,
        "reason": result.reason,
        "protocol": result.info.protocol,
        "threshold": result.info.threshold,
        "scores": result.scores,
        "seconds": {k: round(v, 2) for k, v in result.seconds.items()},
        "settings": dict(result.info.training),
    }
    write_whole(out / "training.json", json.dumps(summary, indent=1))


def _quiet(*_: object) -> None:
    """Say nothing."""
