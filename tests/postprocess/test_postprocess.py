from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.io import imread

from benchmarks.postprocess import discs, plain
from cellcount_lib.errors import InputError
from cellcount_lib.postprocess.cleaning import Cleaning, Way, fill_holes
from cellcount_lib.postprocess.plateaus import Plateaus
from cellcount_lib.postprocess.postprocess import (
    POSTPROCESS,
    Cores,
    Enclosed,
    Postprocessing,
    postprocess,
)
from cellcount_lib.postprocess.splitting import Necks, Peaks
from cellcount_lib.scoring.matching import match

HISTORICAL = ("morelli2021", "clissa2023")


def unsplit(name, **cleaning):
    return Postprocessing(replace(POSTPROCESS[name].cleaning, **cleaning), Way())


def told(name, **changes):
    """Change how touching cells are told apart."""
    touching = replace(POSTPROCESS[name].touching, **changes)
    return replace(POSTPROCESS[name], touching=touching)


def disc(shape, *circles):
    y, x = np.ogrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    for cy, cx, r in circles:
        mask |= (y - cy) ** 2 + (x - cx) ** 2 < r * r
    return mask


def random_mask(rng):
    shape = tuple(rng.integers(1, 220, 2))
    seed = int(rng.integers(10**6))
    kind = rng.integers(6)
    if kind == 0:  # of real positions and sizes, many cut by the border
        return discs(int(rng.integers(30)), shape=shape, radius=rng.uniform(5, 35), seed=seed)
    if kind == 1:  # whole numbers: many equal distances
        circles = rng.integers([0, 0, 4], [shape[0], shape[1], 26], (rng.integers(1, 12), 3))
        return disc(shape, *circles)
    if kind == 2:  # blobs of any shape
        field = ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(2, 9))
        return field > np.quantile(field, rng.uniform(0.05, 0.98))
    if kind == 3:  # with holes
        body = discs(int(rng.integers(1, 9)), shape=shape, radius=rng.uniform(15, 45), seed=seed)
        return body & ~discs(20, shape=shape, radius=rng.uniform(2, 14), seed=seed + 1)
    if kind == 4:  # boxes
        mask = np.zeros(shape, bool)
        for y, x, h, w in rng.integers(0, (*shape, 80, 80), (rng.integers(1, 9), 4)):
            mask[y : y + h, x : x + w] = True
        return mask
    return rng.random(shape) < rng.uniform(0, 1)


@pytest.mark.parametrize("seed", range(6))
def test_holes_are_those_that_labelling_the_background_finds(seed):
    rng = np.random.default_rng(seed)
    filled = 0
    for _ in range(50):
        mask = random_mask(rng)
        below = int(rng.choice([0, 1, 2, 5, 30, 200, 10**5]))
        regions = ndimage.label(~mask)[0]
        sizes = np.bincount(regions.ravel())
        ours = fill_holes(mask, below)
        assert ours.shape == mask.shape
        np.testing.assert_array_equal(ours, mask | (sizes[regions] < below))
        filled += int((ours & ~mask).sum())
    assert filled > 0


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 4)])
def test_a_mask_of_one_value_is_one_hole_or_none(shape, value):
    mask = np.full(shape, value)
    assert fill_holes(mask, mask.size + 1).all()
    np.testing.assert_array_equal(fill_holes(mask, mask.size), mask)


@pytest.mark.parametrize("name", HISTORICAL)
@pytest.mark.parametrize("seed", range(6))
def test_equals_the_plain_rule_on_random_masks(name, seed):
    rng = np.random.default_rng(seed)
    pieces = 0
    for _ in range(20):
        mask, scale = random_mask(rng), rng.choice([1.0, 1.0, 0.5, 0.7])
        ours = postprocess(mask, name, scale=scale)
        expected = plain(mask, POSTPROCESS[name].scaled(scale))
        np.testing.assert_array_equal(ours, expected)
        pieces += ours.max() - ndimage.label(ours, np.ones((3, 3)))[1]
    assert pieces > 0, "no object was split: the masks do not test splitting"


