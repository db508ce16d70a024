"""Precision/recall curves and their area."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.curves import PRCurve, pr_area, pr_curve


def test_pr_curve_sorts_and_drops_what_has_no_precision():
    # cutoffs rising: blobs that merge (recall 0.5), then better (0.8), stricter (0.5, precision 1),
    # then nothing reported
    curve = pr_curve(tp=[5, 8, 5, 0], fp=[5, 2, 0, 0], fn=[5, 2, 5, 10])
    assert curve.recall.tolist() == [0.5, 0.8]
    assert curve.precision.tolist() == [1.0, 0.8]
    assert pr_area(curve) == pytest.approx(0.5 * 1 + 0.3 * 0.9)
    assert pr_area(curve, rule="steps") == pytest.approx(0.5 * 1 + 0.3 * 0.8)


def test_pr_area_steps_is_average_precision_of_scikit_learn():
    rng = np.random.default_rng(3)
    truth = rng.random(200) < 0.4
    score = np.round(rng.random(200) + 0.3 * truth, 2)
    cutoffs = np.unique(score)
    tp = [(truth & (score >= c)).sum() for c in cutoffs]
    fp = [(~truth & (score >= c)).sum() for c in cutoffs]
    fn = [(truth & (score < c)).sum() for c in cutoffs]
    expected = sklearn_metrics.average_precision_score(truth, score)
    # ours keeps one point per recall, the best: between equal recalls the step has no width
    assert pr_area(pr_curve(tp, fp, fn), rule="steps") == pytest.approx(expected)


def test_pr_area_of_one_point_is_its_rectangle():
    assert pr_area(pr_curve([7], [3], [3])) == pytest.approx(0.49)


def test_contract_of_the_curve():
    assert pr_area(pr_curve([0, 0], [0, 0], [0, 0])) == 1.0  # nothing to find, nothing reported
    assert pr_area(pr_curve([0, 0], [4, 0], [0, 0])) == 1.0  # at the cutoff that reports nothing
    assert pr_area(pr_curve([0, 0], [4, 1], [0, 0])) == 0.0
    assert pr_area(pr_curve([0, 0], [0, 0], [5, 5])) == 0.0  # no point at all
    assert pr_area(pr_curve([0], [3], [5])) == 0.0


def test_pr_area_never_exceeds_the_recall_reached():
    rng = np.random.default_rng(4)
    for _ in range(50):
        tp, fp = rng.integers(0, 20, (2, 8))
        curve = pr_curve(tp, fp, 20 - tp)
        for rule in ("trapezoid", "steps"):
            assert 0 <= pr_area(curve, rule=rule) <= curve.recall.max(initial=0) + 1e-12


def test_bad_curve_input():
    with pytest.raises(InputError, match="one count per cutoff"):
        pr_curve([1, 2], [1], [1, 2])
    with pytest.raises(InputError, match="one count per cutoff"):
        pr_curve([], [], [])
    with pytest.raises(InputError, match="did you mean 'steps'"):
        pr_area(PRCurve(np.ones(1), np.ones(1)), rule="step")
