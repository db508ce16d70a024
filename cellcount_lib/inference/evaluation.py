"""From a network to scores: the cutoff chosen on validation pictures, the test pictures scored.

Pictures are always judged at their full size: the network may see them reduced, its heatmap is
enlarged again, and the protocol applies to the original pixels and labels. So scores of different
profiles, and of baselines, stand on the same ground.

Taught in: 06_threshold_and_ruler, 08_transfer
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellcount_lib.data.reading import read_all
from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import DataError
from cellcount_lib.inference.heatmaps import Kept, encode
from cellcount_lib.inference.predict import logit_map
from cellcount_lib.machine import cores
from cellcount_lib.models import SegmentationModel
from cellcount_lib.scoring.cutoff import Choice, choose
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import Protocol
from cellcount_lib.scoring.sweeps import pool_cutoffs, sweep_pixels, sweep_rows

Labels = Mapping[str, NDArray[np.int32]]


def heatmaps(
    model: SegmentationModel,
    pictures: Sequence[Sample],
    *,
    jobs: int | None = None,
    **how: Any,
) -> tuple[dict[str, Kept], dict[str, NDArray[np.int32]]]:
    """Apply a network to pictures at full size; return heatmaps and true labels by their names.

    `how` are options of `predict.logit_map`.
    """
    kept, labels = {}, {}
    for sample in read_all(pictures, jobs=jobs):
        name = sample.meta["name"]
        logits = logit_map(model, sample.image, **how)
        height, width = sample.labels.shape
        kept[name] = Kept(encode(logits), (height, width))
        labels[name] = sample.labels
    return kept, labels


@dataclass(frozen=True)
class ScaledProtocol:
    """A protocol, at the scale of the data it is applied to."""

    protocol: Protocol
    scale: float = 1.0  # by which its sizes in pixels are multiplied
    jobs: int | None = None  # processes; by default one per core

    def choose_cutoff(
        self, kept: Mapping[str, Kept], labels: Labels
    ) -> tuple[Choice, pd.DataFrame]:
        """Choose the cutoff on validation pictures by the protocol's rule.

        Returns the choice and the curve it was made from, a row per cutoff (`sweeps.sweep`; of
        pixels, `sweeps.sweep_pixels`, where the rule is "max-mcc").
        """
        _same_pictures(kept, labels)
        if self.protocol.threshold_rule == "max-mcc":
            heat = (one.heatmap() for one in kept.values())
            truth = (self.protocol.true_objects(labels[name]) for name in kept)
            curve = sweep_pixels(heat, truth, self.protocol.cutoffs)
            return choose(curve, "max-mcc"), curve
        rows = self._swept(kept, labels, self.protocol.cutoffs)
        curve = pool_cutoffs(rows, mpe=self.protocol.mpe)
        return choose(curve, self.protocol.threshold_rule), curve

    def score(self, kept: Mapping[str, Kept], labels: Labels, cutoff: float) -> pd.DataFrame:
        """Return one row per picture, as `Protocol.score` gives it."""
        return self._swept(kept, labels, (cutoff,))

    def pooled(self, rows: pd.DataFrame) -> dict[str, int | float]:
        """Pool the rows of `score` with the protocol's conventions."""
        return pooled(rows, mpe=self.protocol.mpe)

    def _swept(
        self, kept: Mapping[str, Kept], labels: Labels, cutoffs: tuple[float, ...]
    ) -> pd.DataFrame:
        _same_pictures(kept, labels)
        return sweep_rows(
            (one.heatmap() for one in kept.values()),
            (labels[name] for name in kept),
            self.protocol,
            cutoffs,
            images=list(kept),
            scale=self.scale,
            jobs=self.jobs or cores(),
        )


def _same_pictures(kept: Mapping[str, Kept], labels: Labels) -> None:
    if kept.keys() != labels.keys():
        odd = sorted(kept.keys() ^ labels.keys())
        raise DataError(
            f"heatmaps and labels: expected the same pictures, {len(odd)} are in one of them "
            f"only, first {odd[0]!r}"
        )
