"""Few small patches of a dataset: how many, which, and always the same."""

import numpy as np
import pytest

from cellcount_lib.data.datasets import load
from cellcount_lib.data.patches import SIDE, patch_corner
from cellcount_lib.errors import DataError, InputError
from tests.discs import write_dataset


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches") / "cells"
    write_dataset(folder, train=4, val=2, test=3, size=(200, 260), number=6, radius=12)
    return f"folder:{folder}"


def test_exactly_so_many_training_patches_and_two_of_every_other_picture(cells):
    made = f"patches:7:{cells}"
    assert [len(load(made, split=s)) for s in ("train", "val", "test")] == [7, 4, 6]
    for sample in load(made, split="all"):
        assert sample.image.shape == (SIDE, SIDE, 3)
        assert sample.labels.shape == (SIDE, SIDE)
        assert sample.count > 0


def test_a_patch_is_a_window_of_its_picture(cells):
    whole = {s.meta["name"]: s for s in load(cells)}
    for patch in load(f"patches:9:{cells}"):
        top, left = patch.meta["corner"]
        source = whole[patch.meta["name"].rpartition("#")[0]]
        window = np.s_[top : top + SIDE, left : left + SIDE]
        np.testing.assert_array_equal(patch.image, source.image[window])
        np.testing.assert_array_equal(patch.labels, source.labels[window])
        assert patch.meta["split"] == source.meta["split"]


def test_more_patches_begin_with_the_fewer_ones_and_the_test_stays(cells):
    few, many = (load(f"patches:{n}:{cells}", split="train") for n in (3, 10))
    assert many.names[:3] == few.names
    assert len(set(many.names)) == 10
    assert all((a.image == b.image).all() for a, b in zip(few, many[:3], strict=True))
    first, second = (load(f"patches:{n}:{cells}", split="test") for n in (3, 10))
    assert first.names == second.names
    assert few.fingerprint != many.fingerprint


def test_the_second_patch_of_a_picture_lies_elsewhere(cells):
    names = load(f"patches:8:{cells}", split="train").names
    assert sorted(n.rpartition("#")[2] for n in names) == ["0"] * 4 + ["1"] * 4
    labels = np.zeros((600, 600), np.int32)
    labels[300:310, 300:310] = 1
    corners = {patch_corner(labels, f"a#{n}") for n in range(20)}
    assert len(corners) > 15
    for top, left in corners:
        assert SIDE // 4 <= 304 - top <= 3 * SIDE // 4
        assert SIDE // 4 <= 304 - left <= 3 * SIDE // 4


def test_small_and_empty_pictures():
    assert patch_corner(np.ones((100, 90), np.int32), "a") == (0, 0)
    top, left = patch_corner(np.zeros((300, 140), np.int32), "a")
    assert 0 <= top <= 300 - SIDE
    assert 0 <= left <= 140 - SIDE


def test_of_two_datasets_together_both_are_drawn_from():
    made = load("patches:200:simulated:simcep+simulated:simcep-simplex", split="train")
    lit = sum(name.startswith("simulated:simcep-simplex") for name in made.names)
    assert len(made) == 200
    assert 80 <= lit <= 120  # half of them (S2), up to the draw


@pytest.mark.parametrize("name", ["patches:0:simulated", "patches:x:simulated", "patches:5"])
def test_a_wrong_name_says_what_was_expected(name):
    with pytest.raises(InputError, match="expected patches:NUMBER:NAME"):
        load(name)


def test_a_dataset_that_is_not_there_is_named():
    with pytest.raises(DataError, match="no-such-folder"):
        load("patches:5:folder:no-such-folder")
