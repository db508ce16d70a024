"""Scores over cutoffs: every cutoff of a grid on every full-size image, in parallel over images.

``sweep`` scores every cutoff as if it were the only one: threshold, post-processing, matching. What
could be shared between cutoffs is not, so that a sweep cannot differ from a single evaluation.
"""

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import zip_longest
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellcount_lib.checks import check_first_plane, check_labels, check_mask, check_same_shape
from cellcount_lib.errors import InputError
from cellcount_lib.machine import in_processes
from cellcount_lib.scoring.pixels import Confusion, pixel_scores
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import CUTOFFS, PIXEL_CUTOFFS, Protocol

Heatmaps = Iterable[NDArray[np.floating] | None]
Labels = Iterable[NDArray[np.integer]]


def sweep_rows(
    heatmaps: Heatmaps,
    true_labels: Labels,
    protocol: Protocol,
    cutoffs: Sequence[float] = CUTOFFS,
    *,
    images: Sequence[str] | None = None,
    scale: float = 1.0,
    jobs: int = 1,
) -> pd.DataFrame:
    """Per-image rows of every cutoff: `Protocol.score`, with a column "cutoff" in front.

    Parameters
    ----------
    heatmaps : iterable of float arrays, shape (H, W), or None
        Read one after the other, so they may come from a generator that predicts them; None is a
        missing prediction.
    cutoffs : sequence of float
        Rising, in [0, 1].
    images : sequence of str, optional
        Names; "0", "1", ... without.
    scale : float
        Size of the images relative to the originals.
    jobs : int
        Processes to use; with 1, everything happens in this one. Results are the same.
    """
    grid = check_cutoffs("cutoffs", cutoffs)
    if not isinstance(jobs, int) or jobs < 1:
        raise InputError(f"jobs: expected a number of processes >= 1, found {jobs!r}")
    tasks = (
        joblib.delayed(_score_image)(heatmap, labels, name, protocol, grid, scale)
        for heatmap, labels, name in _together(heatmaps, true_labels, images)
    )
    # an image takes seconds to score and 20 ms to send
    rows = [row for of_image in in_processes(tasks, jobs) for row in of_image]
    if not rows:
        raise InputError("heatmaps: expected at least one image, found none")
    return pd.DataFrame(rows)


def sweep(
    heatmaps: Heatmaps,
    true_labels: Labels,
    protocol: Protocol,
    cutoffs: Sequence[float] = CUTOFFS,
    *,
    scale: float = 1.0,
    jobs: int = 1,
) -> pd.DataFrame:
    """Pooled scores of every cutoff, a row each: `pooled` with the protocol's convention of MPE.

    The parameters are those of `sweep_rows`.

    Taught in: 06_threshold_and_ruler.

    Examples
    --------
    >>> from cellcount_lib.scoring.protocols import protocol
    >>> truth = np.zeros((60, 60), int)
    >>> truth[10:40, 10:40] = 1
    >>> curve = sweep([truth * 0.7], [truth], protocol("recommended"), cutoffs=[0.5, 0.9])
    >>> curve[["cutoff", "tp", "fn", "f1"]].values.tolist()
    [[0.5, 1.0, 0.0, 1.0], [0.9, 0.0, 1.0, 0.0]]
    """
    rows = sweep_rows(heatmaps, true_labels, protocol, cutoffs, scale=scale, jobs=jobs)
    return pool_cutoffs(rows, mpe=protocol.mpe)


def pool_cutoffs(rows: pd.DataFrame, *, mpe: str = "released2023") -> pd.DataFrame:
    """Pool the rows of `sweep_rows` per cutoff, as `sweep` does."""
    return pd.DataFrame(
        [{"cutoff": cutoff, **pooled(group, mpe=mpe)} for cutoff, group in rows.groupby("cutoff")]
    )


