from itertools import permutations

import numpy as np
import pytest

from benchmarks.matching import all_pairs_distance, all_pairs_iou, loop_2021, loop_2023
from cellcount_lib.errors import InputError
from cellcount_lib.scoring.matching import RULES, match, splits_and_merges

DISTANCE_RULES = ("2021", "2023-distance", "hungarian-distance")
IOU_RULES = ("2023-iou", "hungarian-iou")


def squares(*places, shape=(200, 200), half=4):
    """Labels 1, 2, ... : squares of 2 half + 1 pixels around these centres."""
    labels = np.zeros(shape, np.int32)
    for number, (y, x) in enumerate(places, start=1):
        labels[y - half : y + half + 1, x - half : x + half + 1] = number
    return labels


def random_squares(rng, n):
    places = rng.integers(5, 115, (rng.integers(0, n), 2))
    return squares(*places, shape=(120, 120), half=int(rng.integers(2, 5)))


@pytest.mark.parametrize("seed", range(40))
def test_rules_of_the_studies_equal_their_loops(seed):
    rng = np.random.default_rng(seed)
    true, pred = random_squares(rng, 14), random_squares(rng, 14)
    for threshold in (8.0, 25.0, 60.0):
        assert match(true, pred, rule="2021", threshold=threshold)[:3] == loop_2021(
            true, pred, threshold
        )
        assert match(true, pred, rule="2023-distance", threshold=threshold)[:3] == loop_2023(
            all_pairs_distance(true, pred) <= threshold
        )
    for threshold in (0.0, 0.1, 0.4):
        assert match(true, pred, rule="2023-iou", threshold=threshold)[:3] == loop_2023(
            all_pairs_iou(true, pred) > threshold
        )


@pytest.mark.parametrize("seed", range(15))
def test_hungarian_rules_are_the_best_of_all_pairings(seed):
    rng = np.random.default_rng(seed)
    true, pred = random_squares(rng, 6), random_squares(rng, 6)
    distance, iou = all_pairs_distance(true, pred), all_pairs_iou(true, pred)
    cases = {
        "hungarian-distance": (distance <= 40, 1 - distance / 40, 40.0),
        "hungarian-iou": (iou > 0.05, iou, 0.05),
    }
    for rule, (near, quality, threshold) in cases.items():
        if near.shape[0] > near.shape[1]:
            near, quality = near.T, quality.T
        best = max(
            (sum(near[i, j] for i, j in enumerate(p)),
             sum(quality[i, j] for i, j in enumerate(p) if near[i, j]))
            for p in permutations(range(near.shape[1]), near.shape[0])
        )  # fmt: skip
        found = match(true, pred, rule=rule, threshold=threshold)
        assert found.tp == best[0]
        ids = [[i for i in np.unique(side) if i] for side in (true, pred)]
        rows = [ids[0].index(t) for t in found.pairs[:, 0]]
        columns = [ids[1].index(p) for p in found.pairs[:, 1]]
        matrix = 1 - distance / 40 if rule.endswith("distance") else iou
        assert matrix[rows, columns].sum() == pytest.approx(best[1])


def test_2021_depends_on_the_order_of_the_predictions():
    # true a and b; prediction 1 lies between them, nearer to b, and takes it from prediction 2
    true = squares((50, 20), (50, 60))
    early = squares((50, 45), (50, 100))
    assert match(true, early, rule="2021", threshold=50)[:3] == (1, 1, 1)
    late = squares((50, 100), (50, 45))
    assert match(true, late, rule="2021", threshold=50)[:3] == (2, 0, 0)
    assert match(true, early, rule="hungarian-distance", threshold=50)[:3] == (2, 0, 0)


def test_2021_takes_centres_of_boxes_cut_to_whole_pixels():
    true, pred = np.zeros((2, 10, 90), np.int32)
    true[:, :2] = 1  # columns 0 to 1: centre 1
    pred[:2, 40:62] = 1  # columns 40 to 61: centre 51; rows 0 to 1: centre 1
    pred[0, 40:80] = 1  # a tail: columns 40 to 79, centre 60
    assert match(true, pred, rule="2021", threshold=59)[:3] == (0, 1, 1)
    assert match(true, pred, rule="2021", threshold=60)[:3] == (1, 0, 0)  # sqrt(59^2 + 4^2) = 59.1


def test_of_equally_near_true_objects_2021_takes_the_first():
    true, pred = squares((50, 20), (50, 60)), squares((50, 40))
    assert match(true, pred, rule="2021", threshold=50).pairs.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("rule", "at_threshold"), [("2021", 0), ("2023-distance", 1), ("hungarian-distance", 1)]
)
def test_a_distance_equal_to_the_threshold(rule, at_threshold):
    true, pred = squares((20, 20)), squares((50, 60))  # 30-40-50
    assert match(true, pred, rule=rule, threshold=50).tp == at_threshold
    assert match(true, pred, rule=rule, threshold=50.01).tp == 1
    assert match(true, pred, rule=rule, threshold=49.99).tp == 0


