"""Blobs lie where discs are, whatever the size of the picture."""

import numpy as np

from cellcount_lib.methods.blobs import log_blobs
from cellcount_lib.scoring.objects import centroids
from tests.methods.pictures import picture


def test_blobs_lie_where_discs_are():
    places = [(20, 20, 9), (60, 80, 10), (60, 30, 8)]
    found = log_blobs(picture(places, light=220, background=10).image, cell_px=18.0)
    assert found.max() == 3
    true = sorted((row, column) for row, column, _ in places)
    for (row, column), centre in zip(true, sorted(map(tuple, centroids(found)[0])), strict=True):
        assert np.hypot(row - centre[0], column - centre[1]) < 3
    areas = np.bincount(found.ravel())[1:]
    assert (areas > 100).all()
    assert (areas < 700).all()


def test_large_pictures_are_reduced_and_labels_come_back_at_full_size():
    sample = picture([(150, 150, 60), (150, 400, 60)], light=220, size=(300, 560))
    found = log_blobs(sample.image, cell_px=120.0)
    assert found.shape == (300, 560)
    assert found.max() == 2
    assert found[150, 150] != found[150, 400]
    assert log_blobs(picture([]).image, cell_px=18.0).max() == 0
