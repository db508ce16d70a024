"""Bootstrap, permutation test and Holm's correction, by hand and by independent ways."""

import itertools

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.stats import bootstrap, holm, paired_permutation_test


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


@pytest.mark.parametrize("metric", METRICS)
def test_value_is_the_pooled_score_and_lies_in_the_interval(metric):
    found = bootstrap(table(), metric)
    assert found.value == pytest.approx(pooled(table())[metric])
    assert found.low <= found.value <= found.high
    assert (found.n_images, found.resamples, found.level) == (40, 9999, 0.95)
    assert found.method == ("percentile" if metric == "medae" else "BCa")


def test_percentile_interval_agrees_with_multinomial_weights():
    # an image drawn k times is an image with weight k: the same bootstrap without drawing rows
    r = table()
    weights = np.random.default_rng(9).multinomial(40, [1 / 40] * 40, size=20_000)
    tp, fp, fn = (weights @ r[c].to_numpy() for c in ("tp", "fp", "fn"))
    low, high = np.percentile(2 * tp / (2 * tp + fp + fn), [2.5, 97.5])
    found = bootstrap(r, method="percentile")
    width = high - low
    assert found.low == pytest.approx(low, abs=0.04 * width)
    assert found.high == pytest.approx(high, abs=0.04 * width)


def test_bca_interval_agrees_with_its_formula():
    # Efron (1987): percentiles shifted by bias z0 and acceleration a
    from scipy.stats import norm

    r = table(15, hit=0.95)
    n, value = len(r), f1(r)
    weights = np.random.default_rng(9).multinomial(n, [1 / n] * n, size=100_000)
    tp, fp, fn = (weights @ r[c].to_numpy() for c in ("tp", "fp", "fn"))
    scores = 2 * tp / (2 * tp + fp + fn)
    z0 = norm.ppf(((scores < value).mean() + (scores <= value).mean()) / 2)
    left_out = np.array([f1(r.drop(index=i)) for i in range(n)])
    d = left_out.mean() - left_out
    a = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    z = z0 + norm.ppf([0.025, 0.975])
    low, high = np.quantile(scores, norm.cdf(z0 + z / (1 - a * z)))
    found = bootstrap(r)
    assert found.low == pytest.approx(low, abs=0.05 * (high - low))
    assert found.high == pytest.approx(high, abs=0.05 * (high - low))
    percentile = bootstrap(r, method="percentile")
    assert abs(percentile.low - low) > abs(found.low - low)  # the correction does something


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    # 100 test sets of a method whose pooled recall is 0.8
    hits = 0
    for seed in range(100):
        found = bootstrap(table(seed=seed), "recall", resamples=499, seed=seed, level=0.9)
        hits += found.low <= 0.8 <= found.high
    assert 80 <= hits <= 98  # expected 90; 3.3 sd


def test_bootstrap_depends_on_the_seed_alone():
    assert bootstrap(table()) == bootstrap(table())
    assert bootstrap(table(), seed=1) != bootstrap(table())
    assert bootstrap(table(), level=0.5).low > bootstrap(table(), level=0.99).low


def test_bootstrap_of_identical_images_has_no_width():
    perfect = rows([3, 3, 3], [3, 3, 3], [0, 0, 0])
    assert bootstrap(perfect)[1:5] == (1.0, 1.0, 0.95, "percentile")
    empty = rows([0, 0], [0, 0], [0, 0])
    assert bootstrap(empty)[:3] == (1.0, 1.0, 1.0)
    nothing_found = rows([2, 3, 4], [0, 0, 0], [0, 0, 0])
    assert bootstrap(nothing_found)[:3] == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("metric", METRICS)
def test_resamples_of_odd_images_stay_finite(metric):
    # most resamples of these lack cells, predictions, or a spread of counts
    odd = rows([0, 0, 0, 4], [0, 0, 0, 1], [0, 0, 2, 0])
    assert np.isfinite(bootstrap(odd, metric, resamples=300)[:3]).all()


def test_missing_images_are_resampled_as_nothing_found():
    r = table(10)
    gone = r.copy()
    gone.loc[0, ["n_pred", "tp", "fp"]] = 0
    gone.loc[0, "fn"] = gone.loc[0, "n_true"]
    as_missing = gone.assign(status=["missing"] + ["ok"] * 9)
    assert bootstrap(as_missing) == bootstrap(gone)
    assert bootstrap(as_missing).n_images == 10


