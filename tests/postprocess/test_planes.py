"""Polygons and flows into objects: by hand, and against plain loops."""

import numpy as np
import pytest

from cellcount_lib.data.shapes import FLOW_UNIT, directions
from cellcount_lib.errors import InputError
from cellcount_lib.postprocess.cleaning import Cleaning
from cellcount_lib.postprocess.following import REACH, STEPS, Follow
from cellcount_lib.postprocess.stars import Stars

NOTHING = Cleaning()


def proposals(shape, rows, number=4):
    """A heatmap with a polygon at each of some pixels, from (y, x, probability, length of rays)."""
    heatmap = np.zeros((1 + number, *shape), np.float32)
    for y, x, probability, length in rows:
        heatmap[0, y, x], heatmap[1:, y, x] = probability, length
    return heatmap


def diamond(shape, y, x, reach):
    lines, columns = np.indices(shape)
    return np.abs(lines - y) + np.abs(columns - x) <= reach


def test_the_most_probable_polygon_stays_and_those_that_repeat_it_go():
    # Four rays make diamonds: |dy| + |dx| up to the length. In the order of their probability:
    a = (20, 20, 0.9, 10.5)
    b = (20, 25, 0.8, 10.5)  # its pixel lies in a: gone, however far it reaches
    c = (20, 36, 0.7, 10.5)  # shares 13 of its 221 pixels with a: stays, and a keeps the 13
    d = (15, 14, 0.6, 3.5)  # begins beside a, but has 11 of its 25 pixels there: gone
    e = (26, 15, 0.5, 2.5)  # the same with 5 of 13, which is below 0.4: stays
    shape = (45, 60)
    heatmap = proposals(shape, [e, d, c, b, a])
    found = Stars().label(heatmap[0] > 0.1, NOTHING, heatmap)
    expected = np.zeros(shape, int)
    for number, (y, x, _, length) in ((3, e), (2, c), (1, a)):
        expected[diamond(shape, y, x, length)] = number
    np.testing.assert_array_equal(found, expected)
    assert (found == 2).sum() == 221 - 13
    # a limit of 0.5 keeps d, too
    assert Stars(overlap=0.5).label(heatmap[0] > 0.1, NOTHING, heatmap).max() == 4
    assert (Stars().label(heatmap[0] > 0.1, Cleaning(objects_below=200), heatmap) > 0).sum() == 429
    half = proposals(shape, [(20, 20, 0.9, 5.25)])
    np.testing.assert_array_equal(
        Stars(unit=2.0).label(half[0] > 0.1, NOTHING, half) > 0, diamond(shape, 20, 20, 10)
    )


def stars_by_a_loop(mask, heatmap, overlap):
    """Every proposal, drawn by the crossing rule; the nearest of equals is the first one."""
    lines, columns = np.indices(mask.shape)
    taken, count = np.zeros(mask.shape, int), 0
    places = sorted(np.argwhere(mask).tolist(), key=lambda place: -heatmap[(0, *place)])
    for y, x in places:
        corners = np.array([y, x]) + heatmap[1:, y, x, None] * directions(len(heatmap) - 1)
        inside = np.zeros(mask.shape, bool)
        for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
            spans = (y0 > lines) != (y1 > lines)
            with np.errstate(divide="ignore", invalid="ignore"):
                inside ^= spans & (columns < (x1 - x0) * (lines - y0) / (y1 - y0) + x0)
        if taken[y, x] or (inside & (taken > 0)).sum() > overlap * inside.sum():
            continue
        count += 1
        taken[y, x] = count
        taken[inside & ((taken == 0) | (taken == count))] = count
    return taken


def test_polygons_against_a_loop_over_proposals():
    rng = np.random.default_rng(3)
    heatmap = np.concatenate([rng.random((1, 30, 40)), rng.uniform(1.5, 6.5, (16, 30, 40))])
    mask = heatmap[0] > 0.8
    found = Stars(overlap=0.3).label(mask, NOTHING, heatmap.astype(np.float32))
    np.testing.assert_array_equal(found, stars_by_a_loop(mask, heatmap, 0.3))
    assert found.max() > 10


def follow_by_a_loop(mask, heatmap, step):
    """Follow every pixel alone; count ends, find peaks and the nearest peak of an end by loops."""
    ends = {}
    for start in np.argwhere(mask):
        place = start.astype(np.float32)
        for _ in range(STEPS):
            y, x = np.rint(place).astype(int)
            flow = heatmap[1:, y, x] / np.float32(FLOW_UNIT) * mask[y, x]
            flow = flow / max(1, np.hypot(*flow)) * step
            place = np.clip(place + flow, 0, np.array(mask.shape) - 1)
        ends[tuple(start)] = tuple((place / step).astype(int))
    count = np.zeros([int(n / step) + 1 for n in mask.shape], int)
    for end in ends.values():
        count[end] += 1
    around = lambda a, y, x, r: a[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1]  # noqa: E731
    sums = np.array(
        [
            [around(count, y, x, 1).sum() for x in range(count.shape[1])]
            for y in range(count.shape[0])
        ]
    )
    peaks = [p for p in np.argwhere(sums).tolist() if sums[tuple(p)] == around(sums, *p, 2).max()]
    groups = []
    for peak in peaks:
        near = [g for g in groups if any(max(abs(peak[0] - y), abs(peak[1] - x)) < 2 for y, x in g)]
        groups = [g for g in groups if g not in near] + [[peak, *(p for g in near for p in g)]]
    cells = {}
    for start, end in ends.items():
        distances = [min(np.hypot(end[0] - y, end[1] - x) for y, x in g) for g in groups]
        if min(distances) <= REACH:
            cells[start] = int(np.argmin(distances))
    return cells


@pytest.mark.parametrize("step", [1.0, 1.7])
def test_flows_against_a_loop_over_pixels(step):
    lines, columns = np.indices((30, 44)).astype(np.float32)
    heatmap = np.zeros((3, 30, 44), np.float32)
    heatmap[1] = 14 - lines
    heatmap[2] = np.where(columns < 22, 10, 33) - columns
    heatmap[1:] *= FLOW_UNIT / np.maximum(1, np.hypot(*heatmap[1:]))
    heatmap[1:] += np.random.default_rng(0).normal(0, 1, (2, 30, 44)).astype(np.float32)
    mask = (lines - 14) ** 2 + (columns - 22) ** 2 < 17**2
    found = Follow(step).label(mask, NOTHING, heatmap)
    expected = follow_by_a_loop(mask, heatmap, step)
    assert (found > 0).sum() == len(expected)
    pairs = {(int(found[place]), cell) for place, cell in expected.items()}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert found[14, 6] != found[14, 38]
    large = Follow(step).label(mask, Cleaning(objects_below=100), heatmap)
    assert set(np.unique(large)) == {0, found[14, 6], found[14, 38]}


@pytest.mark.parametrize("way", [Stars(), Follow()])
def test_nothing_is_found_in_nothing_and_planes_are_needed(way):
    nothing = np.zeros((6, 7), bool)
    assert not way.label(nothing, NOTHING, np.zeros((3, 6, 7), np.float32)).any()
    for heatmap in (None, np.zeros((6, 7), np.float32)):
        with pytest.raises(InputError, match="heatmap: expected planes"):
            way.label(nothing, NOTHING, heatmap)
