"""Intervals, differences and the probability of improvement, by hand and by independent ways."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from benchmarks.coverage import DESIGNS, coverage, differing, power
from cellcount_lib.errors import InputError
from cellcount_lib.scoring import stats
from cellcount_lib.scoring.letters import letters
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.stats import (
    PictureCounts,
    difference,
    estimate,
    interval,
    picture_counts,
    probability_of_improvement,
    resampled,
    trainings_to_decide,
)


def table(n=40, *, seed=0, hit=0.8):
    """Rows of n images with about 10 cells each."""
    rng = np.random.default_rng(seed)
    true = rng.poisson(10, n)
    return rows(true, rng.binomial(true, hit), rng.poisson(1, n))


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


METRICS = ("precision", "recall", "f1", "accuracy", "mae", "medae", "mpe_percent", "r2")


def counts(*tables, first=0, trained=True):
    return picture_counts(dict(enumerate(tables, start=first)), trained=trained)


def fixed(one):
    return counts(one, trained=False)


def design(seeds=5, *, first=0, hit=0.8, spread=0.0, n=40):
    """Trainings on the same pictures, whose share of found cells varies by `spread`."""
    rng = np.random.default_rng(100 + first)
    true = np.random.default_rng(7).poisson(10, n)
    hits = np.clip(hit + rng.normal(0, spread, seeds), 0, 1)
    return counts(
        *(rows(true, rng.binomial(true, h), rng.poisson(1, n)) for h in hits), first=first
    )


@pytest.mark.parametrize("metric", METRICS)
def test_the_score_is_the_pooled_one_and_lies_in_its_interval(metric):
    one = fixed(table())
    assert one.scores(metric) == pytest.approx([pooled(table())[metric]])
    low, high = interval(one, metric)
    assert low <= one.scores(metric)[0] <= high


def test_every_seed_is_pooled_on_the_same_drawn_pictures():
    a, b = table(), table(seed=3, hit=0.6)
    picked, times = stats._draws(40, 5, 2)
    assert picked.shape == (5, 39)  # one fewer than there are
    np.testing.assert_array_equal(times.sum(axis=1), 39)
    expected = [[f1(r.iloc[drawn]) for r in (a, b)] for drawn in picked]
    np.testing.assert_allclose(counts(a, b).scores("f1", resamples=5, seed=2), expected)


@pytest.mark.parametrize("metric", ["f1", "px_mcc", "px_specificity"])
def test_sums_are_taken_where_they_are_enough_and_change_nothing(metric, monkeypatch):
    rng = np.random.default_rng(4)
    names = [f"{px}{c}" for px in ("", "px_") for c in ("tp", "fp", "fn", "tn")]
    columns = {c: rng.integers(1, 10**4, (3, 9)).astype(float) for c in names}
    row = PictureCounts([str(i) for i in range(9)], [0, 1, 2], columns, "released2023")
    by_sums = row.scores(metric, resamples=40)
    monkeypatch.setattr(stats, "ADDED_UP", ())
    np.testing.assert_allclose(row.scores(metric, resamples=40), by_sums, rtol=1e-12)
    assert len(np.unique(by_sums)) > 100


def test_a_mean_over_pictures_has_the_interval_of_students_t():
    """The average precision is a mean over pictures; of one method, it is a sample as any other."""
    values = np.random.default_rng(5).normal(0.5, 0.1, 8)
    row = PictureCounts([str(i) for i in range(8)], [0], {"ap": values[None]}, "", trained=False)
    exact = scipy.stats.ttest_1samp(values, 0.5)
    scored = estimate(resampled(row, "ap", resamples=100_000))
    assert scored.freedom == pytest.approx(7)
    assert scored.error == pytest.approx(values.std(ddof=1) / np.sqrt(8), rel=0.01)
    low, high = exact.confidence_interval()
    assert 2 * scored.reach() == pytest.approx(high - low, rel=0.01)
    # of a share, on its log-odds: the ends lie symmetric there
    ends = np.array(interval(row, "ap", resamples=100_000))
    odds = np.log(ends / (1 - ends))
    centre = np.log(values.mean() / (1 - values.mean()))
    assert odds.mean() == pytest.approx(centre, rel=1e-9)
    assert np.ptp(odds) == pytest.approx(
        (high - low) / (values.mean() * (1 - values.mean())), rel=0.01
    )


def same_everywhere(scores, n=12):
    """Trainings that find so many of 10 cells in every picture: nothing depends on the picture."""
    return counts(*(found([s] * n) for s in scores))


def test_where_pictures_are_all_alike_trainings_have_the_interval_of_students_t():
    row = same_everywhere([5, 6, 7, 9])
    exact = scipy.stats.t.interval(0.95, 3, 0.675, np.std([0.5, 0.6, 0.7, 0.9], ddof=1) / 2)
    scored = estimate(resampled(row, "recall"))
    assert scored.value == pytest.approx(0.675)
    assert scored.freedom == pytest.approx(3)
    assert scored.value + scored.reach() == pytest.approx(exact[1])
    other = counts(*(found([s] * 12) for s in (3, 6, 4, 5, 3)), first=10)
    welch = scipy.stats.ttest_ind([0.5, 0.6, 0.7, 0.9], [0.3, 0.6, 0.4, 0.5, 0.3], equal_var=False)
    less = difference(row, other, "recall")
    assert less.p == pytest.approx(welch.pvalue)
    assert (less.low, less.high) == pytest.approx(welch.confidence_interval())
    same_seeds = same_everywhere([3, 6, 4, 5])
    paired = scipy.stats.ttest_rel([0.5, 0.6, 0.7, 0.9], [0.3, 0.6, 0.4, 0.5])
    assert difference(row, same_seeds, "recall").p == pytest.approx(paired.pvalue)


def test_drawing_the_seeds_as_well_gives_the_same_variance():
    """The two-level bootstrap, taken literally, where no picture suits one training only."""
    rng = np.random.default_rng(2)
    training, picture = rng.normal(0, 0.05, (5, 1)), rng.normal(0, 0.2, 30)
    scores = 0.5 + training + picture
    row = PictureCounts([str(i) for i in range(30)], list(range(5)), {"ap": scores}, "")
    drawn = row.scores("ap", resamples=40_000)
    seeds = rng.multinomial(4, [1 / 5] * 5, 40_000) / 4
    literal = (drawn * seeds).sum(axis=1).std()
    assert estimate(resampled(row, "ap")).error == pytest.approx(literal, rel=0.03)
    usual = (drawn * rng.multinomial(5, [1 / 5] * 5, 40_000) / 5).sum(axis=1).std()
    assert usual < literal


def test_what_suits_one_training_only_counts_once():
    """Against the variance of means over many tables drawn from one model."""
    rng = np.random.default_rng(3)
    s, p, both, n = 0.03, 0.15, 0.4, 25
    means, estimated = [], []
    for _ in range(400):
        scores = rng.normal(0, s, (5, 1)) + rng.normal(0, p, n) + rng.normal(0, both, (5, n))
        row = PictureCounts([str(i) for i in range(n)], list(range(5)), {"ap": scores}, "")
        scored = estimate(resampled(row, "ap", resamples=400))
        means.append(scored.value)
        estimated.append(scored.error**2)
    real = s**2 / 5 + p**2 / n + both**2 / (5 * n)
    assert np.var(means) == pytest.approx(real, rel=0.2)  # the formula: 7% by chance
    assert np.mean(estimated) == pytest.approx(real, rel=0.12)  # twice would be 54% more


def test_pictures_that_move_no_mean_add_nothing():
    suits = np.array([[1, 0, -1, 0], [-1, 1, 0, 0], [0, -1, 1, 0]]) / 10  # one each, none all
    scores = 0.5 + suits + np.array([[0], [0.01], [0.05]])
    row = PictureCounts(list("abcd"), [0, 1, 2], {"ap": scores}, "")
    of_trainings = np.std([0.5, 0.51, 0.55], ddof=1) / np.sqrt(3)
    assert estimate(resampled(row, "ap")) == pytest.approx((0.52, of_trainings, 2))


def test_pictures_that_two_rows_share_do_not_count_as_their_difference():
    hard = np.array([2, 9] * 10)
    a = counts(*(found(hard + d) for d in (0, 1, 0)))
    b = counts(*(found(hard - d) for d in (0, 1, 1)), first=10)
    for row in (a, b):
        assert estimate(resampled(row, "recall")).error > 0.07
    assert estimate(resampled(a, "recall"), resampled(b, "recall")).error < 0.06


def test_a_method_without_training_against_a_design():
    row, otsu = same_everywhere([5, 6, 7, 9]), fixed(found([4] * 12))
    less, exact = difference(row, otsu, "recall"), scipy.stats.ttest_1samp([5, 6, 7, 9], 4)
    assert less.p == pytest.approx(exact.pvalue)
    assert difference(otsu, row, "recall").value == -less.value == pytest.approx(-0.275)
    # two methods without training: the paired t-test over pictures
    a, b = np.array([4, 6, 5, 7, 8, 5]), np.array([3, 5, 5, 5, 8, 6])
    less = difference(fixed(found(a)), fixed(found(b)), "recall", resamples=50_000)
    assert less.p == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, rel=0.02)


@pytest.mark.parametrize(
    ("name", "shared"), [*((name, False) for name in DESIGNS), ("as the losses", True)]
)
def test_two_groups_of_one_design_seldom_differ(name, shared):
    """The A/A test: 1000 tries with five trainings each; 5% expected, 7% allowed."""
    assert differing(DESIGNS[name], 5, 70, 1000, shared=shared) <= 0.07


def test_intervals_hold_the_truth_and_differences_are_seen():
    losses = DESIGNS["as the losses"]
    assert coverage(losses, 5, 70, 200)[0] > 0.88  # 92.5% of 1000; two standard deviations below
    assert power(losses, 5, 70, 100, 0.4) > 0.9  # 0.98
    held, width, even = coverage(losses, 3, 70, 200)
    assert held > 0.89
    assert 0.12 < width < 0.2
    assert even > 0.85


@pytest.mark.parametrize("call", [interval, lambda r, m: difference(r, design(first=9), m)])
def test_fewer_than_three_trainings_have_no_interval(call):
    assert call(design(2), "f1") is None
    assert call(design(3), "f1") is not None


def test_one_picture_and_other_pictures_say_nothing():
    assert interval(fixed(table(1)), "f1") is None
    assert difference(fixed(table(5)), fixed(table(6)), "f1") is None
    assert difference(design(3), design(2, first=9), "f1") is None


def test_nothing_varies():
    perfect, none = fixed(found([10] * 4)), fixed(found([0] * 4))
    assert interval(perfect, "f1") == (1.0, 1.0)
    assert interval(none, "f1") == (0.0, 0.0)
    assert interval(fixed(rows([0, 0], [0, 0], [0, 0])), "f1") == (1.0, 1.0)
    assert difference(perfect, none, "f1") == (1.0, 1.0, 1.0, 0.0)
    assert difference(none, none, "f1") == (0.0, 0.0, 0.0, 1.0)
    once, twice = design(5), design(5)  # the same trainings
    assert difference(once, twice, "f1").p == 1.0


@pytest.mark.parametrize("metric", METRICS)
def test_resamples_of_odd_images_stay_finite(metric):
    # most resamples of these lack cells, predictions, or a spread of counts
    odd = rows([0, 0, 0, 4], [0, 0, 0, 1], [0, 0, 2, 0])
    assert np.isfinite(interval(fixed(odd), metric, resamples=300)).all()


@pytest.mark.parametrize("true", [[5, 0, 0], [1001, 0, 0]])
@pytest.mark.parametrize("hit", [0, 1])
def test_the_interval_of_a_share_ends_at_0_and_1(true, hit):
    low, high = interval(fixed(rows(true, [hit, 0, 0], [0, 0, 0])), "f1", resamples=300)
    assert 0 <= low <= high <= 1


def test_rounding_is_no_difference():
    """The same scores, whose sums over five and seven trainings end in other digits."""
    found = []
    for seed in range(20):
        true = np.random.default_rng(seed).poisson(9, 12)
        nothing = rows(true, 0 * true, 0 * true)  # what a collapsed training predicts
        five, seven = (counts(*[nothing] * n) for n in (5, 7))
        found.append(difference(five, seven, "mae"))
        assert letters([five, seven], "mae") == ["a", "a"]
    assert any(less.value != 0 for less in found)
    assert all(less.p == 1 for less in found)


def test_intervals_depend_on_the_seed_alone_and_not_on_the_order_of_pictures():
    one = fixed(table())
    assert interval(one, "f1") == interval(one, "f1")
    assert interval(one, "f1", seed=1) != interval(one, "f1")
    shuffled, other = fixed(table().sample(frac=1, random_state=0)), fixed(table(seed=3, hit=0.6))
    assert interval(shuffled, "f1") == interval(one, "f1")
    assert difference(other, shuffled, "f1") == difference(other, one, "f1")


def test_further_matchings_have_their_own_score():
    r = table().assign(tp_iou=1, fp_iou=1, fn_iou=3)
    assert counts(r).scores("f1_iou") == pytest.approx([2 / 6])


# --- probability of improvement ------------------------------------------------------------------


def test_improvement_is_the_share_of_pairs_as_scipy_counts_them():
    a, b = same_everywhere([5, 6, 7, 7, 9]), same_everywhere([3, 6, 7, 5])
    pairs = [(x > y) + (x == y) / 2 for x, y in itertools.product([5, 6, 7, 7, 9], [3, 6, 7, 5])]
    chance = probability_of_improvement(a, b, "recall")
    assert chance.value == pytest.approx(np.mean(pairs))
    u = scipy.stats.mannwhitneyu([5, 6, 7, 7, 9], [3, 6, 7, 5]).statistic
    assert chance.value == pytest.approx(u / 20)
    back = probability_of_improvement(b, a, "recall")
    assert (back.value, back.low, back.high) == pytest.approx(
        (1 - chance.value, 1 - chance.high, 1 - chance.low)
    )
    assert probability_of_improvement(a, b, "mae").value == pytest.approx(chance.value)


def test_improvement_in_every_pair_is_not_certain():
    a, b = same_everywhere([7, 8, 9, 9, 10]), same_everywhere([1, 2, 3, 4, 5])
    value, low, high = probability_of_improvement(a, b, "f1")
    assert (value, high) == (1.0, 1.0)
    # at the lower end, by Newcombe's method 5: (1 - p)^2 = 1.96^2 p (1 - p) (1 + 4 (...)) / 25
    spread = low * (1 - low) * (1 + 4 * ((1 - low) / (2 - low) + low / (1 + low))) / 25
    assert (1 - low) ** 2 == pytest.approx(1.96**2 * spread, rel=0.01)
    assert 0.6 < low < 0.7


def test_improvement_on_a_method_without_training_is_a_share_of_trainings():
    a, otsu = same_everywhere([7, 8, 9, 9, 3]), fixed(found([5] * 12))
    value, low, high = probability_of_improvement(a, otsu, "f1")
    wilson = scipy.stats.binomtest(4, 5).proportion_ci(method="wilson")
    assert value == pytest.approx(0.8)
    assert (low, high) == pytest.approx((wilson.low, wilson.high), abs=0.001)
    assert probability_of_improvement(otsu, fixed(found([4] * 12)), "f1") == (1.0, 1.0, 1.0)


def test_the_better_percentage_error_is_the_smaller_one():
    under, over = same_everywhere([9, 9]), same_everywhere([5, 5])
    assert probability_of_improvement(under, over, "mpe_percent").value == 1.0


def test_bad_input():
    r = table(5)
    with pytest.raises(InputError, match="did you mean 'recall'"):
        interval(fixed(r), "recal")
    with pytest.raises(InputError, match="'tp_iou'"):
        interval(fixed(r), "f1_iou")
    with pytest.raises(InputError, match="seed 1 was scored on different pictures"):
        counts(r, r[:4])
    with pytest.raises(InputError, match=r"'000\.png' repeatedly"):
        counts(r.assign(image="000.png"))


def of_seeds(scores, *, pictures=50, first=0):
    """A row whose seeds have given recalls, the same in every picture of 1000 cells."""
    tables = [rows([1000] * pictures, [int(1000 * s)] * pictures, [0] * pictures) for s in scores]
    return counts(*tables, first=first)


def needed(effect, *, paired):
    """How many trainings a t-test needs for a power of 0.8, by the noncentral t distribution."""
    for n in range(2, 100):
        free, away = (n - 1, effect * n**0.5) if paired else (2 * n - 2, effect * (n / 2) ** 0.5)
        if scipy.stats.nct.sf(scipy.stats.t.ppf(0.975, free), free, away) >= 0.8:
            return n
    return None


def test_trainings_to_decide_are_those_of_a_t_test():
    """Cohen's examples: a difference of one standard deviation, and of two, and of a half."""
    for effect, by in ((2, 0.02), (1, 0.01), (0.5, 0.005)):
        a, b = of_seeds([0.80 + by, 0.81 + by, 0.82 + by]), of_seeds([0.81] * 3)
        assert trainings_to_decide(a, b, "recall") == needed(effect, paired=True)
        assert trainings_to_decide(b, a, "recall") == needed(effect, paired=True)
    # of other seeds: both spreads count
    a, b = of_seeds([0.80, 0.81, 0.82]), of_seeds([0.79, 0.80, 0.81], first=10)
    assert trainings_to_decide(a, b, "recall") == needed(1, paired=False) == 17


def test_no_number_of_trainings_decides_what_pictures_leave_open():
    few = [counts(found([9, 2, 8]), found([8, 3, 8]), found([9, 2, 9])), counts(found([7, 5, 6]))]
    few[1] = picture_counts({0: found([7, 5, 6])}, trained=False)
    assert trainings_to_decide(*few, "recall") is None
