"""Pixel scores against scikit-learn, the contract, and S2's table."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.pixels import Confusion, confusion, pixel_scores


def test_pixel_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(2)
    true = rng.random((40, 50)) < 0.2
    pred = true ^ (rng.random(true.shape) < 0.1)
    table = confusion(true, pred)
    t, p = true.ravel(), pred.ravel()
    tn, fp, fn, tp = sklearn_metrics.confusion_matrix(t, p).ravel().tolist()
    assert table == (tp, fp, fn, tn)
    found = pixel_scores(table)
    assert found.precision == pytest.approx(sklearn_metrics.precision_score(t, p))
    assert found.recall == pytest.approx(sklearn_metrics.recall_score(t, p))
    assert found.specificity == pytest.approx(sklearn_metrics.recall_score(~t, ~p))
    assert found.accuracy == pytest.approx(sklearn_metrics.accuracy_score(t, p))
    assert found.f_score == found.dice == pytest.approx(sklearn_metrics.f1_score(t, p))
    assert found.iou == pytest.approx(sklearn_metrics.jaccard_score(t, p))
    assert found.mcc == pytest.approx(sklearn_metrics.matthews_corrcoef(t, p))


def test_mcc_is_the_correlation_and_survives_large_numbers():
    # 10^9 pixels of each kind: the product under the root exceeds 64 bits
    assert pixel_scores(Confusion(3 * 10**9, 10**9, 10**9, 3 * 10**9)).mcc == pytest.approx(0.5)
    assert pixel_scores(Confusion(0, 5, 5, 0)).mcc == -1
    assert pixel_scores(Confusion(4, 4, 4, 4)).mcc == 0


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # precision, recall, specificity, accuracy, F, IoU, MCC
        (Confusion(0, 0, 0, 9), (1, 1, 1, 1, 1, 1, 1)),  # 0 true, 0 predicted
        (Confusion(0, 3, 0, 6), (0, 0, 2 / 3, 2 / 3, 0, 0, 0)),  # 0 true, n predicted
        (Confusion(0, 0, 3, 6), (0, 0, 1, 2 / 3, 0, 0, 0)),  # n true, 0 predicted
        (Confusion(9, 0, 0, 0), (1, 1, 1, 1, 1, 1, 1)),  # all foreground
        (Confusion(6, 0, 3, 0), (1, 2 / 3, 0, 2 / 3, 0.8, 2 / 3, 0)),
        (Confusion(6, 3, 0, 0), (2 / 3, 1, 0, 2 / 3, 0.8, 2 / 3, 0)),
    ],
)
def test_contract_of_pixels(table, expected):
    assert pixel_scores(table) == pytest.approx(expected)


def test_a_missing_mask():
    true = np.array([[True, True, False, False]])
    assert confusion(true, None) == (0, 0, 2, 2)
    assert confusion(true, np.array([[1, 0, 0, 2]])) == (1, 1, 1, 1)  # > 0 is foreground


def test_published_fcn_transfer_is_consistent():
    # S2 Table 1: precision, recall, specificity and accuracy fix the share of cell pixels, and so F
    # and MCC; printed with two digits
    for precision, recall, specificity, accuracy, f_score, mcc in (
        (0.58, 0.52, 0.96, 0.91, 0.55, 0.50),
        (0.81, 0.73, 0.98, 0.95, 0.77, 0.74),
    ):
        share = (accuracy - specificity) / (recall - specificity)
        tp, fn = recall * share, (1 - recall) * share
        fp = tp * (1 - precision) / precision
        counts = [round(n * 10**6) for n in (tp, fp, fn, 1 - tp - fp - fn)]
        found = pixel_scores(Confusion(*counts))
        assert found.f_score == pytest.approx(f_score, abs=0.01)
        assert found.mcc == pytest.approx(mcc, abs=0.015)


def test_bad_pixel_input():
    mask = np.ones((2, 3), bool)
    with pytest.raises(InputError, match=r"true \(2, 3\), pred \(3, 2\)"):
        confusion(mask, mask.T)
    with pytest.raises(InputError, match="NaN"):
        confusion(mask, np.full((2, 3), np.nan))
    with pytest.raises(InputError, match="at least one pixel"):
        pixel_scores(Confusion(0, 0, 0, 0))
    with pytest.raises(InputError, match="counts >= 0"):
        pixel_scores(Confusion(-1, 0, 0, 3))
