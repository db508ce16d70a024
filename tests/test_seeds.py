"""Summaries over seeds: the collapsed runs of the published loss study stay in."""

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.errors import InputError
from cellcount_lib.seeds import seeds_summary

# Five Focal Tversky runs as the authors' notebook summarises them: F1 (IoU) has count 3, min
# 0.7794, median 0.7808, max 0.7833; MAE count 5, min 0, median 1.95, max 2.1, mean 1.22, sd 1.115.
SURVIVORS_F1 = [0.7794, 0.7808, 0.7833]
SURVIVORS_MAE = [1.95, 2.05, 2.1]
MEAN_COUNT = 7.7  # what a run that predicts nothing is wrong by, per image


def test_the_published_focal_tversky_row_and_what_it_hides():
    as_published = [*SURVIVORS_MAE, 0, 0]  # the collapsed runs entered with an error of 0
    assert np.mean(as_published) == pytest.approx(1.220, abs=5e-4)
    assert np.std(as_published, ddof=1) == pytest.approx(1.115, abs=5e-4)
    assert np.mean(SURVIVORS_MAE) == pytest.approx(2.03, abs=5e-3)
    assert np.mean(SURVIVORS_F1) == pytest.approx(0.781, abs=5e-4)
    assert np.std(SURVIVORS_F1, ddof=1) == pytest.approx(0.002, abs=5e-4)

    runs = pd.DataFrame(
        {"f1": [*SURVIVORS_F1, 0, 0], "mae": [*SURVIVORS_MAE, MEAN_COUNT, MEAN_COUNT]}
    )
    row = seeds_summary(runs).iloc[0]
    assert (row["n"], row["n_collapsed"], row["collapse_rate"]) == (5, 2, 0.4)
    assert row["f1_mean"] == pytest.approx(0.781 * 3 / 5, abs=5e-4)  # 0.469, not 0.781
    assert row["f1_sd"] > 0.4  # not 0.002
    assert row["mae_mean"] == pytest.approx((1.95 + 2.05 + 2.1 + 2 * MEAN_COUNT) / 5)


def test_configurations_keep_their_order_and_their_own_rate():
    runs = pd.DataFrame(
        {
            "loss": ["focal", "dice", "focal", "dice"],
            "design": ["a", "a", "a", "a"],
            "f1": [0.0, 0.8, 0.6, 0.6],
            "r2": [-1.0, 0.9, 0.5, 0.7],
        }
    )
    found = seeds_summary(runs, ["r2"], by=["loss", "design"])
    assert found["loss"].tolist() == ["focal", "dice"]
    assert found["collapse_rate"].tolist() == [0.5, 0.0]
    assert found["r2_mean"].tolist() == pytest.approx([-0.25, 0.8])
    assert found["r2_sd"].tolist() == pytest.approx([np.sqrt(1.125), np.sqrt(0.02)])


def test_a_single_run_has_no_spread():
    row = seeds_summary(pd.DataFrame({"f1": [0.8], "mae": [2.0]})).iloc[0]
    assert row["n"] == 1
    assert row["f1_mean"] == 0.8
    assert np.isnan(row["f1_sd"])


def test_bad_input():
    runs = pd.DataFrame({"f1": [0.8, np.nan], "mae": [2.0, 0.0]})
    with pytest.raises(InputError, match="collapsed has f1 = 0"):
        seeds_summary(runs)
    with pytest.raises(InputError, match="'r2'"):
        seeds_summary(runs, ["r2"])
    with pytest.raises(InputError, match="'loss'"):
        seeds_summary(runs, by=["loss"])
    with pytest.raises(InputError, match="at least one run"):
        seeds_summary(runs[:0])
