import numpy as np
import pytest

from cellcount_lib.data.shapes import FLOW_UNIT
from cellcount_lib.postprocess.cleaning import Cleaning
from cellcount_lib.postprocess.following import Follow


@pytest.mark.parametrize("row", [0, 2])
def test_a_line_flows_to_its_middle_also_along_the_edge_of_the_picture(row):
    """From 36 away 32 steps lead to 4 from the middle, REACH beyond its 3x3; from 37 not."""
    for half, whole in ((10, True), (36, True), (37, False)):
        mask = np.zeros((3, 2 * half + 1), bool)
        mask[row] = True
        heatmap = np.zeros((3, *mask.shape), np.float32)
        heatmap[2, row] = FLOW_UNIT * np.sign(half - np.arange(2 * half + 1))
        labels = Follow().label(mask, Cleaning(), heatmap)
        middle = labels[row, half]
        assert middle > 0
        assert (labels[row, 3:-3] == middle).all()
        assert (labels[row, [0, -1]] == middle).all() == whole
        assert not labels[~mask].any()
