import numpy as np
import pytest

from cellcount_lib.data.stretch import stretched


def grey(values):
    return np.asarray(values, np.uint8)[..., None].repeat(3, axis=2)


def test_by_hand():
    # 1001 values in order: the percentiles 1 and 99.8 are those at places 10 and 998
    values = np.full((1, 1001), 60)
    values[0, :11], values[0, 998:] = 20, 120
    values[0, 0], values[0, 1000] = 3, 250
    found = stretched(grey(values))[0, :, 0]
    assert found[[0, 5, 500, 998, 1000]].tolist() == [0, 0, 102, 255, 255]  # (60 - 20) / 100


def test_colours_follow_the_brightest_channel():
    image = np.zeros((10, 100, 3), np.uint8)
    image[..., 0] = np.arange(100)  # from 1 to 98.8 or so
    image[..., 1] = 50
    found = stretched(image)
    low, high = np.percentile(np.maximum(image[..., 0], 50), (1, 99.8))
    np.testing.assert_array_equal(found[..., 1], 0)  # 50 is the darkest of the brightest
    assert found[0, 75, 0] == round(255 * (75 - low) / (high - low))


@pytest.mark.parametrize(("top", "changed"), [(33, False), (34, True)])
def test_the_guard(top, changed):
    values = np.full((40, 40), 10)
    values[::2] = top  # a range of 23 or 24
    image = grey(values)
    assert (stretched(image) != image).any() == changed
    if not changed:
        assert stretched(image) is image


def test_nothing_to_see():
    for image in (grey(np.zeros((5, 5))), grey(np.full((1, 1), 255))):
        np.testing.assert_array_equal(stretched(image), image)
