"""Strategies on pictures whose order is known by hand."""

import numpy as np
import pytest

from cellcount_lib.active.strategies import STRATEGIES, Look, choose, draw, look, turn
from cellcount_lib.errors import InputError


def at(*features, cells=1, entropy=1.0):
    return Look(cells, entropy, np.array(features, float))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_look_by_hand():
    image = np.zeros((2, 4, 3), np.uint8)
    image[0, 0] = 255, 3, 3
    heatmap = np.array([[0.5, 0.5, 0, 0], [1, 0, 0, 0]], np.float32)
    labels = np.array([[7, 0, 0, 0], [0, 0, 0, 9]], np.int32)
    seen = look(image, heatmap, labels)
    assert seen.cells == 2
    assert seen.entropy == pytest.approx(2 / 8, abs=1e-4)  # two pixels of one bit
    assert seen.features[0] == 0
    assert seen.features[3:] == pytest.approx([0.5, np.log(3)])  # a quarter of the pixels


def test_uncertainty_takes_the_most_uncertain_first():
    pool = [at(0, entropy=e) for e in (0.1, 0.4, 0.2, 0.3)]
    assert choose("uncertainty", pool, [], 3, rng()) == [1, 3, 2]


def test_diversity_takes_what_is_farthest_from_all_that_is_taken_or_labelled():
    pool = [at(x) for x in (0.0, 1.0, 5.0, 9.0)]
    # from 0: 9 is farthest; then 5, which is 4 from 9; then 1
    assert choose("diversity", pool, [at(0.0)], 4, rng()) == [3, 2, 1, 0]
    assert choose("diversity", pool, [at(9.0)], 2, rng()) == [0, 2]
    for seed in range(5):  # without labels, the second is the farthest from the first
        first, second = choose("diversity", pool, [], 2, rng(seed))
        assert second == {0: 3, 1: 3, 2: 0, 3: 0}[first]


def test_every_feature_counts_alike():
    pool = [at(0, 0), at(1000, 0), at(0, 0.002)]  # in sd of the feature: 2.1, and 2.1
    one, other = choose("diversity", pool, [at(0, 0)], 2, rng())
    assert {one, other} == {1, 2}


def test_uncertainty_far_weighs_the_distance():
    pool = [at(9.0, entropy=0.1), at(5.0, entropy=0.3), at(0.0, entropy=1.0)]
    # 9 x 0.1, 5 x 0.3, 0 x 1; then 4 x 0.1 against 0
    assert choose("uncertainty-far", pool, [at(0.0)], 3, rng()) == [1, 0, 2]


def test_foreground_draws_by_the_number_of_cells():
    pool = [at(0, cells=n) for n in (0, 1, 3)]
    firsts = np.bincount([choose("foreground", pool, [], 1, rng(s))[0] for s in range(1500)])
    assert firsts[0] == 0
    assert firsts[2] / 1500 == pytest.approx(0.75, abs=0.04)  # 3.6 sd
    alike = np.bincount([choose("random", pool, [], 1, rng(s))[0] for s in range(1500)])
    assert alike / 1500 == pytest.approx([1 / 3] * 3, abs=0.045)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_all_are_taken_once_and_the_same_seed_takes_the_same(strategy):
    pool = [at(0.0, cells=0, entropy=0.0)] * 3 + [at(1.0), at(2.0)]
    taken = choose(strategy, pool, [at(4.0)], 5, rng(1))
    assert sorted(taken) == [0, 1, 2, 3, 4]
    assert taken == choose(strategy, pool, [at(4.0)], 5, rng(1))
    assert choose(strategy, pool, [], 0, rng()) == []
    with pytest.raises(InputError, match="at most 5"):
        choose(strategy, pool, [], 6, rng())


def test_an_unknown_strategy_names_the_nearest():
    with pytest.raises(InputError, match="uncertainty"):
        choose("uncertanty", [at(0)], [], 1, rng())


def test_turns_are_a_draw_by_the_number_of_cells():
    sooner = [turn(4, "many", n) < turn(1, "few", n) for n in range(2000)]
    assert np.mean(sooner) == pytest.approx(0.8, abs=0.045)
    assert turn(0, "none") == 1
    assert 0 < turn(10**6, "full") < 1e-3


def test_keys_of_heavier_pictures_are_larger_more_often():
    chances = rng().random(20_000)
    wins = np.mean(
        [draw(4, a) > draw(1, b) for a, b in zip(chances[::2], chances[1::2], strict=True)]
    )
    assert wins == pytest.approx(0.8, abs=0.015)
