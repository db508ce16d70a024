"""Sweeps equal single evaluations; the rules choose what they should."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.threshold import released_2021, released_2023, soft_cells
from cellcount_lib.errors import InputError
from cellcount_lib.scoring import sweeps
from cellcount_lib.scoring.cutoff import NO_KNEE, choose
from cellcount_lib.scoring.pixels import Confusion, confusion, pixel_scores
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import (
    CUTOFFS,
    PIXEL_CUTOFFS,
    PROTOCOLS,
    WIDE_CUTOFFS,
    protocol,
)
from cellcount_lib.scoring.sweeps import pool_cutoffs, sweep, sweep_pixels, sweep_rows

SOME = (0.5, 0.7, 0.875, 0.95)


@pytest.fixture(scope="module")
def pictures():
    """Three heatmaps with their true labels; the last has no cell but a false alarm."""
    made = [soft_cells(6, seed=i, size=(260, 320)) for i in range(2)]
    alarm = soft_cells(1, seed=5, size=(260, 320))[0]
    made.append((alarm, np.zeros((260, 320), np.int32)))
    return [h for h, _ in made], [t for _, t in made]


def test_cutoffs_are_those_of_the_paper():
    assert CUTOFFS[0] == 0.5
    assert CUTOFFS[-1] == 0.975
    assert len(CUTOFFS) == len(np.arange(0.5, 0.98, 0.025)) == 20
    assert np.allclose(CUTOFFS, np.arange(0.5, 0.98, 0.025))
    assert (PIXEL_CUTOFFS[0], PIXEL_CUTOFFS[-1], len(PIXEL_CUTOFFS)) == (0.01, 0.99, 99)
    assert (WIDE_CUTOFFS[0], WIDE_CUTOFFS[-1], len(WIDE_CUTOFFS)) == (0.05, 0.975, 38)
    assert WIDE_CUTOFFS[-20:] == CUTOFFS


@pytest.mark.parametrize("name", PROTOCOLS)
def test_sweep_equals_scoring_each_cutoff_alone(name, pictures):
    heatmaps, truth = pictures
    p = protocol(name)
    expected = []
    for cutoff in SOME:
        rows = [
            p.score(t, p.segment(h, cutoff), image=str(i), mask=h > cutoff)
            for i, (h, t) in enumerate(zip(heatmaps, truth, strict=True))
        ]
        expected.append({"cutoff": cutoff, **pooled(pd.DataFrame(rows), mpe=p.mpe)})
    curve = sweep(heatmaps, truth, p, SOME)
    pd.testing.assert_frame_equal(curve, pd.DataFrame(expected))
    assert curve["tp"].nunique() > 1  # the cutoffs do differ


@pytest.mark.parametrize(
    ("name", "reference"), [("morelli2021", released_2021), ("clissa2023", released_2023)]
)
def test_sweep_equals_the_released_evaluation_written_as_loops(name, reference, pictures):
    heatmap, truth = pictures[0][0], pictures[1][0]
    rows = sweep_rows([heatmap], [truth], protocol(name), SOME)
    theirs = reference(heatmap, truth, SOME, protocol(name))
    assert rows[["tp", "fp", "fn"]].values.tolist() == [list(map(int, t[:3])) for t in theirs]
    if name == "clissa2023":
        iou = rows[["tp_iou", "fp_iou", "fn_iou"]].values.tolist()
        assert iou == [list(map(int, t[3:])) for t in theirs]


def test_processes_change_nothing(pictures):
    heatmaps, truth = pictures
    p = protocol("recommended")
    alone = sweep_rows(heatmaps, truth, p, SOME)
    # a generator of heatmaps, as a network would give them
    together = sweep_rows((h for h in heatmaps), truth, p, SOME, jobs=2)
    pd.testing.assert_frame_equal(alone, together)


def test_rows_keep_names_and_missing_heatmaps(pictures):
    heatmaps, truth = pictures
    p = protocol("recommended")
    rows = sweep_rows([None, *heatmaps[1:]], truth, p, SOME, images=["a", "b", "c"])
    assert rows["image"].tolist() == [name for name in "abc" for _ in SOME]
    assert rows["cutoff"].tolist() == list(SOME) * 3
    assert set(rows.loc[rows.image == "a", "status"]) == {"missing"}
    curve = pool_cutoffs(rows)
    assert curve["n_missing"].tolist() == [1] * len(SOME)
    assert (curve["n_true"] == np.unique(truth[0]).size + np.unique(truth[1]).size - 2).all()
    assert (curve["fn"] >= np.unique(truth[0]).size - 1).all()


def test_heatmaps_are_read_one_after_the_other(pictures, monkeypatch):
    heatmaps, truth = pictures
    read = []

    def predict():
        for i, heatmap in enumerate(heatmaps):
            read.append(i)
            yield heatmap

    seen = []
    score = sweeps._score_image
    monkeypatch.setattr(sweeps, "_score_image", lambda *a: seen.append(len(read)) or score(*a))
    sweep_rows(predict(), truth, protocol("recommended"), [0.5])
    assert seen == [1, 2, 3]


def test_scale_reaches_post_processing_and_matching(pictures):
    heatmap, truth = pictures[0][0], pictures[1][0]
    p = protocol("morelli2021")
    small = heatmap[::4, ::4], truth[::4, ::4]
    scaled = sweep([small[0]], [small[1]], p, [0.5], scale=0.25)
    unscaled = sweep([small[0]], [small[1]], p, [0.5])
    assert scaled["tp"][0] > 0
    assert unscaled["n_pred"][0] < scaled["n_pred"][0]  # cells of 100 pixels count as specks


@pytest.mark.parametrize("threshold", [0.675, 0.7, 0.95])
def test_pixels_that_equal_a_cutoff_are_below_it(threshold):
    heatmap = np.full((4, 5), threshold, np.float32)
    truth = np.ones((4, 5), int)
    curve = sweep_pixels([heatmap], [truth], [threshold])
    assert curve["tp"][0] == np.count_nonzero(heatmap > threshold) == 0


def test_pixel_sweep_equals_confusion_at_each_cutoff(pictures):
    heatmaps, truth = pictures
    curve = sweep_pixels(heatmaps, truth)
    assert curve["cutoff"].tolist() == list(PIXEL_CUTOFFS)
    for i in (0, 24, 66, 98):
        cutoff = PIXEL_CUTOFFS[i]
        tables = [confusion(t > 0, h > cutoff) for h, t in zip(heatmaps, truth, strict=True)]
        total = Confusion(*np.sum(tables, axis=0).tolist())
        row = curve.iloc[i]
        assert tuple(row[["tp", "fp", "fn", "tn"]]) == total
        assert row["mcc"] == pixel_scores(total).mcc
    missing = sweep_pixels([None, heatmaps[1]], truth[:2], [0.5])
    assert missing["fn"][0] >= np.count_nonzero(truth[0])


def curve_of(f1, **columns):
    return pd.DataFrame({"cutoff": CUTOFFS[: len(f1)], "f1": f1, **columns})


def test_argmax_takes_the_lowest_of_equal_cutoffs():
    assert choose(curve_of([0.1, 0.8, 0.7]), "argmax") == (0.525, "argmax", 0.8, "", "")
    choice = choose(curve_of([0.1, 0.8, 0.8, 0.7]), "argmax")
    assert choice[:3] == (0.525, "argmax", 0.8)
    assert choice.note == "the lowest of 2 equal cutoffs"
    assert type(choice.cutoff) is float  # not NumPy's, which would compare in another precision


@pytest.mark.parametrize(
    ("f1", "place", "note"),
    [
        ([0.1, 0.8, 0.7], 1, ""),
        ([0.8, 0.8, 0.8, 0.8, 0.8], 2, "in the middle of 5 equal cutoffs"),
        ([0.8, 0.1, 0.8, 0.8, 0.8, 0.7], 3, "in the middle of 3 equal cutoffs"),  # not the first
        ([0.1, 0.8, 0.8, 0.1], 1, "in the middle of 2 equal cutoffs"),
        ([0.8, 0.1, 0.8], 0, "the lowest of its grid: a better one may lie beyond"),
    ],
)
def test_middle_of_the_longest_row_of_equal_cutoffs(f1, place, note):
    choice = choose(curve_of(f1), "middle")
    assert (choice.cutoff, choice.rule, choice.note) == (CUTOFFS[place], "middle", note)


def test_knee_is_where_the_curve_bends_most():
    # on a smooth concave curve Kneedle takes the point farthest above the chord
    x = np.array(CUTOFFS)
    unit = (x - x[0]) / (x[-1] - x[0])
    for power in (3, 4, 8):
        f1 = 0.8 - 0.3 * unit**power
        farthest = x[np.argmax((1 - unit**power) + unit)]
        choice = choose(curve_of(f1), "knee")
        assert (choice.cutoff, choice.rule, choice.edge, choice.note) == (farthest, "knee", "", "")
        assert choice.value == f1[CUTOFFS.index(choice.cutoff)]
        assert choice.cutoff > choose(curve_of(f1), "argmax").cutoff  # S3, Fig. 5


FALLS_AT_ONCE = (0.6 * np.exp(-np.arange(20) / 1.2)).tolist()


@pytest.mark.parametrize(
    "f1",
    [
        [0.7] * 20,
        [0.0] * 20,
        (1 - np.array(CUTOFFS)).tolist(),
        [0.5],
        [0.6, 0.4],
        FALLS_AT_ONCE,
        [0.5, 0.1, *[0.0] * 18],
        [0.5, 0.2, 0.1, 0.05, *[0.0] * 8, 0.04, *[0.0] * 7],  # a bump on the way down
    ],
)
def test_without_a_knee_argmax_is_taken_and_said(f1):
    choice = choose(curve_of(f1), "knee")
    assert (choice.cutoff, choice.rule, choice.value) == (0.5, NO_KNEE, f1[0])
    assert choice.edge == ("lowest" if len(f1) > 1 else "")


def test_kneedle_alone_puts_the_knee_of_a_curve_that_ends_at_0_where_nothing_is_left():
    """The case in which runs scored 0: the last cutoff is a local maximum of Kneedle's curve."""
    from kneed import KneeLocator

    bend = [0.8, 0.8, 0.79, 0.79, 0.78, 0.78, 0.77, 0.76, 0.74, 0.7, 0.3, 0.1, *[0.0] * 8]
    for f1, cutoff in ((FALLS_AT_ONCE, 0.5), (bend, CUTOFFS[9])):
        alone = KneeLocator(CUTOFFS, f1, curve="concave", direction="decreasing").knee
        assert alone == CUTOFFS[-1]
        choice = choose(curve_of(f1), "knee")
        assert choice.cutoff == cutoff
        assert choice.value > 0.5
    # the bend is there, and is found: farthest above the line from top left to bottom right
    x, y = (np.array(v) - min(v) for v in (CUTOFFS, bend))
    assert np.argmax(x / x.max() + y / y.max()) == 9
    assert choice.rule == "knee"


