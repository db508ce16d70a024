import numpy as np
import pytest
from skimage.measure import regionprops

from benchmarks.matching import all_pairs_distance, all_pairs_iou
from cellcount_lib.errors import InputError
from cellcount_lib.scoring.objects import box_centres, centroids, contingency, iou_matrix, listed


def random_labels(rng, shape=(40, 50)):
    """Overlapping boxes with gaps in their numbers; some boxes are hidden by later ones."""
    labels = np.zeros(shape, np.int32)
    for number in rng.permutation(30)[: rng.integers(0, 9)] + 1:
        y, x, h, w = rng.integers(0, 20, 4)
        labels[2 * y : 2 * y + h, 2 * x : 2 * x + w] = number
    return labels


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_loops_over_objects(seed):
    rng = np.random.default_rng(seed)
    true, pred = random_labels(rng), random_labels(rng)
    iou, true_ids, pred_ids = iou_matrix(true, pred)
    assert true_ids.tolist() == [i for i in np.unique(true) if i]
    assert pred_ids.tolist() == [i for i in np.unique(pred) if i]
    np.testing.assert_array_equal(iou, all_pairs_iou(true, pred))
    a, b = centroids(true)[0], centroids(pred)[0]
    distance = np.linalg.norm(a[:, None] - b[None], axis=2)
    np.testing.assert_allclose(distance, all_pairs_distance(true, pred), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_centres_are_those_of_regionprops(seed):
    labels = random_labels(np.random.default_rng(seed))
    properties = regionprops(labels)
    expected = np.array([p.centroid for p in properties]).reshape(-1, 2)
    np.testing.assert_array_equal(centroids(labels)[0], expected)
    assert centroids(labels)[1].tolist() == [p.label for p in properties]
    boxes = [((p.bbox[2] + p.bbox[0]) // 2, (p.bbox[3] + p.bbox[1]) // 2) for p in properties]
    assert box_centres(labels)[0].tolist() == [list(b) for b in boxes]


def test_contingency_by_hand():
    true = np.array([[1, 1, 0, 4], [1, 0, 0, 4]])
    pred = np.array([[2, 2, 2, 0], [9, 9, 0, 0]])
    c = contingency(true, pred)
    assert c.table.tolist() == [[2, 1], [0, 0]]
    assert (c.true_ids.tolist(), c.pred_ids.tolist()) == ([1, 4], [2, 9])
    assert (c.true_areas.tolist(), c.pred_areas.tolist()) == ([3, 2], [3, 2])


def test_nothing_on_either_side():
    none, one = np.zeros((3, 4), int), np.eye(3, 4, dtype=int)
    assert iou_matrix(none, none)[0].shape == (0, 0)
    assert iou_matrix(one, none)[0].shape == (1, 0)
    assert iou_matrix(none, one)[0].shape == (0, 1)
    assert centroids(none)[0].shape == box_centres(none)[0].shape == (0, 2)


@pytest.mark.parametrize("background", [0, 2_000_000_000])
def test_huge_numbers_need_no_huge_tables(background):
    labels = np.full((4, 4), background, np.int32)
    labels[1:3, 1:3] = 2_147_483_647
    found = listed(labels)
    present = sorted({background, 2_147_483_647} - {0})
    assert found.ids.tolist() == present
    assert found.areas.tolist() == [12, 4][-len(present) :]
    assert [present[n] for n in found.number] == [v for v in labels.ravel() if v]


@pytest.mark.parametrize("function", [contingency, iou_matrix])
def test_bad_input(function):
    good = np.zeros((3, 4), int)
    with pytest.raises(InputError, match=r"true \(3, 4\), pred \(4, 3\)"):
        function(good, good.T)
    with pytest.raises(InputError, match="pred: expected integer instance labels, found a boolean"):
        function(good, good > 0)
    with pytest.raises(InputError, match="true: expected labels >= 0"):
        function(good - 1, good)
    with pytest.raises(InputError, match="true: expected integer"):
        function(good * np.nan, good)
    with pytest.raises(InputError, match="at least one pixel"):
        function(good[:0], good[:0])
