"""Letters of rows, by hand and by listing all groups."""

import itertools

import numpy as np
import pytest

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.letters import holm, letter_groups, letters
from cellcount_lib.scoring.stats import difference
from tests.scoring.test_stats import design, fixed, found, same_everywhere


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

    assert letter_groups([3, 2, 1], same(3)) == ["a", "a", "a"]
    assert letter_groups([3, 2, 1], same(3, (0, 1), (0, 2), (1, 2))) == ["a", "b", "c"]
    assert letter_groups([3, 2, 1], same(3, (0, 2))) == ["a", "ab", "b"]
    assert letter_groups([1, 2, 3], same(3, (0, 2))) == ["b", "ab", "a"]


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
    marks = letter_groups(means, same)
    shared = [frozenset(i for i in range(n) if m in marks[i]) for m in sorted(set("".join(marks)))]
    assert len(set(shared)) == len(shared)
    assert set(shared) == {g for g in groups if not any(g < other for other in groups)}
    assert "a" in marks[int(np.argmax(means))]


def test_rows_get_the_letters_of_their_corrected_differences():
    rows = [design(first=10 * k, hit=hit, spread=0.05) for k, hit in enumerate((0.5, 0.8, 0.65))]
    assert letters(rows, "f1") == ["c", "a", "b"]
    pairs = itertools.combinations(rows, 2)
    p = [difference(a, b, "f1").p for a, b in pairs]
    assert max(holm(p)) <= 0.05
    close = [*rows, design(first=40, hit=0.78, spread=0.05)]
    assert all("a" in letters(close, "f1")[i] for i in (1, 3))
    assert letters(rows, "mae") == ["c", "a", "b"]  # the lowest error is the best


def test_a_difference_that_holm_takes_back_has_no_letter():
    # five pairs of trainings, alone at p = 0.02; among six rows there are 15 pairs
    a, b = same_everywhere([6, 7, 8, 7, 7]), same_everywhere([5, 6, 7, 7, 6])
    assert 0.01 < difference(a, b, "recall").p < 0.05
    assert letters([a, b], "recall") == ["a", "b"]
    assert letters([a, b, *[a] * 4], "recall") == ["a"] * 6


def test_exactly_five_percent_is_a_difference(monkeypatch):
    rows = [design(first=10 * k) for k in range(2)]
    for p, marks in ((0.05, ["a", "b"]), (0.0501, ["a", "a"])):
        monkeypatch.setattr("cellcount_lib.scoring.letters.holm", lambda _, p=p: [p])
        assert sorted(letters(rows, "f1")) == marks


def test_rows_without_enough_trainings_have_no_letters():
    five, other, four = design(5), design(5, first=10, hit=0.5), design(4, first=20)
    assert letters([five, four, other], "f1") == ["a", "", "b"]
    otsu = fixed(found([2] * 40))
    otsu = type(otsu)(five.pictures, [0], otsu.columns, otsu.mpe, trained=False)
    assert letters([five, otsu], "f1") == ["a", "b"]
    assert letters([four, otsu, otsu], "f1") == ["", "", ""]  # nothing trained to compare with
    assert letters([five], "f1") == [""]
    assert letters([], "f1") == []


def test_rows_that_cannot_be_compared_have_no_letters():
    assert letters([design(5), design(5, n=20)], "f1") == ["", ""]


def test_an_error_with_a_sign_has_no_letters():
    assert letters([design(5, hit=0.9), design(5, hit=0.2)], "mpe_percent") == ["", ""]


def test_bad_p_values():
    for p in ([0.1, 1.2], [np.nan], 0.1):
        with pytest.raises(InputError, match="p_values"):
            holm(p)