def test_kneedles_own_answer_stands_wherever_it_lies_above_the_line():
    from kneed import KneeLocator

    same = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        f1 = np.sort(rng.random(20))[::-1] ** rng.uniform(0.2, 3) + 0.02 * rng.random(20)
        alone = KneeLocator(CUTOFFS, f1, curve="concave", direction="decreasing").knee
        choice = choose(curve_of(f1), "knee")
        if alone is None:
            assert choice.rule == NO_KNEE
            continue
        at = CUTOFFS.index(alone)
        height = (f1[at] - f1.min()) / np.ptp(f1)
        if height > (19 - at) / 19:
            assert (choice.cutoff, choice.rule) == (alone, "knee")
            same += 1
    assert 10 < same < 60


@pytest.mark.parametrize(
    ("f1", "edge"),
    [([0.9, 0.8, 0.7], "lowest"), ([0.1, 0.2, 0.3], "highest"), ([0.1, 0.3, 0.2], "")],
)
def test_a_choice_on_an_edge_of_the_grid_is_marked(f1, edge):
    for score, rule in (("f1", "argmax"), ("mcc", "max-mcc")):
        choice = choose(curve_of(f1).assign(**{score: f1}), rule)
        assert choice.edge == edge
        note = f"the {edge} of its grid: a better one may lie beyond" if edge else ""
        assert choice.note == note
    assert choose(curve_of([0.1, 0.2, 0.3]), "knee").edge == "highest"


