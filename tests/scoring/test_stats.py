"""Intervals, permutation tests and Holm's rule, by hand and by independent ways."""

import itertools

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.stats import (
    holm,
    interval,
    permutation_p,
    permutations_for,
    picture_counts,
)


def table(n=40, *, seed=0, hit=0.8):
    """Rows of n images with about 10 cells each."""
    rng = np.random.default_rng(seed)
    true = rng.poisson(10, n)
    tp = rng.binomial(true, hit)
    fp = rng.poisson(1, n)
    return rows(true, tp, fp)


def rows(true, tp, fp):
    true, tp, fp = (np.asarray(a) for a in (true, tp, fp))
    return pd.DataFrame(
        {
            "image": [f"{i:03}.png" for i in range(len(true))],
            "n_true": true,
            "n_pred": tp + fp,
            "tp": tp,
            "fp": fp,
            "fn": true - tp,
            "status": "ok",
        }
    )


def f1(r):
    return 2 * r.tp.sum() / (2 * r.tp.sum() + r.fp.sum() + r.fn.sum())


METRICS = ("precision", "recall", "f1", "accuracy", "mae", "medae", "mpe_percent", "r2")


def counts(*tables):
    return picture_counts(dict(enumerate(tables)))


def p_of(a, b, metric="f1", permutations=4999):
    return permutation_p(counts(a), counts(b), metric, permutations=permutations)


@pytest.mark.parametrize("metric", METRICS)
def test_the_score_is_the_pooled_one_and_lies_in_its_interval(metric):
    one = counts(table())
    assert float(one.score(metric)) == pytest.approx(pooled(table())[metric])
    low, high = interval(one, metric)
    assert low <= float(one.score(metric)) <= high


def test_interval_agrees_with_multinomial_weights():
    # an image drawn k times is an image with weight k: the same bootstrap without drawing rows
    r = table()
    weights = np.random.default_rng(9).multinomial(40, [1 / 40] * 40, size=20_000)
    tp, fp, fn = (weights @ r[c].to_numpy() for c in ("tp", "fp", "fn"))
    low, high = np.percentile(2 * tp / (2 * tp + fp + fn), [2.5, 97.5])
    found = interval(counts(r), "f1", resamples=20_000)
    assert found == pytest.approx((low, high), abs=0.04 * (high - low))


def test_interval_agrees_with_scipy():
    from scipy import stats

    r = table(25, seed=4)
    ours = interval(counts(r), "recall", resamples=9999)
    theirs = stats.bootstrap(
        (r.tp.to_numpy(), r.fn.to_numpy()),
        lambda tp, fn, axis: tp.sum(axis) / (tp.sum(axis) + fn.sum(axis)),
        paired=True,
        method="percentile",
        random_state=np.random.default_rng(1),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.05 * width)


def test_seeds_share_their_resamples_and_are_averaged():
    a, b = table(), table(seed=3, hit=0.6)
    picked = np.random.default_rng(0).integers(0, 40, (5, 40))
    both = counts(a, b).score("f1", picked)
    alone = [[f1(r.iloc[chosen]) for chosen in picked] for r in (a, b)]
    np.testing.assert_allclose(both, np.mean(alone, axis=0))


def test_interval_covers_the_truth_about_as_often_as_it_says():
    # 100 test sets of a method whose pooled recall is 0.8
    hits = 0
    for seed in range(100):
        low, high = interval(counts(table(seed=seed)), "recall", resamples=499, seed=seed)
        hits += low <= 0.8 <= high
    assert 88 <= hits <= 100  # expected 95; 3.3 sd


def test_interval_depends_on_the_seed_alone():
    one = counts(table())
    assert interval(one, "f1") == interval(one, "f1")
    assert interval(one, "f1", seed=1) != interval(one, "f1")


def test_interval_of_identical_images_has_no_width():
    assert interval(counts(rows([3, 3, 3], [3, 3, 3], [0, 0, 0])), "f1") == (1.0, 1.0)
    assert interval(counts(rows([0, 0], [0, 0], [0, 0])), "f1") == (1.0, 1.0)
    assert interval(counts(rows([2, 3, 4], [0, 0, 0], [0, 0, 0])), "f1") == (0.0, 0.0)


@pytest.mark.parametrize("metric", METRICS)
def test_resamples_of_odd_images_stay_finite(metric):
    # most resamples of these lack cells, predictions, or a spread of counts
    odd = rows([0, 0, 0, 4], [0, 0, 0, 1], [0, 0, 2, 0])
    assert np.isfinite(interval(counts(odd), metric, resamples=300)).all()


def test_further_matchings_have_their_own_score():
    r = table().assign(tp_iou=1, fp_iou=1, fn_iou=3)
    assert float(counts(r).score("f1_iou")) == pytest.approx(2 / 6)


