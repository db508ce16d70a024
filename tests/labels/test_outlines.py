import numpy as np
import pytest
from scipy import ndimage

from cellcount_lib.errors import DataError
from cellcount_lib.labels.outlines import filled, one_ring, ring_area, rings
from tests.labels.plain import filled_by_matplotlib

EIGHT = np.ones((3, 3))


def whole(outlines, shape):
    """What `filled` returns, in a picture."""
    box, inside = filled(outlines, shape)
    picture = np.zeros(shape, bool)
    picture[box] = inside
    return picture


def test_rings_of_small_masks_by_hand():
    # an L of three pixels, clockwise from its upper left corner
    corner = np.array([[1, 0], [1, 1]], bool)
    (ring,) = rings(corner, diagonal=True)
    assert ring.tolist() == [[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [0, 2]]
    assert ring_area(ring) == 3
    # a ring of eight around a hole
    hollow = np.ones((3, 3), bool)
    hollow[1, 1] = False
    outer, hole = rings(hollow, diagonal=True)
    assert outer.tolist() == [[0, 0], [3, 0], [3, 3], [0, 3]]
    assert ring_area(hole) == -1
    # two pixels that share a corner: one ring through it twice, or two rings
    pinch = np.eye(2, dtype=bool)
    assert [ring_area(r) for r in rings(pinch, diagonal=True)] == [2]
    assert [ring_area(r) for r in rings(pinch, diagonal=False)] == [1, 1]
    assert rings(np.zeros((2, 2), bool), diagonal=True) == []


@pytest.mark.parametrize("seed", range(40))
def test_rings_of_random_masks(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 12, 2)) < rng.uniform(0.2, 0.95)
    outside = np.pad(~mask, 1, constant_values=True)
    together, apart = rings(mask, diagonal=True), rings(mask, diagonal=False)
    assert sum(map(ring_area, together)) == sum(map(ring_area, apart)) == mask.sum()
    assert sum(ring_area(r) > 0 for r in together) == ndimage.label(mask, EIGHT)[1]
    assert sum(ring_area(r) < 0 for r in together) == ndimage.label(outside)[1] - 1
    assert sum(ring_area(r) > 0 for r in apart) == ndimage.label(mask)[1]
    for ring in apart:
        assert len({tuple(point) for point in ring.tolist()}) == len(ring)  # simple
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps == 0).sum(axis=1) == 1).all()  # along the edges of pixels
        assert ((steps[:, 0] == 0) != (np.roll(steps, 1, axis=0)[:, 0] == 0)).all()  # corners only


@pytest.mark.parametrize("seed", range(40))
def test_one_ring_gives_every_mask_back(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 14, 2)) < rng.uniform(0.2, 0.95)
    if not mask.any():
        mask[0, 0] = True
    ring = one_ring(mask)
    assert ring_area(ring) == mask.sum()
    np.testing.assert_array_equal(whole([ring], mask.shape), mask)
    # also where the corners are rounded by a format that has them in percent
    percent = ring * (100 / mask.shape[1], 100 / mask.shape[0])
    again = percent * (mask.shape[1] / 100, mask.shape[0] / 100)
    np.testing.assert_array_equal(whole([again], mask.shape), mask)


@pytest.mark.parametrize("seed", range(40))
def test_filling_free_outlines_is_what_matplotlib_does(seed):
    rng = np.random.default_rng(seed)
    turn = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 30)))
    around = np.column_stack([np.cos(turn), np.sin(turn)])
    outer = around * rng.uniform(4, 14, (len(turn), 1)) + rng.uniform(0, 20, 2)
    hole = outer.mean(axis=0) + 0.3 * (outer - outer.mean(axis=0))
    shape = (17, 22)  # parts lie outside of it
    np.testing.assert_array_equal(whole([outer], shape), filled_by_matplotlib([outer], shape))
    both = whole([outer], shape) ^ whole([hole], shape)
    np.testing.assert_array_equal(whole([outer, hole], shape), both)


def test_filling_by_hand():
    # rows of centres at 0.5, 1.5, 2.5; the left edge is inside, the right one is not
    square = np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]])
    assert whole([square], (4, 4)).astype(int).tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert not whole([square + 100], (4, 4)).any()
    assert not whole([square - 100], (4, 4)).any()
    assert whole([1000 * (square - 1.5)], (4, 4)).all()
    assert not whole([np.empty((0, 2))], (4, 4)).any()


def test_outlines_that_are_none_or_a_burden():
    with pytest.raises(DataError, match="finite"):
        filled([np.array([[0, 0], [np.nan, 1], [1, 1]])], (4, 4))
    with pytest.raises(DataError, match="finite"):
        filled([np.array([[0, 0], [1e300, 1], [1, 1]])], (4, 4))
    zigzag = np.array([[0, 0], [1, 2**20]] * 70)
    with pytest.raises(DataError, match="crosses"):
        filled([zigzag], (2**20, 1))