def test_max_mcc_looks_at_mcc():
    curve = curve_of([0.9, 0.8, 0.7], mcc=[-0.1, 0.3, 0.2])
    assert choose(curve, "max-mcc") == (0.525, "max-mcc", 0.3, "", "")


def test_fixed_cutoff():
    curve = curve_of([0.9, 0.8, 0.7])
    assert choose(curve[1:2], "fixed") == (0.525, "fixed", 0.8, "", "")
    with pytest.raises(InputError, match="a single cutoff"):
        choose(curve, "fixed")


def test_bad_curves():
    with pytest.raises(InputError, match="did you mean 'knee'"):
        choose(curve_of([0.1]), "kneed")
    with pytest.raises(InputError, match=r"'mcc', as sweeps\.sweep_pixels"):
        choose(curve_of([0.1]), "max-mcc")
    with pytest.raises(InputError, match="rising"):
        choose(curve_of([0.1, 0.2])[::-1], "argmax")
    with pytest.raises(InputError, match="NaN"):
        choose(curve_of([0.1, np.nan]), "argmax")


BAD_CUTOFFS = ([], [0.5, 0.5], [0.7, 0.5], [-0.1], [1.1], [np.nan], [[0.5]])


@pytest.mark.parametrize("cutoffs", BAD_CUTOFFS)
def test_bad_cutoffs(cutoffs, pictures):
    with pytest.raises(InputError, match="cutoffs: expected rising numbers"):
        sweep(*pictures, protocol("recommended"), cutoffs)
    with pytest.raises(InputError, match="cutoffs: expected rising numbers"):
        sweep_pixels(*pictures, cutoffs)


def test_bad_input(pictures):
    heatmaps, truth = pictures
    p = protocol("recommended")
    for few in (truth[:2], iter(truth[:2])):
        with pytest.raises(InputError, match="as many of one as of the others"):
            sweep(heatmaps, few, p, [0.5])
    with pytest.raises(InputError, match="as many of one as of the others"):
        sweep_rows(iter(heatmaps), iter(truth), p, [0.5], images=["a", "b"])
    with pytest.raises(InputError, match="as many of one as of the others"):
        sweep_rows(iter(heatmaps), iter(truth), p, [0.5], images=list("abcd"))
    with pytest.raises(InputError, match="at least one image"):
        sweep([], [], p, [0.5])
    with pytest.raises(InputError, match="jobs"):
        sweep(heatmaps, truth, p, [0.5], jobs=0)
    with pytest.raises(InputError, match=r"probabilities in \[0, 1\]"):
        sweep([heatmaps[0] * 9], truth[:1], p, [0.5])
    with pytest.raises(InputError, match="same height and width"):
        sweep([heatmaps[0][:99]], truth[:1], p, [0.5])
    with pytest.raises(InputError, match="same height and width"):
        sweep_pixels([heatmaps[0][:99]], truth[:1])
