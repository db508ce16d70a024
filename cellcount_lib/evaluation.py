"""From a network to scores: the cutoff chosen on validation pictures, the test pictures scored.

Pictures are always judged at their full size: the network may see them reduced, its heatmap is
enlarged again, and the protocol applies to the original pixels and labels. So scores of different
profiles, and of baselines, stand on the same ground.

Taught in: 03_one_experiment
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.reading import read_all
from cellcount_lib.data.sample import Sample
from cellcount_lib.inference import heatmap
from cellcount_lib.metrics import pooled
from cellcount_lib.models import SegmentationModel
from cellcount_lib.protocols import Protocol
from cellcount_lib.sweeps import sweep_rows
from cellcount_lib.threshold import Choice, choose, pool_cutoffs

if TYPE_CHECKING:
    import pandas as pd


class Predicted(NamedTuple):
    """A picture's name, its true labels, and what the network makes of it."""

    name: str
    labels: NDArray[np.int32]
    heatmap: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Applied:
    """A network with the way it is applied to pictures.

    Attributes
    ----------
    model : SegmentationModel
    scale : float
        At which it sees pictures.
    protocol_scale : float
        By which the protocol's sizes in pixels are multiplied.
    device, precision : str or None, str
        See `inference.heatmap`.
    """

    model: SegmentationModel
    scale: float
    device: Any = None
    precision: str = "auto"
    protocol_scale: float = 1.0
    jobs: int | None = None

    def heatmaps(self, dataset: Sequence[Sample]) -> Iterator[Predicted]:
        """Yield the heatmap of every picture, at the picture's size."""
        for sample in read_all(dataset, jobs=self.jobs):
            found = heatmap(
                self.model,
                sample.image,
                scale=self.scale,
                device=self.device,
                precision=self.precision,
            )
            yield Predicted(sample.meta["name"], sample.labels, found)

    def choose_cutoff(
        self, dataset: Sequence[Sample], protocol: Protocol
    ) -> tuple[Choice, "pd.DataFrame"]:
        """Choose the cutoff on validation pictures by the protocol's rule.

        Returns
        -------
        Choice
        curve : DataFrame
            One row per cutoff of the protocol's grid, as `sweeps.sweep` gives it.
        """
        rows = self._swept(dataset, protocol, protocol.cutoffs)
        curve = pool_cutoffs(rows, mpe=protocol.mpe)
        return choose(curve, protocol.threshold_rule), curve

    def score(self, dataset: Sequence[Sample], protocol: Protocol, cutoff: float) -> "pd.DataFrame":
        """Return one row per picture, as `Protocol.score` gives it."""
        return self._swept(dataset, protocol, (cutoff,))

    def _swept(
        self, dataset: Sequence[Sample], protocol: Protocol, cutoffs: tuple[float, ...]
    ) -> "pd.DataFrame":
        # All heatmaps first (as float16 for their size), then all scores: two kinds of work that
        # both want every core.
        found = [p._replace(heatmap=p.heatmap.astype(np.float16)) for p in self.heatmaps(dataset)]
        return sweep_rows(
            # A network full of NaN predicts nothing; its pictures keep their rows.
            (p.heatmap if np.isfinite(p.heatmap).all() else None for p in found),
            (p.labels for p in found),
            protocol,
            cutoffs,
            images=[p.name for p in found],
            scale=self.protocol_scale,
            jobs=self.jobs or cores(),
        )


def scores(rows: "pd.DataFrame", protocol: Protocol) -> dict[str, int | float]:
    """Pool the rows of `Applied.score` with the protocol's conventions."""
    return pooled(rows, mpe=protocol.mpe)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
