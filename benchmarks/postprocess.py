"""Post-processing: the rule of both studies written out plainly over the whole picture."""

import heapq

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree, distance
from skimage.feature import peak_local_max
from skimage.measure import label
from skimage.morphology import (
    closing,
    disk,
    opening,
    remove_small_holes,
    remove_small_objects,
)

from benchmarks.harness import Case
from cellcount_lib.postprocess.postprocess import POSTPROCESS, Plateaus, Postprocessing, postprocess


def plain(
    mask: NDArray[np.bool_], settings: Postprocessing, *, loop: bool = False
) -> NDArray[np.int32]:
    """Follow the description of the released code, one library call per step.

    ``loop=True`` also runs what makes the released code slow: scikit-image 0.18 to 0.24 look at
    every plateau pixel for others closer than 1 pixel, of which there are none.
    """
    cleaning, s = settings.cleaning, settings.touching
    assert isinstance(s, Plateaus)
    if cleaning.smooth_radius:
        brush = disk(cleaning.smooth_radius)
        mask = closing(opening(mask.astype(np.uint8), brush), brush) > 0
    # <= in scikit-image 0.26, hence one less
    processed = remove_small_holes(mask, max_size=cleaning.holes_below - 1, connectivity=1)
    processed = remove_small_objects(processed, max_size=cleaning.objects_below - 1, connectivity=1)
    depth = ndimage.distance_transform_edt(processed)
    spread = ndimage.maximum_filter(depth, size=s.spread, mode="constant")
    peaks = np.zeros(mask.shape, bool)
    if not s.flat_is_empty:  # scikit-image 0.17 and older: no exception for a flat picture
        around = np.ones((s.footprint, s.footprint))
        highest = ndimage.maximum_filter(np.where(processed, spread, 0), footprint=around)
        peaks = processed & (spread == highest) & (spread > spread.min())
        if loop:
            keep_apart(np.argwhere(peaks))
    elif processed.any():
        found = peak_local_max(
            spread,
            footprint=np.ones((s.footprint, s.footprint)),
            exclude_border=False,
            labels=processed.astype(int),
        )
        if loop:
            found = keep_apart(found)
        peaks[tuple(found.T)] = True
    peaks = remove_small_objects(peaks, max_size=s.marker_below - 1, connectivity=1)
    markers = label(peaks, connectivity=s.marker_connectivity)
    pieces = flood(depth, markers, processed)
    if cleaning.pieces_below:
        sizes = np.bincount(pieces.ravel())
        pieces[sizes[pieces] < cleaning.pieces_below] = 0
    stored = pieces.astype(np.uint8) * np.uint8(255)
    counted = ndimage.label(stored)[0] if s.marker_connectivity == 1 else label(stored)
    return counted.astype(np.int32)


def flood(
    depth: NDArray[np.float64], markers: NDArray[np.integer], mask: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Compact watershed with a line over the whole picture, pixel by pixel, every marker pixel.

    scikit-image up to 0.24 does this when asked for compactness=1 and watershed_line=True; later
    ones draw no line then.
    """
    labels = markers.astype(np.int32)
    dry = mask.copy()
    height, width = mask.shape

    def neighbours(y: int, x: int) -> list[tuple[int, int]]:
        around = ((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x))
        return [(r, c) for r, c in around if 0 <= r < height and 0 <= c < width and dry[r, c]]

    start = [(int(y), int(x)) for y, x in np.argwhere(labels)]
    queue = [(-depth[at], 0, at, at) for at in start]
    heapq.heapify(queue)
    turn = 0
    while queue:
        _, _, at, source = heapq.heappop(queue)
        if not dry[at] or (labels[at] and at != source):
            continue
        if len({int(labels[n]) for n in neighbours(*at)} - {0}) > 1:
            dry[at] = False  # between two labels: line
            continue
        labels[at] = labels[source]
        for n in neighbours(*at):
            if not labels[n]:
                turn += 1
                way = ((n[0] - source[0]) ** 2 + (n[1] - source[1]) ** 2) ** 0.5
                heapq.heappush(queue, (way - depth[n], turn, n, source))
    return labels


def keep_apart(points: NDArray[np.int64], spacing: float = 1.0) -> NDArray[np.int64]:
    """Reject points closer than `spacing` to an earlier one, in a loop over all points, in batches.

    Written anew from what scikit-image 0.19 does between finding peaks and returning them.
    """
    kept = np.empty((0, 2), points.dtype)
    edges, step = [50], 50
    while len(points) - edges[-1] > 2000:
        step *= 2
        edges.append(edges[-1] + min(step, 2000))
    for batch in np.array_split(points, edges):
        kept = np.vstack([kept, batch])
        near = cKDTree(kept).query_ball_point(kept, r=spacing, p=np.inf)
        rejected: set[int] = set()
        for i, others in enumerate(near):
            if i not in rejected:
                others.remove(i)
                apart = distance.cdist([kept[i]], kept[others], distance.minkowski, p=np.inf)[0]
                rejected.update(j for j, d in zip(others, apart, strict=True) if d < spacing)
        kept = np.delete(kept, sorted(rejected), axis=0)
    return kept


def discs(
    n: int, *, shape: tuple[int, int] = (1200, 1600), radius: float = 19.6, seed: int = 0
) -> NDArray[np.bool_]:
    """Mask of n discs of varied size, every third against an earlier one."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    y, x = np.ogrid[: shape[0], : shape[1]]
    cy = cx = r = 0.0
    for i in range(n):
        last, r = r, radius * rng.uniform(0.7, 1.3)
        if i % 3 == 2:
            angle, gap = rng.uniform(0, 2 * np.pi), (last + r) * rng.uniform(0.6, 1.0)
            cy, cx = cy + gap * np.sin(angle), cx + gap * np.cos(angle)
        else:
            cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        mask |= (y - cy) ** 2 + (x - cx) ** 2 < r * r
    return mask


def cases() -> list[Case]:
    mask = discs(48)  # 40 objects by either rule
    made = []
    for name in ("morelli2021", "clissa2023"):
        settings = POSTPROCESS[name]
        made.append(
            Case(
                name=f"post-processing {name}, 1600x1200, 40 objects",
                ours=lambda s=settings: postprocess(mask, s),  # type: ignore[misc]
                reference=lambda s=settings: plain(mask, s, loop=True),  # type: ignore[misc]
                reference_is="the released steps, with the loop of scikit-image 0.18-0.24",
                at_most_s=0.4,
                same=np.array_equal,
            )
        )
    made.append(
        Case(
            name="post-processing recommended, 1600x1200, 40 objects",
            ours=lambda: postprocess(mask, "recommended"),
            at_most_s=0.4,
        )
    )
    return made
