"""Rows of a grid compared: which pictures count, over which seeds, and what is said of them."""

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.errors import InputError
from cellcount_lib.runs.grid import NETWORK, WITHOUT, Row, Run
from cellcount_lib.scoring.stats import (
    difference,
    interval,
    picture_counts,
    probability_of_improvement,
)
from cellcount_lib.tables.compare import row_counts, summary
from tests.tables.made_results import BAD, GOOD, images, results


def rows(labels, *, untrained=""):
    """Rows of trainings, and of methods that are not trained."""
    chapters = {label: WITHOUT if label in untrained else NETWORK for label in labels}
    return [Row(label, {}, (Run(chapter, {}),)) for label, chapter in chapters.items()]


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
        assert row.scores("mpe_percent") == pytest.approx([expected])


def test_an_error_names_its_row():
    made = results(a=[GOOD, GOOD[:5]])
    with pytest.raises(InputError, match=r"^a: seed 1 was scored on different pictures"):
        row_counts(made.runs, made.images)


def test_means_and_spreads_are_over_seeds():
    made = results(a=[GOOD, [t - 1 for t in GOOD]], b=[BAD, None])
    made.runs.loc[made.runs["run"] == "a1", "status"] = "collapsed"
    found = summary(made, [*rows("ab"), *rows(["absent"])], ["f1", "mae"]).set_index("label")
    f1 = [2 * sum(tp) / (sum(tp) + 80) for tp in (GOOD, [t - 1 for t in GOOD])]
    assert found.loc["a", "f1"] == pytest.approx(np.mean(f1))
    assert found.loc["a", "f1_sd"] == pytest.approx(np.std(f1, ddof=1))
    assert found.loc["a", ["n", "n_collapsed", "n_failed"]].tolist() == [2, 1, 0]
    assert found.loc["b", ["n", "n_collapsed", "n_failed"]].tolist() == [1, 0, 1]
    assert found.loc["b", "mae"] == np.mean([10 - t for t in BAD])
    assert found.loc["absent", ["n", "letters"]].tolist() == [0, ""]


def seeds(tp, number, *, step=0):
    """Trainings that find as much as `tp`, each `step` more than the one before."""
    rng = np.random.default_rng(len(tp))
    return [np.clip(tp + rng.integers(-1, 2, len(tp)) + k * step, 0, 10) for k in range(number)]


def test_letters_of_rows_that_differ_plainly():
    good, bad = np.full(30, 8), np.full(30, 3)
    made = results(a=seeds(good, 5), b=seeds(bad, 5), c=seeds(good, 4), o=[good * 0])
    table = summary(made, rows("abco", untrained="o"), ["f1"]).set_index("label")
    assert table["letters"].to_dict() == {"a": "a", "b": "b", "c": "", "o": "c"}


def test_the_interval_is_that_of_the_first_score_over_all_seeds():
    three = [GOOD, BAD, GOOD[::-1]]
    made = results(b=[BAD], a=[*three, None], two=[GOOD, BAD], otsu=[BAD])
    every = [*rows("ba"), *rows(["two"]), *rows(["otsu"], untrained=["otsu"])]
    table = summary(made, every, ["f1", "mae"]).set_index("label")
    for label, tps in (("a", three), ("otsu", [BAD])):
        tables = {n: images("", tp) for n, tp in enumerate(tps)}
        counted = picture_counts(tables, trained=label == "a")
        assert (table.loc[label, "low"], table.loc[label, "high"]) == interval(counted, "f1")
        assert table.loc[label, "low"] < table.loc[label, "f1"] < table.loc[label, "high"]
    assert table.loc[["b", "two"], ["low", "high"]].isna().all(axis=None)
    of_two = [2 * sum(tp) / (sum(tp) + 80) for tp in (BAD, GOOD)]
    assert table.loc["two", ["least", "most"]].tolist() == pytest.approx(of_two)
    assert (table["pictures"] == 8).all()
    assert "difference" not in table  # the first row has one training


def test_rows_are_compared_with_the_first():
    lists = {"a": [GOOD, BAD, GOOD], "b": [BAD, BAD[::-1], BAD], "two": [GOOD, GOOD], "otsu": [BAD]}
    every = [*rows(["a", "b", "two"]), *rows(["otsu"], untrained=["otsu"])]
    table = summary(results(**lists), every, ["f1"]).set_index("label")
    counted = {
        label: picture_counts({n: images("", tp) for n, tp in enumerate(tps)}, trained=label < "o")
        for label, tps in lists.items()
    }
    for label in ("b", "otsu"):
        assert table.loc[label, "difference"] == difference(counted[label], counted["a"], "f1")
        chance = probability_of_improvement(counted[label], counted["a"], "f1")
        assert table.loc[label, "improvement"] == chance
    assert table.loc["b", "difference"].value < 0
    assert table.loc[["a", "two"], "difference"].isna().all()


def test_rows_of_different_pictures_have_no_letters():
    made = results(a=[GOOD] * 5, b=[GOOD[:4]] * 5)
    assert summary(made, rows("ab"), ["f1"])["letters"].tolist() == ["", ""]


def test_a_grid_without_runs_has_a_row_for_each_label():
    made = results(a=[GOOD])
    empty = type(made)(pd.DataFrame(), pd.DataFrame(), ["a", "b"])
    table = summary(empty, rows("ab"), ["f1"])
    assert table[["label", "n"]].to_dict("list") == {"label": ["a", "b"], "n": [0, 0]}
