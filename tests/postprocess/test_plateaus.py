import numpy as np
import pytest
from scipy import ndimage

from cellcount_lib.postprocess.plateaus import Plateaus, flood_with_line
from cellcount_lib.postprocess.splitting import distance_inside


def strip(markers):
    """Labels of a one-pixel-high object with these markers, flooded."""
    row = np.array([markers], np.int32)
    mask = np.pad(np.ones(row.shape, bool), 1)
    labels = flood_with_line(distance_inside(mask), np.pad(row, 1), mask)
    return labels[1, 1:-1].tolist()


@pytest.mark.parametrize(
    ("markers", "expected"),
    [
        ([1, 0, 0, 0, 0, 0, 2], [1, 1, 1, 0, 2, 2, 2]),
        ([1, 0, 0, 0, 0, 2], [1, 1, 1, 0, 2, 2]),  # a draw: reading order goes first
        ([2, 0, 0, 0, 0, 1], [2, 2, 2, 0, 1, 1]),  # whatever the numbers
        ([1, 0, 2], [1, 0, 2]),
        ([0, 0, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]),
        ([0, 1, 1, 2, 2, 0], [1, 1, 1, 2, 2, 2]),  # markers that touch get no line
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_flood_of_a_strip(markers, expected):
    assert strip(markers) == expected


def test_flood_leaves_a_closed_line():
    y, x = np.ogrid[:80, :120]
    two = ((y - 40) ** 2 + (x - 40) ** 2 < 400) | ((y - 40) ** 2 + (x - 76) ** 2 < 400)
    distance = distance_inside(two)
    labels = flood_with_line(distance, Plateaus().markers(distance, two), two)
    assert labels.max() == 2
    assert ndimage.label(labels > 0)[1] == 2
    assert 0 < np.count_nonzero(two & (labels == 0)) < 40


def test_objects_do_not_interfere():
    y, x = np.ogrid[:80, :200]
    left = ((y - 40) ** 2 + (x - 30) ** 2 < 400) | ((y - 40) ** 2 + (x - 62) ** 2 < 400)
    right = (y - 40) ** 2 + (x - 150) ** 2 < 400
    markers = np.zeros(left.shape, np.int32)
    markers[40, [30, 62, 150]] = 1, 2, 3
    both = flood_with_line(distance_inside(left | right), markers, left | right)
    alone = flood_with_line(distance_inside(left), markers * left, left)
    np.testing.assert_array_equal(both * left, alone)
    assert (both[right] == 3).all()


def test_objects_that_touch_at_a_corner_may_share_a_marker():
    mask = np.zeros((6, 6), bool)
    mask[1:3, 1:3] = mask[3:5, 3:5] = True
    markers = np.where(mask, 1, 0).astype(np.int32)  # one, joined by the corner
    labels = flood_with_line(distance_inside(mask), markers, mask)
    np.testing.assert_array_equal(labels, markers)
    markers[3:5, 3:5] = 0
    markers[2, 2] = markers[4, 4] = 2  # now 2 is in both, and 1 in the first only
    labels = flood_with_line(distance_inside(mask), markers, mask)
    assert (labels[3:5, 3:5] == 2).all()
    assert set(labels[1:3, 1:3].ravel()) == {1, 2}


def test_sizes_are_those_of_the_released_code_unless_said_otherwise():
    # R21: maximum_filter(30), a footprint of 40x40, plateaus of 25 pixels, labelled by edges, uint8
    assert Plateaus() == Plateaus(30, 40, 25, 1, flat_is_empty=False, eight_bit=True)
