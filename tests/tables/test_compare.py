"""Rows of a grid compared: which pictures count, over which seeds, and what is said of them."""

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.stats import interval, picture_counts
from cellcount_lib.tables.compare import row_counts, summary
from tests.tables.made_results import BAD, GOOD, images, results


def test_a_row_counts_the_pictures_of_its_own_runs():
    made = results(a=[GOOD, BAD, None], b=[[1] * 8])
    row = row_counts(made.runs[made.runs["label"] == "a"], made.images)
    assert row.seeds == [0, 1]
    assert row.pictures == [f"p{i}" for i in range(8)]
    assert row.columns["tp"].tolist() == [GOOD, BAD]
    assert row.columns["fn"].tolist() == [[10 - t for t in GOOD], [10 - t for t in BAD]]


def test_a_row_without_scores_counts_nothing():
    made = results(a=[None, None], b=[GOOD])
    failed = made.runs[made.runs["label"] == "a"]
    assert row_counts(failed, made.images) is None
    collapsed = made.runs.assign(status="collapsed")
    assert row_counts(collapsed[collapsed["label"] == "b"], made.images).seeds == [0]


def test_counts_have_the_percentage_error_of_their_protocol():
    made = results(a=[[5, 0]])
    pictures = made.images.assign(n_true=[10, 0], n_pred=[5, 1])
    # half of 10 cells missed; 1 in a picture of none, which 2021 leaves out and 2023 counts as 100%
    for protocol, expected in (("morelli2021", -50), ("recommended", (-50 + 100) / 2)):
        row = row_counts(made.runs.assign(protocol=protocol), pictures)
        assert float(row.score("mpe_percent")) == pytest.approx(expected)


def test_an_error_names_its_row():
    made = results(a=[GOOD, GOOD[:5]])
    with pytest.raises(InputError, match=r"^a: seed 1 was scored on different pictures"):
        row_counts(made.runs, made.images)


def test_rows_that_differ_beyond_doubt_differ_however_many_rows_there_are():
    """Holm multiplies the smallest p-value that permutations can give by the number of pairs."""
    rng = np.random.default_rng(0)
    rows = {f"row{n}": [list(rng.integers(7, 10, 70))] for n in range(19)}
    rows |= {"none": [[0] * 70], "all": [[10] * 70]}
    letters_of = summary(results(**rows), list(rows), ["f1"]).set_index("label")["letters"]
    assert len(rows) * (len(rows) - 1) / 2 > 200
    assert letters_of["all"] == "a"
    assert not set(letters_of["none"]) & set("".join(letters_of.drop("none")))
    assert "a" not in "".join(letters_of.drop("all"))


def test_means_and_spreads_are_over_seeds():
    made = results(a=[GOOD, [t - 1 for t in GOOD]], b=[BAD, None])
    made.runs.loc[made.runs["run"] == "a1", "status"] = "collapsed"
    found = summary(made, ["a", "b", "absent"], ["f1", "mae"]).set_index("label")
    f1 = [2 * sum(tp) / (sum(tp) + 80) for tp in (GOOD, [t - 1 for t in GOOD])]
    assert found.loc["a", "f1"] == pytest.approx(np.mean(f1))
    assert found.loc["a", "f1_sd"] == pytest.approx(np.std(f1, ddof=1))
    assert found.loc["a", ["n", "n_collapsed", "n_failed"]].tolist() == [2, 1, 0]
    assert found.loc["b", ["n", "n_collapsed", "n_failed"]].tolist() == [1, 0, 1]
    assert found.loc["b", "mae"] == np.mean([10 - t for t in BAD])
    assert found.loc["absent", ["n", "letters"]].tolist() == [0, ""]


def test_letters_of_rows_that_differ_plainly():
    rng = np.random.default_rng(0)
    good, bad = rng.integers(8, 11, 30).tolist(), rng.integers(2, 5, 30).tolist()
    found = summary(results(a=[good], b=[bad], c=[good[::-1]]), ["a", "b", "c"], ["f1"])
    marks = dict(zip(found["label"], found["letters"], strict=True))
    assert marks["b"] == "b"
    assert marks["a"] == marks["c"] == "a"


def test_the_interval_is_that_of_the_first_score_over_all_seeds():
    made = results(b=[BAD], a=[GOOD, BAD, None])
    found = summary(made, ["a", "b"], ["f1", "mae"]).set_index("label")
    for label, seeds in (("a", [GOOD, BAD]), ("b", [BAD])):
        counted = picture_counts({n: images("", tp) for n, tp in enumerate(seeds)})
        assert (found.loc[label, "low"], found.loc[label, "high"]) == interval(counted, "f1")
        assert found.loc[label, "low"] < found.loc[label, "f1"] < found.loc[label, "high"]


def test_rows_of_different_pictures_have_no_letters():
    found = summary(results(a=[GOOD], b=[GOOD[:4]]), ["a", "b"], ["f1"])
    assert found["letters"].tolist() == ["", ""]


def test_a_grid_without_runs_has_a_row_for_each_label():
    made = results(a=[GOOD])
    empty = type(made)(pd.DataFrame(), pd.DataFrame(), ["a", "b"])
    found = summary(empty, ["a", "b"], ["f1"])
    assert found[["label", "n"]].to_dict("list") == {"label": ["a", "b"], "n": [0, 0]}
