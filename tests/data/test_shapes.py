"""What labels say of shapes: rays, flows and depths against plain loops, and by hand."""

import numpy as np
import pytest
from scipy import ndimage

from cellcount_lib.data.shapes import FARTHEST, depths, directions, flows, rays
from tests.discs import disc_labels

CROWD = disc_labels((40, 60), [(12, 14, 9), (12, 30, 8), (27, 20, 8), (38, 50, 7), (20, 59, 5)])


def ray_by_a_loop(labels, y, x, direction):
    """Length of one ray, a step after the other."""
    stride = direction / np.abs(direction).max()
    for step in range(1, 1000):
        row, column = y + round(step * stride[0]), x + round(step * stride[1])
        inside = 0 <= row < labels.shape[0] and 0 <= column < labels.shape[1]
        if not inside or labels[row, column] != labels[y, x]:
            return (step - 0.5) * np.hypot(*stride)
    raise AssertionError


def test_rays_against_a_loop_over_pixels():
    found = rays(CROWD)
    for k, direction in enumerate(directions()):
        for y, x in np.argwhere(CROWD):
            expected = ray_by_a_loop(CROWD, y, x, direction)
            assert found[k, y, x] == pytest.approx(expected, abs=1e-5)
    assert not found[:, CROWD == 0].any()


def test_rays_of_several_pictures_do_not_see_each_other():
    other = np.roll(CROWD, 7, axis=1)
    np.testing.assert_array_equal(rays(np.stack([CROWD, other])), [rays(CROWD), rays(other)])


def test_rays_of_a_disc_are_as_long_as_its_radius_and_point_right_then_down():
    disc = disc_labels((41, 41), [(20, 20, 15)])
    assert np.abs(rays(disc)[:, 20, 20] - 15).max() < 1
    right, down, left, up = rays(disc, 4)[:, 20, 25]
    assert (right, left) == (9.5, 19.5)  # `disk` leaves out what is 15 pixels away
    assert abs(up - down) < 1e-6
    np.testing.assert_allclose(directions(4), [[0, 1], [1, 0], [0, -1], [-1, 0]], atol=1e-12)
    # a very long cell: the edge of the picture ends its rays, and so does the longest one there is
    long = rays(np.ones((1, 200), int), 4)[:, 0, 10]
    assert long.tolist() == [FARTHEST + 0.5, 0.5, 10.5, 0.5]


def flow_by_a_loop(labels):
    """Heat spreads in dense arrays, one cell after the other."""
    out = np.zeros((2, *labels.shape))
    boxes = [box for box in ndimage.find_objects(labels) if box]
    rounds = 2 * max(sum(s.stop - s.start for s in box) for box in boxes)
    for number in np.unique(labels[labels > 0]):
        mask = labels == number
        y, x = np.nonzero(mask)
        middle = np.argmin((y - np.median(y)) ** 2 + (x - np.median(x)) ** 2)
        heat = np.zeros(np.add(labels.shape, 2))
        for _ in range(rounds):
            heat[y[middle] + 1, x[middle] + 1] += 1
            around = sum(np.roll(heat, d, (0, 1)) for d in np.ndindex(3, 3))
            heat[1:-1, 1:-1] = np.roll(around, (-1, -1), (0, 1))[1:-1, 1:-1] / 9 * mask
        level = np.log1p(heat)
        slope = np.stack([level[2:, 1:-1] - level[:-2, 1:-1], level[1:-1, 2:] - level[1:-1, :-2]])
        length = np.hypot(*slope)
        out += np.where(mask & (length > 1e-12), slope / np.maximum(length, 1e-12), 0)
    return out


def test_flows_against_dense_arrays_of_every_cell_alone():
    np.testing.assert_allclose(flows(CROWD), flow_by_a_loop(CROWD), atol=1e-5)


def test_flows_of_a_disc_point_to_its_middle():
    disc = disc_labels((41, 51), [(20, 25, 15)])
    y, x = np.nonzero(disc)
    to_middle = np.stack([20 - y, 25 - x])
    far = np.hypot(*to_middle) > 1.5
    cosine = (flows(disc)[:, y, x] * to_middle).sum(axis=0)[far] / np.hypot(*to_middle)[far]
    assert cosine.min() > 0.95
    np.testing.assert_allclose(np.hypot(*flows(disc)[:, y, x])[far], 1, atol=1e-6)
    assert not flows(disc)[:, disc == 0].any()


@pytest.mark.parametrize("draw", [depths, rays, flows])
def test_no_cell_and_cells_of_one_pixel(draw):
    assert not draw(np.zeros((5, 6), np.int32)).any()
    one = np.zeros((5, 6), np.int32)
    one[2, 3] = one[0, 0] = 7  # the second at a corner of the picture
    one[0, 0] = 1
    drawn = draw(one)
    assert np.isfinite(drawn).all()
    # a pixel is as deep as its cell, its edges are half a pixel away, and it is its own middle
    expected = {depths: 1.0, rays: 0.5, flows: 0.0}[draw]
    np.testing.assert_allclose(np.atleast_3d(drawn.T)[3, 2].min(), expected)
    np.testing.assert_allclose(np.atleast_3d(drawn.T)[0, 0].min(), expected)


def test_a_cell_that_fills_the_picture_is_deepest_everywhere():
    assert (depths(np.full((5, 6), 3, np.int32)) == 1).all()
