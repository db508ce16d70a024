"""Dim cells that nobody marked, put into simulated pictures for a training."""

import numpy as np
import pytest

from cellcount_lib.data.sample import Sample, components
from tools import neurons_pictures as tool


def disc_picture(places, *, size=(300, 300), radius=10, level=120.0):
    """Discs that are bright in the middle, on a background of 5."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    labels = np.zeros(size, np.int32)
    light = np.full(size, 5.0)
    for number, (row, column) in enumerate(places, start=1):
        far = np.hypot(rows - row, columns - column)
        labels[far < radius] = number
        light += level * np.exp(-((far / radius) ** 2))
    image = np.stack([light, 0.8 * light, 0.1 * light], axis=-1)
    return Sample(np.rint(image).clip(0, 255).astype(np.uint8), labels, {"name": "discs"})


def test_cells_are_cut_out_whole_and_alone():
    sample = disc_picture([(60, 60), (200, 200), (200, 216), (10, 250)])
    (cell,) = tool.cells(sample)  # the second and third touch, the fourth meets the border
    assert cell.light.shape == (67, 67, 3)
    over = sample.image[..., 0].astype(float) - 5
    assert cell.contrast == pytest.approx(np.percentile(over[sample.labels == 1], 95))
    assert cell.light[33, 33] == pytest.approx([120, 96, 12], abs=2), "the light over the ground"
    assert cell.light[[0, -1]].max() < 1, "it fades"


def test_dim_cells_are_light_on_free_ground_and_not_marked():
    pool = list(tool.cells(disc_picture([(60, 60)])))
    sample = disc_picture([(80, 80), (220, 200)], size=(600, 700))
    found = []
    for seed in range(20):
        made = tool.with_dim_cells(sample, pool, np.random.default_rng(seed))
        np.testing.assert_array_equal(made.labels, sample.labels)
        more = made.image.astype(int) - sample.image
        assert more.min() >= 0
        assert not more[sample.labels > 0].any()
        new = components(more[..., 0] > 8)
        found.append(new.max())
        for number in range(1, new.max() + 1):
            peak = more[..., 0][new == number].max()
            assert 12 <= peak <= 1.1 * tool.BRIGHTEST
    expected = tool.USUAL + 2 * tool.PER_CELL
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.sqrt(expected / 20))
    again = tool.with_dim_cells(sample, pool, np.random.default_rng(0))
    first = tool.with_dim_cells(sample, pool, np.random.default_rng(0))
    np.testing.assert_array_equal(again.image, first.image)


def test_a_full_picture_gets_none():
    pool = list(tool.cells(disc_picture([(60, 60)])))
    full = Sample(np.full((200, 200, 3), 9, np.uint8), np.ones((200, 200), np.int32), {})
    made = tool.with_dim_cells(full, pool, np.random.default_rng(1))
    np.testing.assert_array_equal(made.image, full.image)
