"""Detection scores, the published table, and the edge-case contract."""

import itertools

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.counting import MPE_CONVENTIONS
from cellcount_lib.scoring.detection import detection_scores
from cellcount_lib.scoring.pooling import pooled

# S3 Table 1 and the Adaptive Threshold row of S0: precision, recall, F1, accuracy, MAE as printed.
# Then (TP, FP), the only whole numbers that give all four printed scores with 709 true objects; 709
# is the only number between 200 and 1417 for which that works in all ten rows.
PUBLISHED = {
    "c-ResUnet": (0.9081, 0.7391, 0.8149, 0.6877, 3.0857, 524, 53),
    "c-ResUnet, no AO": (0.9019, 0.7264, 0.8047, 0.6732, 3.0857, 515, 56),
    "c-ResUnet, no WM": (0.9418, 0.6389, 0.7613, 0.6147, 3.6857, 453, 28),
    "ResUnet": (0.8865, 0.7052, 0.7855, 0.6468, 3.3286, 500, 64),
    "ResUnet, no WM": (0.9387, 0.6262, 0.7513, 0.6016, 4.0571, 444, 29),
    "Unet": (0.9117, 0.6700, 0.7724, 0.6291, 3.5143, 475, 46),
    "Unet, no WM": (0.8989, 0.7024, 0.7886, 0.6510, 3.1571, 498, 56),
    "small Unet": (0.9264, 0.6389, 0.7563, 0.6081, 3.5714, 453, 36),
    "small Unet, no WM": (0.9483, 0.5176, 0.6697, 0.5034, 4.7714, 367, 20),
    "Adaptive Threshold": (0.5680, 0.6601, 0.6106, 0.4394, 8.0143, 468, 356),
}
TRUE_OBJECTS = 709


def released_2021(tp, fp, fn):
    """R21's ratios: 0.001 on both sides of the bar, F1 from precision and recall."""
    precision = (tp + 0.001) / (tp + fp + 0.001)
    recall = (tp + 0.001) / (tp + fn + 0.001)
    accuracy = (tp + 0.001) / (tp + fp + fn + 0.001)
    return precision, recall, 2 * precision * recall / (precision + recall), accuracy


@pytest.mark.parametrize("row", PUBLISHED)
def test_published_table_is_reproduced_to_the_printed_digits(row):
    precision, recall, f1, accuracy, _, tp, fp = PUBLISHED[row]
    found = detection_scores(tp, fp, TRUE_OBJECTS - tp)
    assert [round(x, 4) for x in found] == [precision, recall, f1, accuracy]


@pytest.mark.parametrize("row", PUBLISHED)
def test_published_counting_error_fits_the_same_counts(row):
    *_, mae, tp, fp = PUBLISHED[row]
    total = round(mae * 70)
    assert round(total / 70, 4) == mae  # a whole number of miscounted cells over 70 images
    bias = (tp + fp) - TRUE_OBJECTS
    assert abs(bias) <= total
    assert (total - bias) % 2 == 0  # sum |d| and sum d of whole numbers are odd or even together


@pytest.mark.parametrize("row", PUBLISHED)
def test_f1_and_accuracy_follow_from_precision_and_recall(row):
    precision, recall, f1, accuracy, *_ = PUBLISHED[row]
    # all are rounded to four digits; an error of F1 grows up to twofold in F1 / (2 - F1)
    assert 2 * precision * recall / (precision + recall) == pytest.approx(f1, abs=1.01e-4)
    assert f1 / (2 - f1) == pytest.approx(accuracy, abs=1.5e-4)


def test_adding_0_001_changes_little_but_more_than_nothing():
    for *_, tp, fp in PUBLISHED.values():
        ours = detection_scores(tp, fp, TRUE_OBJECTS - tp)
        theirs = released_2021(tp, fp, TRUE_OBJECTS - tp)
        assert np.allclose(ours, theirs, atol=2e-6)
        assert [round(x, 4) for x in ours] == [round(x, 4) for x in theirs]
    # R21's notebook (6 images) prints 0.6945 where 25/36 is 0.6944
    assert round(released_2021(25, 11, 0)[0], 4) == 0.6945
    assert round(detection_scores(25, 11, 0).precision, 4) == 0.6944
    # and it gives a network that finds nothing but rubbish a score
    assert released_2021(0, 1, 0)[0] > 0
    for tp, fp, fn in itertools.product((0, 1, 5), (0, 1, 7), (0, 1, 9)):
        if tp + fp:
            theirs = released_2021(tp, fp, fn)[0]
            assert abs(theirs - detection_scores(tp, fp, fn).precision) < 0.001 / (tp + fp)


