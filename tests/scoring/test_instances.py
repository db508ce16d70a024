"""Average precision and panoptic quality of pictures, by hand and by their definitions."""

import numpy as np
import pytest

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.instances import IOU_THRESHOLDS, instance_columns


def strip(*runs):
    """One row of pixels from (label, length) runs."""
    return np.repeat([label for label, _ in runs], [n for _, n in runs])[None, :]


def ious_by_pixels(true, pred):
    """IoU of all pairs the obvious way."""
    return {
        (t, p): ((true == t) & (pred == p)).sum() / ((true == t) | (pred == p)).sum()
        for t in np.unique(true[true > 0])
        for p in np.unique(pred[pred > 0])
    }


def ap_by_definition(true, pred):
    n_true, n_pred = (np.unique(a[a > 0]).size for a in (true, pred))
    if n_true == n_pred == 0:
        return 1.0
    ious = ious_by_pixels(true, pred)
    at = []
    for t in IOU_THRESHOLDS:
        tp = sum(iou > t for iou in ious.values())
        at.append(tp / (n_true + n_pred - tp))
    return sum(at) / len(at)


def random_labels(rng):
    return np.kron(rng.integers(0, 4, (3, 4)), np.ones((3, 3), int))


def test_iou_thresholds():
    assert IOU_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_average_precision_by_hand():
    # IoU of the first object 9/10: a match at 0.5 ... 0.85; of the second 1/2: none, as 0.5 is not
    # above 0.5; so 8 thresholds with TP 1, FP 1, FN 1 and two with TP 0
    true = strip((1, 10), (0, 2), (2, 2))
    pred = strip((1, 9), (0, 3), (2, 1), (0, 1))
    assert instance_columns(true, pred)["ap"] == pytest.approx(8 / 10 / 3)


def test_average_precision_equals_its_definition_on_random_labels():
    rng = np.random.default_rng(1)
    pairs = [(a := random_labels(rng), np.where(rng.random(a.shape) < 0.1, 0, a)) for _ in range(9)]
    pairs += [(random_labels(rng), random_labels(rng)) for _ in range(9)]
    expected = [ap_by_definition(*pair) for pair in pairs]
    assert [instance_columns(*pair)["ap"] for pair in pairs] == pytest.approx(expected)
    assert 0 < np.mean(expected) < 1


def test_ious_of_matched_objects_are_added_up():
    # IoU 3/4 and 1 match, the third object is missed, one prediction is invented
    true = strip((1, 4), (2, 2), (3, 2), (0, 2))
    pred = strip((1, 3), (0, 1), (2, 2), (0, 2), (3, 2))
    assert instance_columns(true, pred)["iou_sum"] == 0.75 + 1


@pytest.mark.parametrize(
    ("n_true", "n_pred", "ap", "iou_sum"), [(0, 0, 1, 0), (0, 2, 0, 0), (2, 0, 0, 0), (2, 2, 1, 2)]
)
def test_contract_of_segmentation(n_true, n_pred, ap, iou_sum):
    some, none = strip((1, 3), (2, 3)), strip((0, 6))
    columns = instance_columns(some if n_true else none, some if n_pred else none)
    assert (columns["ap"], columns["iou_sum"]) == (ap, iou_sum)


def test_bad_segmentation_input():
    labels = strip((1, 3))
    with pytest.raises(InputError, match="same height and width"):
        instance_columns(labels, strip((1, 4)))
    with pytest.raises(InputError, match="boolean mask"):
        instance_columns(labels > 0, labels)
