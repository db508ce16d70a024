"""Scores without training: baselines, controls, the oracle, and the heatmaps of a run once more.

They stand in every table under the same protocol, on the same test pictures, as runs of their own.

Taught in: 06_threshold_and_ruler
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cellcount_lib.checks import check_positive
from cellcount_lib.data.reading import read_all
from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import DataError, InputError, unknown_name
from cellcount_lib.inference.evaluation import Ruler
from cellcount_lib.inference.heatmaps import load_heatmaps
from cellcount_lib.inference.model_file import MODEL, load_model
from cellcount_lib.machine import cores
from cellcount_lib.methods.baselines import (
    QUANTILES,
    intensity_rank,
    oracle,
    otsu_watershed,
    tune_adaptive_threshold,
)
from cellcount_lib.methods.blobs import THRESHOLDS, log_blobs
from cellcount_lib.methods.harmonise import steps
from cellcount_lib.scoring.protocols import Protocol, protocol
from cellcount_lib.scoring.sweeps import sweep_rows
from cellcount_lib.training.data import FullSize, full_size
from cellcount_lib.training.profiles import PROFILES

if TYPE_CHECKING:
    import pandas as pd

METHODS = {
    "adaptive-threshold": "every picture cut at its own quantile of intensity, tuned on validation",
    "otsu-watershed": "Otsu's threshold and the watershed of the distance map",
    "predict-zero": "always answers 0",
    "predict-mean": "always answers the mean count of the training pictures",
    "oracle": "the true mask through post-processing and matching: what a perfect mask would have",
    "log-blobs": "peaks of the Laplacian of a Gaussian, drawn as discs; cutoff tuned on validation",
    "run": "the heatmaps that a run has kept, under this protocol",
    "apply": "the network of a run on this dataset, unchanged but for the named harmonisation",
}
OF_A_RUN = ("run", "apply")


@dataclass(frozen=True)
class Scoring:
    """What is scored without training, by name.

    Attributes
    ----------
    method : str
        A name of `METHODS`.
    dataset, profile, protocol : str
    protocol_scale : float or None
        As in `training.spec.Training`.
    run : str or None
        With the methods `OF_A_RUN`: the id of the run.
    seed : int
        Of that run; else 0.
    harmonise : str or None
        With method "apply": steps of `harmonise.STEPS`, joined by ``+``.
    """

    method: str
    dataset: str = "simulated"
    profile: str = "laptop"
    protocol: str = "recommended"
    protocol_scale: float | None = None
    run: str | None = None
    seed: int = 0
    harmonise: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        protocol(self.protocol)
        PROFILES[self.profile]
        if (self.run is not None) != (self.method in OF_A_RUN):
            raise InputError(
                "run: expected the id of a run with the methods 'run' and 'apply', and only there"
            )
        if steps(self.harmonise) and self.method != "apply":
            raise InputError("harmonise: only the method 'apply' changes pictures")
        if self.protocol_scale is not None:
            check_positive("protocol_scale", self.protocol_scale)


class Scored(NamedTuple):
    """Rows per test picture, and how they came about."""

    images: "pd.DataFrame"
    cutoff: float | None
    protocol_scale: float
    fingerprint: str


def score(asked: Scoring, *, run: Path | None = None, root: Path | None = None) -> Scored:
    """Score the test pictures.

    Parameters
    ----------
    asked : Scoring
    run : Path, optional
        Folder of the run, with the methods `OF_A_RUN`.
    root : Path, optional
        Folder of the datasets.
    """
    parts = full_size(asked.dataset, asked.profile, protocol_scale=asked.protocol_scale, root=root)
    if parts.test is None:
        raise DataError(f"{asked.dataset}: expected test pictures, found none to score")
    ruler = Ruler(protocol(asked.protocol), parts.protocol_scale)
    if asked.method == "run":
        assert run is not None
        rows, cutoff = _again(ruler, run, list(parts.val), list(parts.test))
    elif asked.method == "apply":
        from cellcount_lib.methods.apply import apply

        assert run is not None
        rows, cutoff = apply(run, parts, ruler, names=steps(asked.harmonise), root=root)
    elif asked.method == "log-blobs":
        rows, cutoff = _blobs(ruler, parts)
    else:
        rows, cutoff = _untrained(asked.method, ruler, parts.train, parts.val, parts.test)
    return Scored(rows, cutoff, parts.protocol_scale, parts.fingerprint)


def _again(
    ruler: Ruler, run: Path, val: Sequence[Sample], test: Sequence[Sample]
) -> tuple["pd.DataFrame", float | None]:
    info = load_model(run / MODEL).info
    ruler = replace(ruler, protocol=info.ruler(ruler.protocol.name))
    val_labels = {s.meta["name"]: s.labels for s in val}
    choice, _ = ruler.choose_cutoff(load_heatmaps(run / "heatmaps-val.npz"), val_labels)
    test_labels = {s.meta["name"]: s.labels for s in test}
    rows = ruler.score(load_heatmaps(run / "heatmaps-test.npz"), test_labels, choice.cutoff)
    return rows.drop(columns="cutoff"), choice.cutoff


def _untrained(
    method: str,
    ruler: Ruler,
    train: Sequence[Sample],
    val: Sequence[Sample],
    test: Sequence[Sample],
) -> tuple["pd.DataFrame", float | None]:
    import pandas as pd

    samples = list(read_all(test))
    names = [s.meta["name"] for s in samples]
    labels = [s.labels for s in samples]
    options: dict[str, Any] = {"images": names, "scale": ruler.scale, "jobs": cores()}
    if method == "oracle":
        return oracle(labels, ruler.protocol, **options), None
    cutoff: float | None = None
    if method == "adaptive-threshold":
        held = list(read_all(val))
        cutoff = tune_adaptive_threshold(
            held, ruler.protocol, QUANTILES, scale=ruler.scale, jobs=cores()
        ).choice.cutoff
        heat = (intensity_rank(s.image) for s in samples)
        rows = sweep_rows(heat, labels, ruler.protocol, [cutoff], **options)
        return rows.drop(columns="cutoff"), cutoff
    if method == "otsu-watershed":
        settings = ruler.protocol.postprocess
        found = [otsu_watershed(s.image, settings, scale=ruler.scale) for s in samples]
        return pd.DataFrame(_rows(ruler, names, labels, found)), None
    blank = [np.zeros_like(one) for one in labels]
    constant = 0.0
    if method == "predict-mean":
        counts = [ruler.protocol.true_objects(s.labels).max() for s in read_all(train)]
        constant = float(np.mean(counts))
    return pd.DataFrame(_rows(ruler, names, labels, blank)).assign(n_pred=constant), None


def _blobs(ruler: Ruler, parts: FullSize) -> tuple["pd.DataFrame", float]:
    """Score blobs; the response that a blob must have is tuned on validation pictures."""
    import pandas as pd

    def scored(samples: Sequence[Sample], threshold: float) -> "pd.DataFrame":
        labels = [s.labels for s in samples]
        found = [log_blobs(s.image, cell_px=parts.cell_px, threshold=threshold) for s in samples]
        return pd.DataFrame(_rows(ruler, [s.meta["name"] for s in samples], labels, found))

    assert parts.test is not None
    held = list(read_all(parts.val))
    best = max(THRESHOLDS, key=lambda t: ruler.pooled(scored(held, t))["f1"])
    return scored(list(read_all(parts.test)), best), best


def _rows(ruler: Ruler, names: list[str], labels: list, found: list) -> list[dict]:
    measure: Protocol = ruler.protocol
    return [
        measure.score(truth, labels_, image=name, scale=ruler.scale)
        for name, truth, labels_ in zip(names, labels, found, strict=True)
    ]