@pytest.mark.parametrize("name", HISTORICAL)
@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((50, 60), bool),
        np.ones((50, 60), bool),  # no background anywhere
        np.ones((1, 1), bool),
        np.pad(np.ones((1, 1), bool), 20),
        np.eye(80, dtype=bool),  # connected by corners only
        ~np.pad(np.ones((20, 20), bool), 2),  # a frame around a hole of 400
        ~np.pad(np.ones((40, 40), bool), 20),
    ],
    ids=["empty", "full", "one", "pixel", "diagonal", "frame", "thick-frame"],
)
def test_equals_the_plain_rule_on_edge_cases(name, mask):
    np.testing.assert_array_equal(postprocess(mask, name), plain(mask, POSTPROCESS[name]))


@pytest.mark.parametrize("name", HISTORICAL)
def test_equals_the_plain_rule_on_real_masks(name, samples_dir):
    files = sorted((samples_dir / "fnc_sample" / "yellow" / "masks").glob("*.png"))
    counts = {}
    for file in files:
        mask = imread(file) > 0
        mask = mask if mask.ndim == 2 else mask[..., 0]
        ours = postprocess(mask, name)
        np.testing.assert_array_equal(ours, plain(mask, POSTPROCESS[name]))
        counts[file.name] = (ndimage.label(mask)[1], int(ours.max()))
    # two cells of the third picture get no marker and vanish
    assert sorted(counts.values()) == [(4, 4), (6, 6), (35, 33)]


def test_recommended_keeps_all_cells_of_real_masks(samples_dir):
    for file in sorted((samples_dir / "fnc_sample" / "yellow" / "masks").glob("*.png")):
        mask = imread(file) > 0
        mask = mask if mask.ndim == 2 else mask[..., 0]
        found = match(
            ndimage.label(mask)[0], postprocess(mask, "recommended"),
            rule="hungarian-iou", threshold=0.5,
        )  # fmt: skip
        assert (found.fp, found.fn) == (0, 0)


@pytest.mark.parametrize(("size", "kept"), [(199, 0), (200, 1), (201, 1)])
@pytest.mark.parametrize("name", [*HISTORICAL, "recommended"])
def test_object_sizes_are_compared_with_less_than(name, size, kept):
    settings = unsplit(name, smooth_radius=0)
    mask = np.zeros((40, 40), bool)
    rows, columns = np.divmod(np.arange(size), 11)
    mask[5 + rows, 5 + columns] = True
    assert postprocess(mask, settings).max() == kept


@pytest.mark.parametrize(
    ("name", "hole", "filled"),
    [
        ("morelli2021", 599, True),
        ("morelli2021", 600, False),
        ("morelli2021", 601, False),
        ("clissa2023", 49, True),
        ("clissa2023", 50, False),
        ("recommended", 99, True),
        ("recommended", 100, False),
    ],
)
def test_hole_sizes_are_compared_with_less_than(name, hole, filled):
    settings = unsplit(name, smooth_radius=0)
    mask = np.zeros((80, 80), bool)
    mask[10:70, 10:70] = True
    rows, columns = np.divmod(np.arange(hole), 25)
    mask[20 + rows, 20 + columns] = False
    assert (np.count_nonzero(postprocess(mask, settings)) == 3600) == filled


def test_background_cut_off_by_the_edge_is_a_hole():
    mask = np.ones((60, 60), bool)
    mask[:10, :10] = False
    assert postprocess(mask, unsplit("morelli2021")).all()


def test_a_picture_of_small_round_cells_loses_them_all_by_the_historical_rule():
    small = disc((200, 200), (40, 40, 12), (140, 60, 11), (90, 150, 12))
    distance = ndimage.distance_transform_edt(small)
    high = ndimage.maximum_filter(distance, size=30, mode="constant")
    peaks = peak_local_max(
        high, footprint=np.ones((40, 40)), exclude_border=False, labels=small.astype(int)
    )
    assert len(peaks) < 25, "scikit-image itself takes this picture to be flat"
    for name in HISTORICAL:
        assert postprocess(small, told(name, flat_is_empty=True)).max() == 0
        assert postprocess(small, told(name, flat_is_empty=False)).max() == 3
    # R21 ran on a scikit-image before this rule, R23 after it
    assert postprocess(small, "morelli2021").max() == 3
    assert postprocess(small, "clissa2023").max() == 0
    assert postprocess(small, "recommended").max() == 3
    # one big cell, and the small ones are back
    assert postprocess(small | disc((200, 200), (150, 150, 25)), "clissa2023").max() == 4