def exact_p(a, b):
    """All swaps, one by one."""
    observed, differences = f1(a) - f1(b), []
    for swaps in itertools.product([False, True], repeat=len(a)):
        swap = pd.Series(swaps)
        x = pd.concat([a[~swap], b[swap]])
        y = pd.concat([b[~swap], a[swap]])
        differences.append(f1(x) - f1(y))
    high = np.mean(np.array(differences) >= observed - 1e-12)
    low = np.mean(np.array(differences) <= observed + 1e-12)
    return min(1.0, 2 * min(high, low))


@pytest.mark.parametrize("seed", range(4))
def test_permutations_come_near_all_swaps(seed):
    a, b = table(8, seed=seed), table(8, seed=seed + 10, hit=0.65)
    b["n_true"] = a["n_true"]
    # 4.5 standard deviations of a share of 20,000, doubled as the p-value is
    assert p_of(a, b, permutations=20_000) == pytest.approx(exact_p(a, b), abs=0.032)


def test_permutation_by_hand():
    # three images; the first method finds all, the second nothing: of 8 swaps one is as far apart
    # on this side, so twice 1/8
    a, b = rows([2, 2, 2], [2, 2, 2], [0, 0, 0]), rows([2, 2, 2], [0, 0, 0], [0, 0, 0])
    assert exact_p(a, b) == 0.25
    assert p_of(a, b, permutations=20_000) == pytest.approx(0.25, abs=0.02)


def test_p_value_is_never_zero_and_symmetric():
    a, b = table(60), table(60, seed=5, hit=0.3)
    assert p_of(a, b, permutations=999) == pytest.approx(2 / 1000)  # twice (0 + 1) / (999 + 1)
    assert p_of(b, a, permutations=999) == p_of(a, b, permutations=999)


def test_a_method_against_itself():
    assert p_of(table(), table()) == 1.0
    # and the p-value is not too small too often when there is no difference (5% expected)
    small = 0
    for seed in range(60):
        a, b = table(20, seed=seed), table(20, seed=seed + 100)
        b[["n_true", "fn"]] = np.stack([a.n_true, np.maximum(a.n_true - b.tp, 0)], axis=1)
        small += p_of(a, b, permutations=199) <= 0.05
    assert small <= 9


def test_images_are_paired_by_name_not_by_order():
    a, b = table(), table(seed=3, hit=0.6)
    assert p_of(a, b) == p_of(a, b.sample(frac=1, random_state=0))


def test_rows_of_other_pictures_cannot_be_compared():
    assert p_of(table(), table().replace({"image": {"000.png": "other.png"}})) is None


def test_counting_errors_can_be_tested():
    a, b = table(10), table(10, seed=1, hit=0.3)
    b["n_true"] = a["n_true"]
    assert p_of(a, b, "mae") < 0.05


@pytest.mark.parametrize("number", [2, 5, 17, 40])
def test_the_smallest_p_value_survives_holm(number):
    pairs = number * (number - 1) // 2
    smallest = 2 / (permutations_for(number) + 1)
    assert holm([smallest] + [1.0] * (pairs - 1))[0] < 0.05 / 4


def test_holm_by_hand():
    # 4 tests: 0.005*4, 0.01*3, 0.03*2, 0.04*1 -> 0.02, 0.03, 0.06, 0.04 raised to 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.6]).tolist() == pytest.approx([0.8, 0.8])
    assert holm([0.7, 0.6]).tolist() == [1.0, 1.0]
    assert holm([0.2]).tolist() == [0.2]
    assert holm([]).tolist() == []


def test_holm_equals_its_closed_form():
    # adjusted p_(i) = max over j <= i of min(1, (m - j + 1) p_(j))
    p = np.random.default_rng(0).random(12) ** 3
    ordered = np.sort(p)
    expected = [
        max(min(1, (12 - j) * ordered[j]) for j in range(np.searchsorted(ordered, v) + 1))
        for v in p
    ]
    assert holm(p).tolist() == pytest.approx(expected)


def test_bad_input():
    r = table(5)
    with pytest.raises(InputError, match="did you mean 'recall'"):
        interval(counts(r), "recal")
    with pytest.raises(InputError, match="'tp_iou'"):
        interval(counts(r), "f1_iou")
    with pytest.raises(InputError, match="seed 1 was scored on different pictures"):
        counts(r, r[:4])
    with pytest.raises(InputError, match=r"'000\.png' repeatedly"):
        counts(r.assign(image="000.png"))
    for p in ([0.1, 1.2], [np.nan], 0.1):
        with pytest.raises(InputError, match="p_values"):
            holm(p)
