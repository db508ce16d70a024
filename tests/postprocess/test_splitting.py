from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from cellcount_lib.postprocess.splitting import Necks, Peaks, distance_inside


@pytest.mark.parametrize("seed", range(5))
def test_distance_is_bitwise_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 300, 2)
    mask = ndimage.gaussian_filter(rng.standard_normal(shape), 6) > rng.uniform(-0.1, 0.05)
    np.testing.assert_array_equal(distance_inside(mask), ndimage.distance_transform_edt(mask))


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 2), (30, 30)])
def test_distance_in_long_pictures_and_without_background(shape):
    mask = np.ones(shape, bool)
    np.testing.assert_array_equal(distance_inside(mask), ndimage.distance_transform_edt(mask))
    mask[0, 0] = False
    np.testing.assert_array_equal(distance_inside(mask), ndimage.distance_transform_edt(mask))


def test_a_neck_splits_by_its_depth():
    # two squares of half-width 10 (distance 10 in the middle), joined by a bar of half-width w
    def joined(w):
        mask = np.zeros((41, 81), bool)
        mask[11:30, 6:25] = mask[11:30, 56:75] = True
        mask[20 - w + 1 : 20 + w, 15:66] = True
        return mask.astype(np.int32)

    for w in range(2, 10):
        pieces = Necks(3).split(joined(w), below=1).max()
        assert (pieces > 1) == (10 - w > 3), w


def test_peaks_are_told_by_their_height_over_the_pass_at_any_level():
    one = np.pad(np.ones((3, 7), np.int32), 2)
    heatmap = np.pad([[0.5, 0.9, 0.5, 0.61, 0.6, 0.69, 0.6]] * 3, 2)  # the last stands out by 0.09
    for level in (0, -0.6, -5, 5):
        pieces = Peaks(0.1).split(one, below=1, heatmap=heatmap + level)
        assert pieces[3, 2:9].tolist() in ([1, 1, 1, 2, 2, 2, 2], [1, 1, 2, 2, 2, 2, 2]), level
        np.testing.assert_array_equal(Peaks(0.5).split(one, below=1, heatmap=heatmap + level), one)


def test_a_peak_whose_pixels_touch_by_corners_is_one():
    heatmap = np.where(np.eye(3), 0.9, 0.5)
    one = np.ones((3, 3), np.int32)
    np.testing.assert_array_equal(Peaks(0.1).split(one, heatmap=heatmap), one)


def test_small_pieces_go_back_to_their_neighbour():
    y, x = np.ogrid[:80, :100]
    one = ((y - 40) ** 2 + (x - 35) ** 2 < 400) | ((y - 40) ** 2 + (x - 62) ** 2 < 81)
    labels = one.astype(np.int32)
    parted = Necks(1.5).split(labels, below=100)
    small = np.bincount(parted.ravel())[1:].min()
    assert parted.max() == 2
    assert Necks(1.5).split(labels, below=int(small)).max() == 2
    whole = Necks(1.5).split(labels, below=int(small) + 1)
    np.testing.assert_array_equal(whole, labels)


def test_a_small_piece_joins_a_piece_of_its_own_object_however_low_the_pass():
    objects = np.array([[2, 1, 1, 1, 1, 1]], np.int32)
    heatmap = np.array([[0.95, 0.9, 0.5, 0.6, 0.8, 0.6]])
    assert Peaks(0.1).split(objects, heatmap=heatmap).max() == 3
    for turns in range(4):
        turned = np.rot90(objects, turns)
        joined = Peaks(0.1).split(turned, below=3, heatmap=np.rot90(heatmap, turns))
        np.testing.assert_array_equal(joined, turned)


def test_gaps_in_label_numbers_and_touching_labels_are_kept_apart():
    labels = np.zeros((40, 60), np.int32)
    labels[10:30, 10:30] = 7
    labels[10:30, 30:50] = 3
    parted = Necks(1.5).split(labels, below=10)
    assert sorted(np.unique(parted)) == [0, 1, 2]
    assert len(np.unique(parted[labels == 7])) == len(np.unique(parted[labels == 3])) == 1


def test_pieces_join_over_the_highest_pass_until_all_are_large_enough():
    # a chain of squares whose passes are (half-widths) 2, 6 and 3 wide; the second square is small
    mask = np.zeros((41, 130), bool)
    for x, half in ((5, 14), (45, 8), (70, 14), (108, 10)):
        mask[20 - half : 21 + half, x : x + 2 * half + 1] = True
    for x, half in ((30, 2), (58, 6), (95, 3)):
        mask[20 - half : 21 + half, x : x + 20] = True
    labels = mask.astype(np.int32)
    free = Necks(1).split(labels, below=0)
    at = [free[20, x] for x in (19, 52, 84, 118)]
    assert len(set(at)) == 4 == free.max()
    sizes = np.bincount(free.ravel())
    merged = Necks(1).split(labels, below=int(sizes[at[1]]) + 1)
    small, left, right, last = (merged[20, x] for x in (52, 19, 84, 118))
    assert small == right
    assert len({left, right, last}) == 3 == merged.max()
    np.testing.assert_array_equal(Necks(1).split(labels, below=10**6), labels)


def join_one_after_the_other(pieces, heights, below):
    """Say what the rule says: the smallest first, over the highest pass, until all are large."""
    pieces = pieces.copy()
    while True:
        sizes = Counter(pieces[pieces > 0].tolist())
        size, small = min((size, piece) for piece, size in sizes.items())
        if size >= below or len(sizes) == 1:
            return np.unique(pieces, return_inverse=True)[1].reshape(pieces.shape)
        passes = {}
        for y, x in np.argwhere(pieces == small):
            for v, u in product((y - 1, y, y + 1), (x - 1, x, x + 1)):
                other = int(pieces[v, u])
                if other not in (0, small):
                    height = min(heights[y, x], heights[v, u])
                    passes[other] = max(height, passes.get(other, 0))
        pieces[pieces == small] = max(passes, key=lambda other: (passes[other], -other))


@pytest.mark.parametrize("seed", range(8))
def test_small_pieces_join_as_if_one_after_the_other(seed):
    rng = np.random.default_rng(seed)
    one = np.pad(np.ones((14, 17), np.int32), 1)
    heights = np.round(ndimage.gaussian_filter(rng.random(one.shape), 0.7), 2)
    whole = Peaks(0.02).split(one, heatmap=heights)
    assert whole.max() > 12
    for below in (4, 7, 12, 30, 100, 150):
        joined = Peaks(0.02).split(one, below=below, heatmap=heights)
        np.testing.assert_array_equal(joined, join_one_after_the_other(whole, heights, below))


@pytest.mark.parametrize("below", [0, 50, 400])
def test_nothing_is_lost_in_noise_and_numbers_have_no_gaps(below):
    rng = np.random.default_rng(3)
    mask = ndimage.gaussian_filter(rng.standard_normal((150, 200)), 3) > 0
    mask[:, :5] = True  # up to the edge of the picture
    labels = ndimage.label(mask, np.ones((3, 3)))[0].astype(np.int32)
    parted = Necks(1.5).split(labels, below=below)
    np.testing.assert_array_equal(parted > 0, mask)
    assert (np.bincount(parted.ravel()) > 0).all()
    objects = np.bincount(labels.ravel())
    for piece in range(1, parted.max() + 1):
        where = parted == piece
        (home,) = np.unique(labels[where])
        assert ndimage.label(where, np.ones((3, 3)))[1] == 1
        assert where.sum() >= min(below, objects[home])