def test_a_small_cell_beside_a_big_one_vanishes_by_the_historical_rule():
    # apart, but the big one's plateau lies higher within 20 pixels of all of the small one
    mask = disc((120, 160), (60, 60, 30), (60, 101, 10))
    assert ndimage.label(mask)[1] == 2
    assert postprocess(mask, "morelli2021").max() == 1
    assert postprocess(mask, "recommended").max() == 2


def test_what_an_opening_removes_saves_a_flat_object():
    mask = np.zeros((60, 60), bool)
    mask[24:36, 24:36] = True  # a core of 12 x 12,
    mask[22, 22:38] = mask[22:38, 22] = mask[37, 22:38] = True  # in an open ring, 1 pixel wide,
    mask[22:33, 37] = mask[30, 22:24] = True  # joined to it, all plateau
    assert np.count_nonzero(mask) >= 200
    assert postprocess(mask, told("morelli2021", flat_is_empty=True)).max() == 1
    fewer = told("morelli2021", flat_is_empty=True, marker_below=80)
    assert postprocess(mask, fewer).max() == 0


def test_the_lowest_plateau_of_a_picture_without_empty_parts_is_no_marker():
    mask = np.zeros((12, 200), bool)
    mask[:, :31] = True
    mask[3:9, 36:] = True  # 6 thick, so its plateau is 3, and no pixel of the picture is lower
    labels = postprocess(mask, "morelli2021")
    assert labels.max() == 1
    assert not labels[:, 36:].any()
    # the view widens, and there is lower ground
    assert postprocess(np.pad(mask, ((0, 40), (0, 0))), "morelli2021").max() == 2


def test_small_pictures_full_of_cells_are_seen_whole():
    # cut to the cells' own box, the spread map would lack the low ground that tells plateaus
    mask = disc((90, 23), (57, 13, 10), (28, 7, 9))
    assert postprocess(mask, "morelli2021").max() == 2
    np.testing.assert_array_equal(
        postprocess(mask, "morelli2021"), plain(mask, POSTPROCESS["morelli2021"])
    )


def test_the_narrowest_filter_sees_the_background_on_every_side():
    mask = np.pad(np.ones((20, 30), bool), 20)  # its plateau: 2 x 12 pixels in the middle
    for below, found in ((24, 1), (25, 0)):
        narrow = told("morelli2021", spread=1, footprint=9, marker_below=below)
        assert postprocess(mask, narrow).max() == plain(mask, narrow).max() == found


def test_every_256th_object_is_lost_by_the_historical_rule():
    mask = np.zeros((50 * 20, 50 * 15), bool)
    for y in range(5, mask.shape[0], 50):
        for x in range(5, mask.shape[1], 50):
            mask[y : y + 40, x : x + 40] = True
    for name in HISTORICAL:
        assert postprocess(mask, name).max() == 299
        assert postprocess(mask, told(name, eight_bit=False)).max() == 300
    assert postprocess(mask, "recommended").max() == 300


def test_opening_and_closing_of_2023_cut_bridges_and_fill_notches():
    mask = disc((120, 200), (60, 60, 25), (60, 140, 25))
    mask[58:62, 60:140] = True  # a bridge of 4 pixels, narrower than the disk
    assert postprocess(mask, unsplit("clissa2023")).max() == 2
    assert postprocess(mask, unsplit("clissa2023", smooth_radius=0)).max() == 1


def test_recommended_never_loses_an_object_or_a_pixel():
    rng = np.random.default_rng(5)
    for _ in range(30):
        mask = random_mask(rng)
        whole = postprocess(mask, unsplit("recommended"))
        split = postprocess(mask, "recommended")
        np.testing.assert_array_equal(split > 0, whole > 0)
        assert set(np.unique(whole[whole > 0])) == {
            int(whole.ravel()[np.flatnonzero(split == i)[0]]) for i in range(1, split.max() + 1)
        }
        if split.max() > whole.max():
            assert min(np.bincount(split.ravel())[1:]) >= 200


