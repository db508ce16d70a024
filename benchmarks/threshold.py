"""A sweep over cutoffs against the released evaluations, which do the same image by image."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.harness import Case
from benchmarks.matching import all_pairs_distance, all_pairs_iou, loop_2021, loop_2023
from benchmarks.postprocess import plain
from benchmarks.weightmap import scattered_cells
from cellcount_lib.scoring.protocols import CUTOFFS, Protocol, protocol
from cellcount_lib.scoring.sweeps import sweep, sweep_rows

Heatmap = NDArray[np.float32]
Labels = NDArray[np.int32]
Counts = list[tuple[int, ...]]

FEW = (0.5, 0.7, 0.9)
MANY = CUTOFFS[:19]


def soft_cells(
    count: int, *, seed: int = 0, size: tuple[int, int] = (1200, 1600)
) -> tuple[Heatmap, Labels]:
    """A heatmap with soft edges and its truth: no cutoff gives the same objects as the next.

    Areas shrink and touching cells part as the cutoff rises. Every cell has its own confidence,
    from 0.85: most stay to the end, as the flat curves of S3 (Fig. 5) say of trained networks. The
    released post-processing takes time in proportion to the objects there are.
    """
    labels = scattered_cells(size, count, seed=seed)
    confidence = np.random.default_rng(seed).uniform(0.85, 1, labels.max() + 1)
    confidence[0] = 0
    heatmap = ndimage.gaussian_filter(confidence[labels], 2).astype(np.float32)
    return heatmap, labels


def released_2021(
    heatmap: Heatmap, labels: Labels, cutoffs: tuple[float, ...], p: Protocol
) -> Counts:
    """R21: for every cutoff anew, post-processing with its loop, labelling, matching in loops."""
    counts = []
    for cutoff in cutoffs:
        pred = plain(heatmap > cutoff, p.postprocess, loop=True)
        true = ndimage.label(labels > 0)[0]
        counts.append(loop_2021(true, pred, p.primary.threshold))
    return counts


def released_2023(
    heatmap: Heatmap, labels: Labels, cutoffs: tuple[float, ...], p: Protocol
) -> Counts:
    """R23: as R21, with both of its matchings; every pair of masks over the whole image."""
    counts = []
    for cutoff in cutoffs:
        pred = plain(heatmap > cutoff, p.postprocess, loop=True)
        true = ndimage.label(labels > 0, np.ones((3, 3)))[0]
        near = all_pairs_distance(true, pred) <= p.primary.threshold
        overlapping = all_pairs_iou(true, pred) > p.further[0].threshold
        counts.append((*loop_2023(near), *loop_2023(overlapping)))
    return counts


def ours(heatmap: Heatmap, labels: Labels, cutoffs: tuple[float, ...], p: Protocol) -> Counts:
    rows = sweep_rows([heatmap], [labels], p, cutoffs)
    names = ["tp", "fp", "fn", *(f"{k}_{m.name}" for m in p.further for k in ("tp", "fp", "fn"))]
    return [tuple(row) for row in rows[names].to_numpy().tolist()]


def same(ours: Counts, reference: Counts) -> bool:
    return ours == [tuple(map(int, row)) for row in reference]


def cases() -> list[Case]:
    one = soft_cells(40)
    made = [
        Case(
            name=f"sweep {name}, 1 heatmap of 1600x1200 x {len(FEW)} cutoffs",
            ours=partial(ours, *one, FEW, protocol(name)),
            reference=partial(reference, *one, FEW, protocol(name)),
            reference_is=f"as released, in loops; {len(MANY)} cutoffs x 10 heatmaps "
            f"are {len(MANY) * 10 / len(FEW):.1f} times as much work for both",
            at_least=30,
            same=same,
        )
        for name, reference in (("morelli2021", released_2021), ("clissa2023", released_2023))
    ]

    def full(name: str, jobs: int) -> Any:
        heatmaps, truth = zip(*(soft_cells(40, seed=i) for i in range(10)), strict=True)
        return Case(
            name=f"sweep {name}, 10 heatmaps x {len(MANY)} cutoffs, {jobs} process(es)",
            ours=partial(sweep, heatmaps, truth, protocol(name), MANY, jobs=jobs),
        )

    return [*made, full("morelli2021", 1), full("morelli2021", 2), full("recommended", 1)]
