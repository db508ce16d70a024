"""Training pictures with other labels: how far off, how many are missing, and nothing else."""

import numpy as np
import pytest
import torch

from cellcount_lib.data.sample import Sample
from cellcount_lib.postprocess.otsu import otsu_watershed
from cellcount_lib.training.data import read_data
from cellcount_lib.training.labelling import relabelled
from cellcount_lib.training.run import train
from tests.discs import disc_labels
from tests.training.small import training

PLACES = [(y, x, 12) for y in range(20, 400, 40) for x in range(20, 400, 40)]
LABELS = disc_labels((400, 400), PLACES)


def picture(name):
    image = np.where(LABELS > 0, 160, 20)[..., None].repeat(3, axis=2).astype(np.uint8)
    return Sample(image, LABELS, {"name": name})


def test_ragged_outlines_are_off_by_a_fifth_of_a_radius_and_keep_their_cells():
    first, second = relabelled([picture("a"), picture("b")], "ragged", scale=1.0)
    assert not np.array_equal(first.labels, second.labels)
    assert first.image is not None
    y, x = np.indices(LABELS.shape)
    offs = []
    for number, (row, column, radius) in enumerate(PLACES, start=1):
        angle = np.arctan2(y - row, x - column)
        inside = first.labels == number
        for start in np.arange(-np.pi, np.pi, np.pi / 8):  # area of a sector: radius^2 pi / 16
            sector = inside & (angle >= start) & (angle < start + np.pi / 8)
            offs.append(np.sqrt(16 * sector.sum() / np.pi) - radius)
    assert abs(np.mean(offs)) < 0.5
    assert 0.1 * 12 < np.std(offs) < 0.25 * 12
    again = relabelled([picture("a")], "ragged", scale=1.0)[0]
    np.testing.assert_array_equal(again.labels, first.labels)


def test_every_fifth_cell_is_missing_and_the_others_are_as_they_were():
    (found,) = relabelled([picture("a")], "missing", scale=1.0)
    left = np.unique(found.labels)[1:]
    assert 70 <= left.size <= 90  # 80 of 100, sd 4
    np.testing.assert_array_equal(found.labels, np.where(np.isin(LABELS, left), LABELS, 0))
    (both,) = relabelled([picture("a")], "ragged-missing", scale=1.0)
    assert set(np.unique(both.labels)) == {0, *left}


def test_automatic_labels_are_those_of_otsu_and_the_watershed():
    (found,) = relabelled([picture("a")], "automatic", scale=0.65)
    np.testing.assert_array_equal(found.labels, otsu_watershed(found.image, scale=0.65))
    assert found.labels.max() == 100


@pytest.mark.parametrize("labels", ["automatic", "missing"])
def test_only_training_pictures_get_other_labels(discs, labels):
    given = read_data(training(discs), jobs=1)
    other = read_data(training(discs, labels=labels), jobs=1)
    same = [
        [np.array_equal(a.labels, b.labels) for a, b in zip(mine, theirs, strict=True)]
        for mine, theirs in ((given.train, other.train), (given.valid, other.valid))
    ]
    assert not all(same[0])
    assert all(same[1])
    for a, b in zip(given.test_set, other.test_set, strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)


def test_labels_rate_and_optimiser_decide_what_is_learned(discs):
    options = {"steps": 2, "epochs": 1}
    weights = [
        train(training(discs, **options, **more), show=False, jobs=1).model.state_dict()
        for more in ({}, {"labels": "missing"}, {"lr": 1e-4}, {"optimizer": "rmsprop"})
    ]
    for other in weights[1:]:
        assert any(not torch.equal(other[k], weights[0][k]) for k in other)