def test_recommended_splits_touching_discs_at_least_as_well_as_2021():
    rng = np.random.default_rng(0)
    found = {"morelli2021": 0, "clissa2023": 0, "recommended": 0}
    pairs = 60
    for _ in range(pairs):
        r1, r2 = rng.uniform(15, 24, 2)
        angle, gap = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.0) * (r1 + r2)
        a = disc((180, 180), (75, 75, r1))
        b = disc((180, 180), (75 + gap * np.sin(angle), 75 + gap * np.cos(angle), r2))
        true = a.astype(int)
        true[b & ~a] = 2
        for name in found:
            pred = postprocess(a | b, name)
            found[name] += match(true, pred, rule="hungarian-iou", threshold=0.5).tp
    assert found["recommended"] == 2 * pairs
    assert max(found["morelli2021"], found["clissa2023"]) < 2 * pairs


@pytest.mark.parametrize(
    "mask",
    [
        disc((60, 60), (30, 30, 18)),
        disc((100, 100), (50, 50, 20)) | np.pad(np.ones((4, 60), bool), ((48, 48), (35, 5))),
        np.abs(np.indices((80, 120))[0] - 40) ** 2 / 14**2
        + np.abs(np.indices((80, 120))[1] - 60) ** 2 / 40**2
        < 1,
    ],
    ids=["disc", "disc-with-process", "ellipse"],
)
def test_recommended_leaves_single_cells_whole(mask):
    assert postprocess(mask, "recommended").max() == 1


def test_objects_are_numbered_in_reading_order():
    mask = disc((200, 200), (150, 40, 22), (40, 150, 22), (45, 50, 25))
    for name in POSTPROCESS:
        labels = postprocess(mask, name)
        first = [np.flatnonzero(labels == i)[0] for i in range(1, labels.max() + 1)]
        assert len(first) == 3
        assert first == sorted(first)
        assert labels.dtype == np.int32


def test_masks_from_files_and_the_input_are_left_alone():
    mask = disc((100, 100), (50, 50, 20))
    as_file = mask.astype(np.uint8) * 255
    kept = as_file.copy()
    for name in POSTPROCESS:
        np.testing.assert_array_equal(postprocess(as_file, name), postprocess(mask, name))
    np.testing.assert_array_equal(as_file, kept)


def test_scaling():
    settings = POSTPROCESS["morelli2021"]
    assert settings.scaled(1.0) is settings
    twice = settings.scaled(2)
    assert (twice.touching.spread, twice.touching.footprint) == (60, 80)
    assert twice.cleaning == Cleaning(holes_below=2400, objects_below=800)
    third = POSTPROCESS["clissa2023"].scaled(0.3)
    assert third.cleaning == Cleaning(
        smooth_radius=1, holes_below=5, objects_below=18, pieces_below=18
    )
    assert third.touching == Plateaus(9, 12, 2, marker_connectivity=2, flat_is_empty=True)
    assert settings.scaled(0.001).touching.spread == 1
    assert POSTPROCESS["clissa2023"].scaled(0.5).cleaning.holes_below == 13  # 12.5: halves go up
    assert POSTPROCESS["recommended"].scaled(0.5).touching == Necks(0.75)
    assert Enclosed(2.0, 50, largest=4536).scaled(0.5) == Enclosed(1.0, 13, largest=1134)
    assert Cores(3.0, 50).scaled(2.0) == Cores(6.0, 200)
    assert Peaks(0.1).scaled(0.5) == Peaks(0.1)