def test_further_matchings_have_their_own_interval():
    r = table().assign(tp_iou=1, fp_iou=1, fn_iou=3)
    assert bootstrap(r, "f1_iou").value == pytest.approx(2 / 6)


def exact_p(a, b):
    """All swaps, one by one."""
    observed, differences = f1(a) - f1(b), []
    for swaps in itertools.product([False, True], repeat=len(a)):
        swap = pd.Series(swaps)
        x = pd.concat([a[~swap], b[swap]])
        y = pd.concat([b[~swap], a[swap]])
        differences.append(f1(x) - f1(y))
    return np.mean(np.abs(differences) >= abs(observed) - 1e-12)


def test_permutation_by_hand():
    # three images; the first method finds all, the second nothing: of 8 swaps only the two extreme
    # ones are as far apart
    a, b = rows([2, 2, 2], [2, 2, 2], [0, 0, 0]), rows([2, 2, 2], [0, 0, 0], [0, 0, 0])
    found = paired_permutation_test(a, b)
    assert found == (1.0, 0.25, "exact", 3, 8)


@pytest.mark.parametrize("seed", range(4))
def test_permutation_equals_enumeration(seed):
    a, b = table(8, seed=seed), table(8, seed=seed + 10, hit=0.65)
    b["n_true"] = a["n_true"]
    found = paired_permutation_test(a, b)
    assert found.method == "exact"
    assert found.difference == pytest.approx(f1(a) - f1(b))
    assert found.p_value == pytest.approx(exact_p(a, b))


def test_random_permutations_come_near_the_exact_value():
    a, b = table(12), table(12, seed=5, hit=0.6)
    exact = paired_permutation_test(a, b)
    rough = paired_permutation_test(a, b, permutations=2000)
    assert (exact.method, rough.method) == ("exact", "random")
    assert rough.p_value == pytest.approx(exact.p_value, abs=0.03)
    assert paired_permutation_test(a, b, permutations=2000) == rough


def test_p_value_is_never_zero_and_symmetric():
    a, b = table(60), table(60, seed=5, hit=0.3)
    found = paired_permutation_test(a, b, permutations=999)
    assert found.p_value == pytest.approx(2 / 1000)  # twice (0 + 1) / (999 + 1)
    back = paired_permutation_test(b, a, permutations=999)
    assert back.difference == -found.difference
    assert back.p_value == found.p_value


def test_a_method_against_itself():
    found = paired_permutation_test(table(), table())
    assert (found.difference, found.p_value) == (0.0, 1.0)
    # and the p-value is not too small too often when there is no difference (5% expected)
    small = 0
    for seed in range(60):
        a, b = table(20, seed=seed), table(20, seed=seed + 100)
        b[["n_true", "fn"]] = np.stack([a.n_true, np.maximum(a.n_true - b.tp, 0)], axis=1)
        small += paired_permutation_test(a, b, "f1", permutations=199).p_value <= 0.05
    assert small <= 9


def test_images_are_paired_by_name_not_by_order():
    a, b = table(), table(seed=3, hit=0.6)
    shuffled = b.sample(frac=1, random_state=0)
    assert paired_permutation_test(a, b) == paired_permutation_test(a, shuffled)


def test_counting_errors_can_be_tested():
    a, b = table(10), table(10, seed=1, hit=0.3)
    b["n_true"] = a["n_true"]
    found = paired_permutation_test(a, b, "mae")
    assert found.difference == pytest.approx(pooled(a)["mae"] - pooled(b)["mae"])
    assert found.p_value < 0.05


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
        bootstrap(r, "recal")
    with pytest.raises(InputError, match="'tp_iou'"):
        bootstrap(r, "f1_iou")
    with pytest.raises(InputError, match="did you mean 'percentile'"):
        bootstrap(r, method="percentil")
    with pytest.raises(InputError, match="level"):
        bootstrap(r, level=95)
    with pytest.raises(InputError, match="resamples"):
        bootstrap(r, resamples=0)
    with pytest.raises(InputError, match="at least two images"):
        bootstrap(r[:1])
    with pytest.raises(InputError, match=r"'004\.png' in one of them only"):
        paired_permutation_test(r, r[:4])
    with pytest.raises(InputError, match=r"rows_b.*'000\.png' repeatedly"):
        paired_permutation_test(r, r.assign(image="000.png"))
    with pytest.raises(InputError, match="'image'"):
        paired_permutation_test(r.drop(columns="image"), r)
    for p in ([0.1, 1.2], [np.nan], 0.1):
        with pytest.raises(InputError, match="p_values"):
            holm(p)
