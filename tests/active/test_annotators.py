"""A simulated person: what is accepted, drawn again, added, removed and overlooked, on squares."""

import numpy as np
import pytest

from cellcount_lib.active.annotators import Annotator, Work
from cellcount_lib.data.sample import Sample
from cellcount_lib.training.labelling import relabelled
from tests.discs import draw


def square(labels, row, column, number, side=10):
    labels[row : row + side, column : column + side] = number
    return labels


@pytest.fixture
def sample():
    labels = np.zeros((40, 60), np.int32)
    for number, column in enumerate((0, 15, 30, 45), start=1):
        square(labels, 5, column, number)
    return Sample(np.zeros((40, 60, 3), np.uint8), labels, {"name": "a"})


def person(sample, noticed, outlines=None):
    drawn = sample.labels if outlines is None else outlines
    return Annotator({"a": drawn}, {"a": frozenset(noticed)})


def test_one_of_each(sample):
    proposed = np.zeros((40, 60), np.int32)
    square(proposed, 6, 0, 8)  # IoU 90/110: left as it is
    square(proposed, 5, 19, 9)  # IoU 60/140: drawn again
    square(proposed, 28, 28, 4)  # nothing there
    labels, work = person(sample, {1, 2, 3}).correct(sample, proposed)
    assert work == Work(1, accepted=1, corrected=1, outlined=1, removed=1, overlooked=1)
    assert work.clicked == 4
    expected = np.zeros((40, 60), np.int32)
    square(expected, 6, 0, 1)
    square(expected, 5, 15, 2)
    square(expected, 5, 30, 3)
    np.testing.assert_array_equal(labels, expected)


def test_a_cell_that_is_proposed_is_not_overlooked(sample):
    assert person(sample, ()).correct(sample, sample.labels)[1] == Work(1, accepted=4)
    nothing = np.zeros_like(sample.labels)
    labels, work = person(sample, ()).correct(sample, nothing)
    assert (work, labels.any()) == (Work(1, overlooked=4), False)


def test_what_is_drawn_is_the_wavering_outline(sample):
    outlines = np.roll(sample.labels, 2, axis=0)
    nothing = np.zeros_like(sample.labels)
    labels, work = person(sample, {1, 2, 3, 4}, outlines).correct(sample, nothing)
    np.testing.assert_array_equal(labels, outlines)
    assert work == Work(1, outlined=4)


def test_a_picture_without_cells(sample):
    empty = Sample(sample.image, np.zeros_like(sample.labels), {"name": "a"})
    labels, work = person(empty, ()).correct(empty, sample.labels)
    assert work == Work(1, removed=4)
    assert not labels.any()


def test_the_noise_is_that_of_noisy_labels():
    rng = np.random.default_rng(0)
    pictures = [Sample(*draw(rng), {"name": str(n)}) for n in range(8)]
    someone = Annotator.of(pictures, scale=0.45)
    nothing = np.zeros((96, 112), np.int32)
    work = sum((someone.correct(p, nothing)[1] for p in pictures), Work())
    kept = sum(s.count for s in relabelled(pictures, "missing", scale=0.45))
    assert (work.pictures, work.outlined, work.overlooked) == (8, kept, 40 - kept)
    assert 0 < work.overlooked < 20


def test_minutes_by_hand():
    work = Work(pictures=2, accepted=6, corrected=3, outlined=2, removed=4, overlooked=9)
    # 40 + 12 + 36 + 50 + 8 seconds; from nothing 40 + 11 x 25
    assert work.minutes == pytest.approx(146 / 60)
    assert work.minutes_without == pytest.approx(315 / 60)