def test_detection_scores_agree_with_f1_of_precision_and_recall():
    for tp, fp, fn in itertools.product(range(1, 5), range(4), range(4)):
        p, r, f1, accuracy = detection_scores(tp, fp, fn)
        assert (p, r) == (tp / (tp + fp), tp / (tp + fn))
        assert f1 == pytest.approx(2 * p * r / (p + r))
        assert accuracy == pytest.approx(f1 / (2 - f1))


CONTRACT = [
    ((0, 0, 0), (1, 1, 1, 1)),  # nothing to find, nothing reported
    ((0, 1, 0), (0, 0, 0, 0)),
    ((0, 9, 0), (0, 0, 0, 0)),  # nothing to find, something reported
    ((0, 0, 1), (0, 0, 0, 0)),
    ((0, 0, 9), (0, 0, 0, 0)),  # something to find, nothing reported
    ((0, 3, 4), (0, 0, 0, 0)),  # all wrong
    ((4, 0, 0), (1, 1, 1, 1)),  # all right
]


@pytest.mark.parametrize(("counts", "expected"), CONTRACT)
def test_contract_of_detection(counts, expected):
    assert detection_scores(*counts) == expected
    with_arrays = detection_scores(*([n] for n in counts))
    assert [a.tolist() for a in with_arrays] == [[e] for e in expected]


def rows_of(*rows):
    columns = ["n_true", "n_pred", "tp", "fp", "fn", "status"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize("status", ["missing", "failed"])
def test_missing_and_crashed_images_stay_and_count_as_nothing_found(status):
    good = (3, 3, 3, 0, 0, "ok")
    scores = pooled(rows_of(good, (2, 0, 0, 0, 2, status)))
    assert scores["n_images"] == 2
    assert scores[f"n_{status}"] == 1
    assert scores["n_missing"] + scores["n_failed"] == 1
    assert (scores["recall"], scores["precision"]) == (3 / 5, 1.0)
    assert (scores["mae"], scores["medae"]) == (1.0, 1.0)
    # a missing prediction of an image without cells is scored like an empty prediction
    scores = pooled(rows_of((0, 0, 0, 0, 0, status)))
    assert (scores["f1"], scores["mae"], scores["r2"], scores[f"n_{status}"]) == (1.0, 0.0, 1.0, 1)


def test_no_score_is_ever_nan():
    possible = [
        (n_true, tp + fp, tp, fp, n_true - tp, "ok")
        for n_true, tp, fp in itertools.product((0, 1, 3), (0, 1), (0, 2))
        if tp <= n_true
    ]
    for rows in itertools.product(possible, repeat=2):
        for convention in MPE_CONVENTIONS:
            scores = pooled(rows_of(*rows), mpe=convention)
            assert np.isfinite(list(scores.values())).all(), (rows, convention)


def test_pooled_weighs_objects_not_images():
    scores = pooled(rows_of((9, 9, 9, 0, 0, "ok"), (1, 1, 0, 1, 1, "ok")))
    assert scores["f1"] == pytest.approx(0.9)  # the mean of the two F1 is 0.5
    assert {k: scores[k] for k in ("n_true", "n_pred", "tp", "fp", "fn")} == {
        "n_true": 10,
        "n_pred": 10,
        "tp": 9,
        "fp": 1,
        "fn": 1,
    }


def test_pooled_scores_further_matchings():
    rows = rows_of((4, 4, 3, 1, 1, "ok"), (0, 0, 0, 0, 0, "ok"))
    rows = rows.assign(tp_iou=[2, 0], fp_iou=[2, 0], fn_iou=[2, 0], note="")
    scores = pooled(rows)
    assert (scores["f1"], scores["f1_iou"]) == (0.75, 0.5)
    assert scores["accuracy_iou"] == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="'fn_iou'"):
        pooled(rows.drop(columns="fn_iou"))


BAD_ROWS = [
    (rows_of((1, 1, 1, 0, 0, "ok")).drop(columns="fp"), "'fp'"),
    (rows_of(), "at least one image"),
    (rows_of((1, 1, np.nan, 0, 0, "ok")), r"'tp'.*finite"),
    (rows_of((1, 1, -1, 0, 0, "ok")), r"'tp'.*>= 0"),
    (rows_of((1, 1, 1, 0, 0, "mising")), "did you mean 'missing'"),
    (rows_of((1, 1, 1, 0, 0, "missing")), "n_pred = tp = fp = 0"),
    ([1, 2], "DataFrame"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS)
def test_rows_that_cannot_be_scored(rows, message):
    with pytest.raises(InputError, match=message):
        pooled(rows)


def test_bad_counts():
    with pytest.raises(InputError, match="tp: expected finite counts"):
        detection_scores(-1, 0, 0)
    with pytest.raises(InputError, match="fn: expected counts"):
        detection_scores(1, 0, "many")
