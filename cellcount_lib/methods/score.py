"""Scores without training: baselines, controls, the oracle, and the heatmaps of a run once more.

They stand in every table under the same protocol, on the same test pictures, as runs of their own.

Taught in: 06_threshold_and_ruler
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellcount_lib.checks import check_positive
from cellcount_lib.data.reading import read_all
from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import DataError, InputError
from cellcount_lib.inference.evaluation import ScaledProtocol, heatmaps
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.heatmaps import load_heatmaps
from cellcount_lib.inference.info import MODEL
from cellcount_lib.inference.model_file import load_model
from cellcount_lib.inference.published import published
from cellcount_lib.machine import cores
from cellcount_lib.methods.baselines import (
    QUANTILES,
    oracle,
    score_adaptive_threshold,
    tune_adaptive_threshold,
)
from cellcount_lib.methods.blobs import THRESHOLDS, log_blobs
from cellcount_lib.methods.chosen import chosen
from cellcount_lib.methods.harmonise import steps
from cellcount_lib.postprocess.otsu import otsu_watershed
from cellcount_lib.registry import Registry
from cellcount_lib.scoring.cutoff import Choice, choose
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training.data import FullSize, full_size
from cellcount_lib.training.profiles import PROFILES

Labels = NDArray[np.int32]


class Scored(NamedTuple):
    """Rows per test picture, and how they came about; `choice` where there is a cutoff."""

    images: pd.DataFrame
    choice: Choice | None
    protocol_scale: float
    fingerprint: str

    @property
    def cutoff(self) -> float | None:
        """The cutoff, if there is one."""
        return self.choice.cutoff if self.choice else None


@dataclass(frozen=True, eq=False)
class Task:
    """What a method is given."""

    parts: FullSize  # the pictures; there are test pictures
    scaled: ScaledProtocol
    run: Path | None  # folder of the run, for a method that needs one
    steps: tuple[str, ...]  # of `harmonise.STEPS`
    root: Path | None  # folder of the datasets
    cutoff: float | None = None  # where it is known already, as in a record that is checked

    @cached_property
    def tested(self) -> list[Sample]:
        """The test pictures, in memory."""
        assert self.parts.test is not None
        return list(read_all(self.parts.test))

    @property
    def of(self) -> Path:
        """Folder of the run."""
        if self.run is None:
            raise InputError("run: expected the folder of the run, found none")
        return self.run

    def rows(self, samples: Sequence[Sample], predicted: Iterable[Labels]) -> pd.DataFrame:
        """Score labels that were predicted for pictures, a row each."""
        ruler, scale = self.scaled.protocol, self.scaled.scale
        pairs = zip(samples, predicted, strict=True)
        return pd.DataFrame(
            [ruler.score(s.labels, p, image=s.meta["name"], scale=scale) for s, p in pairs]
        )


Answer = tuple[pd.DataFrame, Choice | None]
"""Rows per test picture, and the choice of the cutoff if there is one."""


@dataclass(frozen=True)
class Method:
    """A way to scores without training."""

    description: str
    score: Callable[[Task], Answer]
    of_a_run: bool = False  # whether it needs what a training has left
    of_test: bool = False  # whether test pictures and a known cutoff are all it needs


def _adaptive_threshold(task: Task) -> Answer:
    ruler, scale, choice, cutoff = task.scaled.protocol, task.scaled.scale, None, task.cutoff
    if cutoff is None:
        held = list(read_all(task.parts.val))
        choice = tune_adaptive_threshold(held, ruler, QUANTILES, scale=scale, jobs=cores())
        cutoff = choice.cutoff
    jobs = min(cores(), len(task.tested))
    return score_adaptive_threshold(task.tested, ruler, cutoff, scale=scale, jobs=jobs), choice


def _otsu_watershed(task: Task) -> Answer:
    way, scale = task.scaled.protocol.postprocess, task.scaled.scale
    labels = (otsu_watershed(s.image, way, scale=scale) for s in task.tested)
    return task.rows(task.tested, labels), None


def _predict_zero(task: Task, count: float = 0.0) -> Answer:
    """Score a method that finds no object and answers the same count whatever the picture."""
    blank = (np.zeros_like(s.labels) for s in task.tested)
    return task.rows(task.tested, blank).assign(n_pred=count), None


def _predict_mean(task: Task) -> Answer:
    objects = task.scaled.protocol.true_objects
    labels = (objects(s.labels) for s in read_all(task.parts.train))
    counts = [np.count_nonzero(np.unique(one)) for one in labels]
    return _predict_zero(task, float(np.mean(counts)))


def _oracle(task: Task) -> Answer:
    ruler, jobs = task.scaled.protocol, min(cores(), len(task.tested))
    return oracle(task.tested, ruler, scale=task.scaled.scale, jobs=jobs), None


def _log_blobs(task: Task) -> Answer:
    """Score blobs; the response that a blob must have is tuned on validation pictures."""

    def scored(samples: Sequence[Sample], threshold: float) -> pd.DataFrame:
        width = task.parts.cell_px
        return task.rows(
            samples, (log_blobs(s.image, cell_px=width, threshold=threshold) for s in samples)
        )

    held = list(read_all(task.parts.val))
    f1 = [task.scaled.pooled(scored(held, threshold))["f1"] for threshold in THRESHOLDS]
    choice = choose(pd.DataFrame({"cutoff": THRESHOLDS, "f1": f1}), "argmax")
    return scored(task.tested, choice.cutoff), choice


def _again(task: Task) -> Answer:
    """Score the heatmaps that a run has kept; of several, joined by +, the best on validation."""
    folders = [task.of.parent / name for name in task.of.name.split("+")]

    def choice_of(folder: Path) -> tuple[Choice, ScaledProtocol, Path]:
        info = load_model(folder / MODEL, finite=False).info  # heatmaps are all that is needed
        scaled = replace(task.scaled, protocol=info.ruler(task.scaled.protocol.name))
        return chosen(folder, task.parts, scaled), scaled, folder

    choice, scaled, best = max(map(choice_of, folders), key=lambda found: found[0].value)
    if len(folders) > 1:
        choice = choice._replace(note="; ".join(filter(None, [choice.note, f"of {best.name}"])))
    labels = {s.meta["name"]: s.labels for s in task.tested}
    rows = scaled.score(load_heatmaps(best / "heatmaps-test.npz"), labels, choice.cutoff)
    return rows.drop(columns="cutoff"), choice


def _mirrored(task: Task) -> Answer:
    """Ask the network of a run for every picture and its mirror images, and average (S4)."""
    trained = load_model(task.of / MODEL)
    info = trained.info
    scaled = replace(task.scaled, protocol=info.ruler(task.scaled.protocol.name))
    asks = formulation(info.formulation)
    look = partial(
        heatmaps,
        trained.model,
        scale=info.scale,
        stretch=info.stretch,
        asks=asks,
        mirrored=True,
    )
    choice, _ = scaled.choose_cutoff(*look(task.parts.val))
    return scaled.score(*look(task.tested), choice.cutoff).drop(columns="cutoff"), choice


def _published(task: Task) -> Answer:
    """Apply the network that the authors of a dataset released, at full size."""
    look = partial(heatmaps, published(task.parts.train.name, root=task.root), scale=1.0)
    choice, _ = task.scaled.choose_cutoff(*look(task.parts.val))
    return task.scaled.score(*look(task.tested), choice.cutoff).drop(columns="cutoff"), choice


def _apply(task: Task) -> Answer:
    from cellcount_lib.methods.apply import apply

    return apply(task.of, task.parts, task.scaled, names=task.steps, root=task.root)


METHODS: Registry[Method] = Registry(
    "method",
    {
        "adaptive-threshold": Method(
            "every picture cut at its own quantile of intensity, tuned on validation",
            _adaptive_threshold,
            of_test=True,
        ),
        "otsu-watershed": Method(
            "Otsu's threshold and the watershed of the distance map",
            _otsu_watershed,
            of_test=True,
        ),
        "predict-zero": Method("always answers 0", _predict_zero, of_test=True),
        "predict-mean": Method(
            "always answers the mean count of the training pictures", _predict_mean
        ),
        "oracle": Method(
            "the true mask through post-processing and matching: what a perfect mask would have",
            _oracle,
            of_test=True,
        ),
        "log-blobs": Method(
            "peaks of the Laplacian of a Gaussian, drawn as discs; cutoff tuned on validation",
            _log_blobs,
        ),
        "published-weights": Method(
            "the network that the authors of the dataset released; cutoff chosen on validation",
            _published,
        ),
        "run": Method("the heatmaps that a run has kept, under this protocol", _again, True),
        "mirrored": Method(
            "the network of a run, its answers averaged over every picture's mirror images",
            _mirrored,
            True,
        ),
        "apply": Method(
            "the network of a run on this dataset, unchanged but for the named harmonisation",
            _apply,
            True,
        ),
    },
)


@dataclass(frozen=True)
class Scoring:
    """What is scored without training, by name."""

    method: str  # in `METHODS`
    dataset: str = "simulated"
    profile: str = "laptop"
    protocol: str = "recommended"
    protocol_scale: float | None = None  # as in `training.spec.Training`
    # id of the run, with a method that is of one; with method "run" several may be joined by +
    run: str | None = None
    seed: int = 0  # of that run
    harmonise: str | None = None  # with method "apply": steps of `harmonise.STEPS`, joined by +

    def __post_init__(self) -> None:
        of_a_run = METHODS[self.method].of_a_run
        protocol(self.protocol)
        PROFILES[self.profile]
        if (self.run is not None) != of_a_run:
            raise InputError(
                "run: expected the id of a run with the methods 'run', 'mirrored' and 'apply', and "
                "only there"
            )
        if steps(self.harmonise) and self.method != "apply":
            raise InputError("harmonise: only the method 'apply' changes pictures")
        if self.protocol_scale is not None:
            check_positive("protocol_scale", self.protocol_scale)


def score(asked: Scoring, *, run: Path | None = None, root: Path | None = None) -> Scored:
    """Score the test pictures; `run` is the folder of the run, with a method that is of one."""
    parts = full_size(asked.dataset, asked.profile, protocol_scale=asked.protocol_scale, root=root)
    if parts.test is None:
        raise DataError(f"{asked.dataset}: expected test pictures, found none to score")
    scaled = ScaledProtocol(protocol(asked.protocol), parts.protocol_scale)
    task = Task(parts, scaled, run, steps(asked.harmonise), root)
    rows, choice = METHODS[asked.method].score(task)
    return Scored(rows, choice, parts.protocol_scale, parts.fingerprint)
