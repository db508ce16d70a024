"""The pictures of a training: read, reduced, put on the device, and the places of their crops.

Taught in: 03_one_experiment
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cellcount_lib.data.datasets import Dataset, load
from cellcount_lib.data.reading import read_all, some
from cellcount_lib.data.sample import Sample, cell_width
from cellcount_lib.data.stretch import stretched
from cellcount_lib.errors import DataError
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.scoring.protocols import CELL_PX
from cellcount_lib.training.crops import Crops, epoch_places, grid_places
from cellcount_lib.training.labelling import relabelled
from cellcount_lib.training.loader import Batches
from cellcount_lib.training.profiles import PROFILES, Profile
from cellcount_lib.training.recipes import Recipe
from cellcount_lib.training.spec import Training

if TYPE_CHECKING:
    import torch

WEIGHT_SIGMA = 25.0  # S3, in pixels at full size
MEASURED = 16  # training pictures that the size of a cell is taken from
VALID_BATCHES = 4  # a validation batch is this many training batches: no gradients to keep
# The protocols' sizes in pixels are meant for these pictures.
MADE_FOR = ("fnc-v1", "fnc-v2-yellow", "fnc-v2-green", "fnc-v2-red", "simulated")


@dataclass(frozen=True, eq=False)
class Data:
    """Pictures of a training: reduced ones to learn from, full-size ones to judge by."""

    train: list[Sample]  # at `scale`
    valid: list[Sample]
    val_set: Sequence[Sample]  # at full size, to choose the cutoff
    test_set: Sequence[Sample] | None  # at full size, to score
    scale: float  # this and the next three as in `model_file.ModelInfo`
    protocol_scale: float
    cell_px: float
    pixel_size_um: float | None
    fingerprint: str  # of the dataset


@dataclass(frozen=True, eq=False)
class FullSize:
    """The pictures of a dataset as a profile takes them, at full size, each read when asked for."""

    train: Dataset
    val: Dataset
    test: Dataset | None
    cell_px: float
    protocol_scale: float
    pixel_size_um: float | None
    fingerprint: str


def full_size(
    dataset: str,
    profile: str,
    *,
    protocol_scale: float | None = None,
    root: Path | None = None,
    jobs: int | None = None,
) -> FullSize:
    """Open the splits of a dataset, and measure its cells on a few training pictures."""
    limits = PROFILES[profile]
    train = some(load(dataset, root=root, split="train"), limits.train_images)
    val = some(load(dataset, root=root, split="val"), limits.val_images)
    try:
        test = some(load(dataset, root=root, split="test"), limits.test_images)
    except DataError:  # a folder of one's own may have no test pictures
        test = None
    few = list(read_all(some(train, MEASURED), jobs=jobs))
    width = cell_width(few)
    if protocol_scale is None:
        protocol_scale = 1.0 if dataset in MADE_FOR else round(width / CELL_PX, 2)
    return FullSize(
        train=train,
        val=val,
        test=test,
        cell_px=round(width, 1),
        protocol_scale=protocol_scale,
        pixel_size_um=few[0].meta.get("pixel_size_um"),
        fingerprint=train.fingerprint,
    )


def read_data(training: Training, *, root: Path | None = None, jobs: int | None = None) -> Data:
    """Read the pictures of a training at the scale it sees them."""
    parts = full_size(
        training.dataset,
        training.profile,
        protocol_scale=training.protocol_scale,
        root=root,
        jobs=jobs,
    )
    size = training.scale or PROFILES[training.profile].scale(parts.cell_px)

    def read(part: Dataset) -> list[Sample]:
        samples = read_all(replace(part, scale=size), jobs=jobs)
        if not training.stretch:
            return list(samples)
        return [replace(sample, image=stretched(sample.image)) for sample in samples]

    train = read(parts.train)
    if training.labels is not None:
        train = relabelled(train, training.labels, scale=size * parts.protocol_scale)
    return Data(
        train=train,
        valid=read(parts.val),
        val_set=parts.val,
        test_set=parts.test,
        scale=size,
        protocol_scale=parts.protocol_scale,
        cell_px=parts.cell_px,
        pixel_size_um=parts.pixel_size_um,
        fingerprint=parts.fingerprint,
    )


def held(data: Data) -> Data:
    """Return the data with its full-size pictures in memory too, for several trainings on them.

    94 pictures of 1600x1200 take 1.3 GB; drawing or decoding them takes 0.3 s each.
    """
    test = None if data.test_set is None else list(read_all(data.test_set))
    return replace(data, val_set=list(read_all(data.val_set)), test_set=test)


def make_batches(
    training: Training, recipe: Recipe, profile: Profile, data: Data, *, device: "torch.device"
) -> tuple[Batches, Batches]:
    """Put the pictures on the device and plan the crops."""
    places = epoch_places(
        data.train,
        profile.crop,
        recipe.sampling,
        recipe.copies,
        artifacts=training.oversample_artifacts,
    )
    crops = partial(
        Crops,
        target=formulation(recipe.loss).target,
        weight_sigma=WEIGHT_SIGMA * data.scale if recipe.weight_map else None,
        device=device,
        pinned=_too_large([*data.train, *data.valid], recipe.weight_map, device),
    )
    train = Batches(
        crops(data.train),
        places,
        side=profile.crop,
        batch=recipe.batch,
        steps=profile.steps,
        seed=training.seed,
        augmentation=recipe.augmentation,
    )
    valid = Batches(
        crops(data.valid),
        grid_places(data.valid, profile.crop),
        side=profile.crop,
        batch=recipe.batch * VALID_BATCHES,
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
