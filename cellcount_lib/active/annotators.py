"""A simulated person who corrects what a network proposes, and the minutes it takes.

The person works as the noisy labels of chapter 1 are made (`training.labelling`): outlines waver,
and every fifth cell is overlooked. But nobody overlooks a cell that is proposed, and what looks
right is left as it is: labels that are corrected inherit the outlines of the network.

Taught in: 11_laboratory
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.sample import Sample
from cellcount_lib.scoring.matching import match
from cellcount_lib.training.labelling import relabelled

Labels = NDArray[np.int32]
SEEN = 0.3  # IoU above which a proposal is taken for an attempt at the cell
RIGHT = 0.7  # IoU above which its outline is left as it is

# Seconds, a guess to be replaced by a stop watch: what they are times, `Work`, is kept.
PICTURE, ACCEPT, CORRECT, OUTLINE, REMOVE = 20.0, 2.0, 12.0, 25.0, 2.0


class Work(NamedTuple):
    """What was done to the cells of some pictures."""

    pictures: int = 0
    accepted: int = 0  # proposals that were left as they are
    corrected: int = 0  # outlines drawn again
    outlined: int = 0  # cells outlined from nothing
    removed: int = 0  # proposals without a cell
    overlooked: int = 0  # cells that nobody saw

    def __add__(self, other: "Work") -> "Work":  # type: ignore[override]
        """Add up, number by number."""
        return Work(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def clicked(self) -> int:
        """Cells that somebody had to decide about."""
        return self.accepted + self.corrected + self.outlined + self.removed

    @property
    def minutes(self) -> float:
        """What the work takes.

        Examples
        --------
        >>> Work(pictures=1, accepted=5, outlined=1).minutes  # 20 s + 5 x 2 s + 25 s
        0.9166666666666666
        """
        cells = ACCEPT * self.accepted + CORRECT * self.corrected
        rest = OUTLINE * self.outlined + REMOVE * self.removed
        return (PICTURE * self.pictures + cells + rest) / 60

    @property
    def minutes_without(self) -> float:
        """What the same labels would take with nothing proposed."""
        cells = self.accepted + self.corrected + self.outlined
        return (PICTURE * self.pictures + OUTLINE * cells) / 60


@dataclass(frozen=True, eq=False)
class Annotator:
    """Somebody who knows some pictures: how they would outline cells, and which they would see."""

    outlines: Mapping[str, Labels]  # by the picture's name, with the numbers of the true cells
    noticed: Mapping[str, frozenset[int]]

    @classmethod
    def of(cls, pictures: Sequence[Sample], *, scale: float) -> "Annotator":
        """Make one; `scale` is that of the pictures' pixels for the protocols' sizes."""
        ragged = relabelled(pictures, "ragged", scale=scale)
        seen = relabelled(pictures, "missing", scale=scale)
        return cls(
            {s.meta["name"]: s.labels for s in ragged},
            {s.meta["name"]: frozenset(map(int, np.unique(s.labels))) - {0} for s in seen},
        )

    def correct(self, sample: Sample, proposed: Labels) -> tuple[Labels, Work]:
        """Return labels for a picture, by correcting those that are proposed, and the work."""
        name = sample.meta["name"]
        true, drawn = sample.labels, self.outlines[name]
        labels = np.zeros_like(true)
        pairs = match(true, proposed, rule="hungarian-iou", threshold=SEEN).pairs
        numbers = {int(n) for n in np.unique(true)} - {0}
        proposals = np.unique(proposed[proposed > 0]).size
        accepted = corrected = 0
        redrawn = (numbers - {int(t) for t, _ in pairs}) & self.noticed[name]
        outlined = len(redrawn)
        for cell, proposal in pairs:
            there, here = true == cell, proposed == proposal
            if (there & here).sum() > RIGHT * (there | here).sum():
                labels[here] = cell
                accepted += 1
            else:
                redrawn.add(int(cell))
                corrected += 1
        labels = np.where((labels == 0) & np.isin(drawn, sorted(redrawn)), drawn, labels)
        overlooked = len(numbers) - accepted - corrected - outlined
        removed = proposals - len(pairs)
        return labels, Work(1, accepted, corrected, outlined, removed, overlooked)
