"""Intervals, permutation tests and Holm's rule, by hand and by independent ways."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from cellcount_lib.errors import InputError
from cellcount_lib.scoring import stats
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.stats import (
    PictureCounts,
    holm,
    interval,
    letters,
    permutation_p,
    permutations_for,
    picture_counts,
    row_letters,
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


def found(tp):
    """Rows of pictures with 10 cells each, of which `tp` are found."""
    return rows([10] * len(tp), tp, [0] * len(tp))


GOOD, BAD = found([9, 8, 10, 9, 7, 9, 10, 8]), found([5, 4, 6, 5, 3, 5, 6, 4])
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


def test_interval_is_that_of_scipy_on_the_same_resamples():
    a, b = table(25, seed=4), table(25, seed=5, hit=0.6)

    def recall(tp, fn, tp_b, fn_b, axis):
        one, other = tp.sum(axis) / (tp + fn).sum(axis), tp_b.sum(axis) / (tp_b + fn_b).sum(axis)
        return (one + other) / 2

    theirs = scipy.stats.bootstrap(
        [r[c].to_numpy() for r in (a, b) for c in ("tp", "fn")],
        recall,
        paired=True,
        vectorized=True,
        n_resamples=999,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    ours = interval(counts(a, b), "recall", resamples=999, seed=3)
    assert ours == pytest.approx((theirs.low, theirs.high), rel=1e-12)


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


def test_swaps_follow_their_definition():
    """Of several seeds, on the same random swaps: every seed of one meets a seed of the other."""
    a, b = (GOOD, found([9, 4, 6, 9, 3, 9, 6, 9])), (found([8, 4, 9, 7, 3, 8, 6, 9]),)
    differences = []
    for swap in np.random.default_rng(0).random((300, 8)) < 0.5:
        one = [f1(pd.concat([r[~swap], b[0][swap]])) for r in a]
        other = [f1(pd.concat([b[0][~swap], r[swap]])) for r in a]
        differences.append(np.mean(one) - np.mean(other))
    observed = np.mean([f1(r) for r in a]) - f1(b[0])
    high = (np.sum(np.array(differences) >= observed - 1e-12) + 1) / 301
    low = (np.sum(np.array(differences) <= observed + 1e-12) + 1) / 301
    expected = min(1.0, 2 * min(high, low))
    assert 2 / 301 < expected < 1  # neither the smallest possible nor the largest
    assert permutation_p(counts(*a), counts(*b), "f1", permutations=300) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["f1", "px_mcc", "px_specificity"])
def test_sums_are_taken_where_they_are_enough_and_change_nothing(metric, monkeypatch):
    rng = np.random.default_rng(4)
    pair = []
    for _ in range(2):
        names = ("tp", "fp", "fn", "tn")
        columns = {f"px_{c}": rng.integers(1, 10**6, (2, 9)).astype(float) for c in names}
        columns |= {c: rng.integers(1, 90, (2, 9)).astype(float) for c in names}
        pair.append(PictureCounts([str(i) for i in range(9)], [0, 1], columns, "released2023"))
    by_sums = permutation_p(*pair, metric, permutations=400)
    monkeypatch.setattr(stats, "ADDED_UP", ())
    assert permutation_p(*pair, metric, permutations=400) == by_sums
    assert by_sums < 1


def test_more_seeds_are_compared_with_one():
    oracle = counts(found([10] * 8))
    assert 0 < permutation_p(counts(GOOD, GOOD, BAD), oracle, "f1", permutations=4999) < 0.05


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


def test_letters_by_hand():
    def same(n, *different):
        table = np.ones((n, n), bool)
        for i, j in different:
            table[i, j] = table[j, i] = False
        return table

    assert letters([3, 2, 1], same(3)) == ["a", "a", "a"]
    assert letters([3, 2, 1], same(3, (0, 1), (0, 2), (1, 2))) == ["a", "b", "c"]
    assert letters([3, 2, 1], same(3, (0, 2))) == ["a", "ab", "b"]
    assert letters([1, 2, 3], same(3, (0, 2))) == ["b", "ab", "a"]
    assert letters([1, 2, 3], same(3, (0, 2)), higher=False) == ["a", "ab", "b"]


@pytest.mark.parametrize("seed", range(20))
def test_letters_are_the_largest_groups_without_a_difference(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    same = rng.random((n, n)) < 0.6
    same = same & same.T | np.eye(n, dtype=bool)
    groups = {
        frozenset(group)
        for size in range(1, n + 1)
        for group in itertools.combinations(range(n), size)
        if same[np.ix_(group, group)].all()
    }
    means = rng.random(n).tolist()
    marks = letters(means, same)
    shared = [frozenset(i for i in range(n) if m in marks[i]) for m in sorted(set("".join(marks)))]
    assert len(set(shared)) == len(shared)
    assert set(shared) == {g for g in groups if not any(g < other for other in groups)}
    assert "a" in marks[int(np.argmax(means))]


def test_rows_get_the_letters_of_their_corrected_tests():
    good, bad = counts(*[GOOD] * 2), counts(BAD)
    # of 8 pictures each way p is 2/256 = 0.008: differs after Holm over 3 pairs, not over 10
    assert row_letters([bad, good, good], "f1") == ["b", "a", "a"]
    assert row_letters([bad, good, good], "mae") == ["b", "a", "a"]
    assert row_letters([bad, bad, good, good, good], "f1") == ["a"] * 5


def test_rows_that_cannot_be_compared_have_no_letters():
    assert row_letters([counts(GOOD), counts(BAD[:4])], "f1") == ["", ""]
    assert row_letters([counts(GOOD)], "f1") == [""]
    assert row_letters([], "f1") == []


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