@pytest.mark.parametrize("rule", IOU_RULES)
def test_an_iou_equal_to_the_threshold_is_no_match(rule):
    true, pred = np.array([[1, 1, 1, 0, 0]]), np.array([[0, 2, 2, 2, 0]])  # 2 of 4
    assert match(true, pred, rule=rule, threshold=0.5).tp == 0
    assert match(true, pred, rule=rule, threshold=0.49).tp == 1


def test_two_sided_rules_are_not_one_to_one():
    one, halves = np.array([[1, 1, 1, 1]]), np.array([[1, 1, 2, 2]])
    cut = match(one, halves, rule="2023-iou", threshold=0.4)
    assert cut == (1, 0, 0, 1, 2, cut.pairs)
    merged = match(halves, one, rule="2023-iou", threshold=0.4)
    assert merged[:5] == (2, 0, 0, 2, 1)
    assert merged.pairs.tolist() == [[1, 1], [2, 1]]
    assert match(one, halves, rule="hungarian-iou", threshold=0.4)[:3] == (1, 1, 0)
    assert match(halves, one, rule="hungarian-iou", threshold=0.4)[:3] == (1, 0, 1)


def test_hungarian_prefers_more_matches_to_better_ones():
    # prediction 1 fits true 1 best, but only it reaches true 2
    true, pred = squares((50, 50), (50, 80)), squares((50, 55), (50, 30))
    assert match(true, pred, rule="hungarian-distance", threshold=26).pairs.tolist() == [
        [1, 2],
        [2, 1],
    ]


@pytest.mark.parametrize("rule", RULES)
def test_empty_sides_and_perfect_predictions(rule):
    threshold = 0.5 if rule in IOU_RULES else 10.0
    none, some = squares(), squares((30, 30), (100, 100), (30, 150))
    assert match(none, none, rule=rule, threshold=threshold)[:5] == (0, 0, 0, 0, 0)
    assert match(some, none, rule=rule, threshold=threshold)[:5] == (0, 0, 3, 3, 0)
    assert match(none, some, rule=rule, threshold=threshold)[:5] == (0, 3, 0, 0, 3)
    found = match(some, some, rule=rule, threshold=threshold)
    assert found[:5] == (3, 0, 0, 3, 3)
    assert found.pairs.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert match(none, some, rule=rule, threshold=threshold).pairs.shape == (0, 2)


@pytest.mark.parametrize("rule", RULES)
def test_pairs_carry_the_original_numbers(rule):
    threshold = 0.5 if rule in IOU_RULES else 10.0
    places = (30, 30), (100, 100)
    true = np.array([0, 40, 7])[squares(*places)]
    pred = np.array([0, 9, 2_000_000_000])[squares(*places)]
    pairs = match(true, pred, rule=rule, threshold=threshold).pairs.tolist()
    assert sorted(pairs) == [[7, 2_000_000_000], [40, 9]]


def test_splits_and_merges_by_hand():
    true = np.array([[1, 1, 1, 1, 1, 1, 0, 2, 2, 3, 3, 0, 4, 4]])
    pred = np.array([[1, 1, 0, 2, 2, 3, 3, 4, 4, 4, 4, 0, 0, 0]])
    # object 1 holds predictions 1 and 2 wholly, and exactly half of 3: two pieces
    assert splits_and_merges(true, pred) == (1, 1)
    assert splits_and_merges(pred, true) == (1, 1)
    assert splits_and_merges(true, true) == (0, 0)
    assert splits_and_merges(np.zeros_like(true), pred) == (0, 0)


@pytest.mark.parametrize(
    ("rule", "threshold", "message"),
    [
        ("hungarian", 0.5, "unknown matching rule 'hungarian'; did you mean 'hungarian-iou'"),
        ("2023-iou", 40, r"threshold: expected an IoU in \[0, 1\), found 40"),
        ("2023-iou", float("nan"), "threshold: expected an IoU"),
        ("2021", 0, "threshold: expected a finite number > 0"),
        ("hungarian-distance", float("inf"), "threshold: expected a finite number > 0"),
    ],
)
def test_bad_rules_and_thresholds(rule, threshold, message):
    with pytest.raises(InputError, match=message):
        match(squares(), squares(), rule=rule, threshold=threshold)


def test_bad_labels():
    good = squares((20, 20))
    with pytest.raises(InputError, match="same height and width"):
        match(good, good[:50], rule="2021", threshold=50)
    with pytest.raises(InputError, match="pred: expected integer instance labels"):
        match(good, good > 0, rule="2021", threshold=50)
