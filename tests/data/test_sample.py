import numpy as np
import pytest

from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import InputError


def test_count_is_of_labels_not_of_components():
    labels = np.zeros((4, 6), np.uint16)
    labels[0, 0] = labels[3, 5] = 9  # one object in two pieces
    labels[1, 2] = labels[1, 3] = 4
    sample = Sample(np.zeros((4, 6, 3), np.uint8), labels)
    assert sample.count == 2
    assert sample.labels.dtype == np.int32
    assert sample.mask.sum() == 4


def test_count_without_background_and_without_objects():
    image = np.zeros((2, 2, 3), np.uint8)
    assert Sample(image, np.ones((2, 2), int)).count == 1
    assert Sample(image, np.zeros((2, 2), int)).count == 0


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"image \(2, 2\), labels \(2, 3\)"):
        Sample(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), int))
