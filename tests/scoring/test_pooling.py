"""Scores of pixels and instances from per-picture rows, against the functions for a picture."""

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.scoring.instances import INSTANCES, instance_columns
from cellcount_lib.scoring.pixels import PIXELS, Confusion, pixel_columns, pixel_scores
from cellcount_lib.scoring.pooling import FURTHER_SCORES, pooled, statistic
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.scoring.sweeps import sweep_rows
from tests.discs import disc_labels

SIZE = (120, 160)
TRUE = disc_labels(SIZE, [(40, 40, 20), (40, 79, 20), (90, 120, 18)])
MERGED = (TRUE > 0) * np.where(TRUE == 3, 2, 1)
CUT = TRUE + 3 * ((TRUE == 3) & (np.arange(SIZE[1]) > 120))
NOTHING = np.zeros(SIZE, int)
PAIRS = [(TRUE, MERGED), (TRUE, CUT), (TRUE, TRUE), (NOTHING, CUT), (TRUE, NOTHING)]


def rows(name):
    ruler = protocol(name)
    return pd.DataFrame([ruler.score(t, p, image=str(i)) for i, (t, p) in enumerate(PAIRS)])


def test_pooled_pixels_are_those_of_all_pictures_together():
    scores = pooled(rows("marzo2016"))
    true = np.concatenate([t.ravel() > 0 for t, _ in PAIRS])
    pred = np.concatenate([p.ravel() > 0 for _, p in PAIRS])
    expected = pixel_scores(
        Confusion(
            int((true & pred).sum()),
            int((~true & pred).sum()),
            int((true & ~pred).sum()),
            int((~true & ~pred).sum()),
        )
    )
    for name in ("precision", "recall", "specificity", "accuracy", "f_score", "mcc"):
        assert scores[f"px_{name}"] == pytest.approx(getattr(expected, name))
    assert scores["px_mcc"] == pytest.approx(np.corrcoef(true, pred)[0, 1])


def test_pooled_instances_are_those_of_all_pictures_together():
    scores = pooled(rows("instances"))
    # Kirillov et al., Eq. 1: the sum of IoU over TP + FP/2 + FN/2. Of the third object, CUT has a
    # piece of more than half; MERGED has the first two as one, with an IoU of exactly half.
    piece = np.count_nonzero(CUT == 3) / np.count_nonzero(TRUE == 3)
    assert 0.5 < piece < 1
    overlap = (2 + piece) + 1 + 3  # pictures with CUT, MERGED and TRUE
    tp, fp, fn = 3 + 1 + 3, 1 + 1 + 0 + 4, 0 + 2 + 0 + 3
    assert scores["pq"] == pytest.approx(overlap / (tp + fp / 2 + fn / 2))
    # the mean over pictures: MERGED has one match of four objects, the last two have none
    ap = [1 / 4, instance_columns(TRUE, CUT)["ap"], 1, 0, 0]
    assert scores["ap"] == pytest.approx(np.mean(ap))
    true = 4 * 3
    assert scores["merges"] == pytest.approx(100 * 1 / true)
    assert scores["splits"] == pytest.approx(100 * 1 / true)


def test_splits_and_merges_of_a_picture_by_hand():
    assert instance_columns(TRUE, MERGED)["merges"] == 1
    assert instance_columns(TRUE, CUT)["splits"] == 1
    assert instance_columns(TRUE, TRUE) == {"splits": 0, "merges": 0, "iou_sum": 3.0, "ap": 1.0}
    nothing = instance_columns(NOTHING, NOTHING)
    assert (nothing["iou_sum"], nothing["ap"]) == (0.0, 1.0)


@pytest.mark.parametrize("metric", FURTHER_SCORES)
def test_a_statistic_of_resamples_is_the_pooled_score_of_each(metric):
    ruler = "marzo2016" if metric.startswith("px_") else "instances"
    table = rows(ruler)
    picked = np.random.default_rng(0).integers(0, len(table), (6, len(table)))
    names, score = statistic(metric)
    found = score(*(table[name].to_numpy(float)[picked] for name in names))
    expected = [pooled(table.iloc[p].reset_index(drop=True))[metric] for p in picked]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("metric", FURTHER_SCORES)
def test_nothing_to_find_and_nothing_found_follows_the_contract(metric):
    ruler = protocol("marzo2016" if metric.startswith("px_") else "instances")
    empty = pd.DataFrame([ruler.score(NOTHING, NOTHING)])
    expected = 0.0 if metric in ("splits", "merges") else 1.0
    assert pooled(empty)[metric] == expected


def test_a_protocol_without_further_scores_has_none_of_their_columns():
    table = rows("recommended")
    assert not {*PIXELS, *INSTANCES} & set(table)
    assert not set(FURTHER_SCORES) & set(pooled(table))


def test_pixels_are_those_above_the_cutoff_not_those_of_kept_objects():
    heatmap = np.where(TRUE > 0, 0.9, 0.1).astype(np.float32)
    heatmap[5:8, 5:8] = 0.9  # a speck that post-processing drops
    (row,) = sweep_rows([heatmap], [TRUE], protocol("marzo2016"), [0.5]).to_dict("records")
    assert row["px_fp"] == 9
    assert row["n_pred"] == 3
    assert row["px_tp"] == np.count_nonzero(TRUE)
    missing = protocol("marzo2016").score(TRUE, None)
    assert missing["px_tp"] == 0
    assert missing["px_fn"] == np.count_nonzero(TRUE)
    assert pixel_columns(TRUE, TRUE > 0)["px_fp"] == 0
