"""Errors of counts by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.counting import MPE_CONVENTIONS, counting_errors, mean_percentage_error


def test_counting_errors_by_hand():
    # differences 0, -1, +3, 0: squares 0, 1, 9, 0; true counts 2, 4, 6, 0 have mean 3
    errors = counting_errors([2, 4, 6, 0], [2, 3, 9, 0])
    assert errors.mae == 1.0
    assert errors.medae == 0.5
    assert errors.r2 == pytest.approx(1 - 10 / 20)
    assert errors.mpe_percent == pytest.approx(100 * (-1 / 4 + 3 / 6) / 4)


def test_mpe_conventions_by_hand():
    true, pred = [4, 5, 0, 0], [3, 6, 0, 2]
    expected = {
        "paper2021": 100 * (1 / 4 - 1 / 5) / 2,
        "table2021": 100 * (-1 / 4 + 1 / 5) / 2,
        "released2021": 100 * (-1 / (4 + 1e-6) + 1 / (5 + 1e-6) + 0 + 2 / 1e-6) / 4,
        "slides2023": 100 * (1 / 4 - 1 / 5 + 0 - 2) / 4,
        "released2023": 100 * (-1 / 4 + 1 / 5 + 0 + 2) / 4,
    }
    assert set(expected) == set(MPE_CONVENTIONS)
    for name, value in expected.items():
        assert mean_percentage_error(true, pred, convention=name) == pytest.approx(value)


@pytest.mark.parametrize(("convention", "sign"), [("paper2021", -1), ("table2021", 1)])
def test_mpe_of_only_empty_images_still_shows_false_positives(convention, sign):
    assert mean_percentage_error([0, 0], [0, 0], convention=convention) == 0
    assert mean_percentage_error([0, 0], [3, 0], convention=convention) == sign * 150


@pytest.mark.parametrize(
    ("true", "pred"),
    [([3, 1, 4, 1, 5], [2, 7, 1, 8, 2]), ([2, 2, 2], [2, 2, 2]), ([2, 2, 2], [2, 2, 3])],
)
def test_counting_errors_agree_with_scikit_learn(true, pred):
    errors = counting_errors(true, pred)
    assert errors.mae == pytest.approx(sklearn_metrics.mean_absolute_error(true, pred))
    assert errors.medae == pytest.approx(sklearn_metrics.median_absolute_error(true, pred))
    assert errors.r2 == pytest.approx(sklearn_metrics.r2_score(true, pred))


def test_r2_edge_cases():
    assert counting_errors([3], [3]).r2 == 1.0
    assert counting_errors([3], [4]).r2 == 0.0
    assert counting_errors([2, 4, 9], [5, 5, 5]).r2 == 0.0  # the mean count everywhere


def test_counting_errors_take_the_last_axis():
    rng = np.random.default_rng(0)
    true, pred = rng.integers(0, 9, (2, 4, 3, 6))
    for convention in MPE_CONVENTIONS:
        at_once = counting_errors(true, pred, mpe=convention)
        for i, j in np.ndindex(4, 3):
            one = counting_errors(true[i, j], pred[i, j], mpe=convention)
            assert [a[i, j] for a in at_once] == pytest.approx(list(one))


def test_bad_counts():
    with pytest.raises(InputError, match=r"\(2,\) and \(3,\)"):
        counting_errors([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="at least one image"):
        counting_errors([], [])
    with pytest.raises(InputError, match="n_pred: expected finite counts"):
        counting_errors([1], [np.nan])
    with pytest.raises(InputError, match="did you mean 'table2021'"):
        mean_percentage_error([1], [1], convention="table2020")