def sweep_pixels(
    heatmaps: Heatmaps, true_labels: Labels, cutoffs: Sequence[float] = PIXEL_CUTOFFS
) -> pd.DataFrame:
    """Pixel scores of every cutoff, pooled over images: for the rule "max-mcc" (S2).

    Each heatmap is sorted into the intervals between cutoffs once, however many there are. True
    masks may stand in for labels. Columns are cutoff, tp, fp, fn, tn, and `pixels.PixelScores`.

    Examples
    --------
    >>> heatmap, truth = np.array([[0.9, 0.6, 0.3, 0.1]]), np.array([[1, 1, 0, 0]])
    >>> sweep_pixels([heatmap], [truth], [0.2, 0.5, 0.8])["mcc"].round(2).tolist()
    [0.58, 1.0, 0.58]
    """
    grid = check_cutoffs("cutoffs", cutoffs)
    # float32, as a heatmap is when it is compared with a Python number
    edges = np.asarray(grid, np.float32)
    above = np.zeros((2, len(grid)), np.int64)
    pixels = np.zeros(2, np.int64)
    for heatmap, truth, _ in _together(heatmaps, true_labels, None):
        mask = check_mask("true_labels", truth)
        pixels += [np.count_nonzero(~mask), np.count_nonzero(mask)]
        if heatmap is None:
            continue
        heatmap = check_first_plane("heatmap", heatmap)
        check_same_shape(["heatmap", "true_labels"], [heatmap, mask])
        for row, values in enumerate((heatmap[~mask], heatmap[mask])):
            below = np.searchsorted(edges, values, side="left")  # cutoffs that a pixel is above
            passed = np.bincount(below, minlength=len(grid) + 1)
            above[row] += passed[::-1].cumsum()[::-1][1:]
    rows = []
    for cutoff, fp, tp in zip(grid, *above.tolist(), strict=True):
        table = Confusion(tp, fp, int(pixels[1]) - tp, int(pixels[0]) - fp)
        rows.append({"cutoff": cutoff, **table._asdict(), **pixel_scores(table)._asdict()})
    return pd.DataFrame(rows)


def check_cutoffs(name: str, cutoffs: Sequence[float]) -> list[float]:
    """Return cutoffs as Python floats: rising, at least one, in [0, 1].

    Python floats, because NumPy compares a float32 heatmap with them in float32, but with its own
    float64 numbers in float64: 0.7 would not always be 0.7.
    """
    values = np.asarray(cutoffs, np.float64)
    good = values.ndim == 1 and values.size > 0 and ((values >= 0) & (values <= 1)).all()
    if not good or (np.diff(values) <= 0).any():
        raise InputError(f"{name}: expected rising numbers in [0, 1], found {list(cutoffs)!r}")
    return [float(v) for v in values]


def _score_image(
    heatmap: NDArray[np.floating] | None,
    labels: NDArray[np.integer],
    image: str,
    protocol: Protocol,
    cutoffs: Sequence[float],
    scale: float,
) -> list[dict[str, Any]]:
    """Rows of one image, one per cutoff; runs in another process."""
    labels = check_labels("true_labels", labels)
    rows = []
    for cutoff in cutoffs:
        pred = None if heatmap is None else protocol.segment(heatmap, cutoff, scale=scale)
        mask = None if heatmap is None else check_first_plane("heatmap", heatmap) > cutoff
        row = protocol.score(labels, pred, image=image, scale=scale, mask=mask)
        rows.append({"cutoff": cutoff, **row})
    return rows


def _together(
    heatmaps: Heatmaps, true_labels: Labels, images: Sequence[str] | None
) -> Iterator[tuple[NDArray[np.floating] | None, NDArray[np.integer], str]]:
    """Walk heatmaps, labels and names in step; they must end together."""
    sizes = {len(x) for x in (heatmaps, true_labels, images) if isinstance(x, Sized)}
    if len(sizes) > 1:  # found out before the work, not after it
        raise InputError(
            "heatmaps, true_labels, images: expected as many of one as of the others, found "
            f"{' and '.join(map(str, sorted(sizes)))}"
        )
    end: Any = object()
    named = [] if images is None else [images]
    together = zip_longest(heatmaps, true_labels, *named, fillvalue=end)
    for count, (heatmap, labels, *name) in enumerate(together):
        if any(part is end for part in (heatmap, labels, *name)):
            raise InputError(
                "heatmaps, true_labels, images: expected as many of one as of the others; one of "
                f"them ended after {count}"
            )
        yield heatmap, labels, name[0] if name else str(count)
