"""Run lengths against those of pycocotools 2.0.11 (`pycocotools.mask.encode`)."""

import hashlib

import numpy as np
import pytest

from cellcount_lib.errors import DataError
from cellcount_lib.labels.coco import compressed, decompressed, mask_of, runs_of


def small():
    mask = np.zeros((5, 7), bool)
    mask[1:4, 2:6] = True
    mask[2, 3] = False
    mask[4, 0] = True
    return mask


def large():
    y, x = np.mgrid[:200, :180]
    return ((y - 90) ** 2 + (x - 70) ** 2 < 3600) ^ ((x * y) % 17 == 0)


def test_known_run_lengths():
    # down the columns: 4 background, 1 cell, 6 background, ...
    assert runs_of(small()) == [4, 1, 6, 3, 2, 1, 1, 1, 2, 3, 2, 3, 6]
    assert compressed(runs_of(small())) == "4162LNO012004"
    text = compressed(runs_of(large()))
    assert (len(text), hashlib.sha256(text.encode()).hexdigest()) == (
        4307,
        "c3342bdf701d3e3530bcb79e06f16b096b3c63ca57dd7df5c4c20654437a92c5",
    )


@pytest.mark.parametrize("seed", range(20))
def test_there_and_back(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 60, 2)) < rng.random()
    runs = runs_of(mask)
    assert decompressed(compressed(runs)) == runs
    np.testing.assert_array_equal(mask_of(runs, mask.shape), mask)


@pytest.mark.parametrize(
    "text", ["4162LNO0120", "\x20", "é", "oooooooooooooooooo", "4162LNO01200o"]
)
def test_text_that_is_none(text):
    with pytest.raises(DataError, match="run lengths"):
        mask_of(decompressed(text), (5, 7))