def test_cores_grow_until_they_meet_and_specks_do_not():
    mask = np.zeros((9, 24), bool)
    mask[3:6, 3:6] = mask[3:6, 9:12] = True  # two cores of 9 pixels, 3 pixels apart,
    mask[4, 19] = True  # and a speck
    labels = postprocess(mask, Postprocessing(Cleaning(objects_below=20), Cores(1.0, 2)))
    cross = ndimage.binary_dilation(mask)
    cross[:, 16:] = False
    np.testing.assert_array_equal(labels > 0, cross)
    assert np.bincount(labels.ravel())[1:].tolist() == [21, 21]
    # by 2 pixels they meet in the middle column, which is either's
    wide = postprocess(mask, Postprocessing(Cleaning(objects_below=20), Cores(2.0, 2)))
    assert wide[4, 1:14].tolist() == [1] * 6 + [wide[4, 7]] + [2] * 6
    assert wide[4, 7] in (1, 2)
    # a speck that is no core still counts if nothing is said about its size
    assert postprocess(mask, Postprocessing(Cleaning(), Cores(1.0))).max() == 3
    # what has grown must be as large as any object
    assert postprocess(mask, Postprocessing(Cleaning(objects_below=22), Cores(1.0))).max() == 0


def test_outlines_enclose_cells_and_background_is_too_large_for_one():
    mask = np.zeros((20, 30), bool)
    mask[2:9, 2:9] = mask[2:9, 8:16] = True
    mask[3:8, 3:8] = mask[3:8, 9:15] = False  # two rooms, of 25 and 30 pixels, with one wall
    outside = np.count_nonzero(~mask) - 55
    shut = Postprocessing(Cleaning(smooth_radius=3, holes_below=100), Enclosed(largest=30))
    assert np.bincount(postprocess(mask, shut).ravel()).tolist() == [545, 25, 30]
    smaller = replace(shut, touching=Enclosed(largest=29))
    assert np.bincount(postprocess(mask, smaller).ravel()).tolist() == [575, 25]
    assert postprocess(mask, replace(shut, touching=Enclosed(largest=outside))).max() == 3
    grown = postprocess(mask, replace(shut, touching=Enclosed(1.0, largest=30)))
    # three walls of 5 pixels, those of 6, 6 and 5 pixels, and the one of 5 that they share
    assert np.count_nonzero(grown) == 55 + 15 + 17 + 5
    assert grown.max() == 2


def test_the_result_follows_the_scale():
    circles = [(60, 60, 20), (60, 95, 20), (150, 150, 24), (200, 60, 30)]
    big = disc((260, 260), *circles)
    small = disc((130, 130), *[tuple(v / 2 for v in c) for c in circles])
    for name in ("morelli2021", "recommended"):
        assert postprocess(big, name).max() == postprocess(small, name, scale=0.5).max() == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: postprocess(m, "morelli2012"), "did you mean 'morelli2021'"),
        (lambda m: postprocess(m, "recommended", scale=0), "scale: expected a finite number > 0"),
        (lambda m: postprocess(m, "recommended", scale=float("nan")), "scale"),
        (lambda m: postprocess(m[None], "none"), "mask: expected a two-dimensional"),
        (lambda m: postprocess(np.where(m, np.nan, 0.0), "none"), "mask: expected finite"),
        (lambda m: postprocess(np.zeros((0, 4), bool), "none"), "at least one pixel"),
        (lambda m: Cleaning(connectivity=8), "^connectivity: expected 1 or 2, found 8"),
        (lambda m: Cleaning(holes_below=-1), "holes_below: expected a number >= 0, found -1"),
        (lambda m: Plateaus(spread=0), "spread: expected a number >= 1, found 0"),
        (lambda m: Plateaus(marker_connectivity=4), "marker_connectivity: expected 1 or 2"),
        (lambda m: Necks(-0.5), "depth: expected a number >= 0"),
        (lambda m: Peaks(-0.5), "height: expected a number >= 0"),
        (lambda m: Cores(grow=-1), "grow: expected a number >= 0"),
        (lambda m: Enclosed(cores_below=-1), "cores_below: expected a number >= 0"),
        (lambda m: Enclosed(largest=-1), "largest: expected a number >= 0"),
        (lambda m: postprocess(m, Postprocessing(Cleaning(), Peaks(0.1))), "heatmap: expected one"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call(disc((20, 20), (10, 10, 5)))
