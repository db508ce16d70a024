"""How hard the simulated data is: the adaptive threshold, tuned and scored as in the study.

A simulator on which a threshold scores 0.95 teaches nothing. On the real pictures the adaptive
threshold reaches F1 0.61 (S0, Table 5.1); the simulated ones should not be much easier or harder.
"""

from pathlib import Path

import pandas as pd

from cellcount_lib.data.datasets import load
from cellcount_lib.data.reading import read_all
from cellcount_lib.files import write_whole
from cellcount_lib.machine import cores
from cellcount_lib.methods.baselines import (
    oracle,
    score_adaptive_threshold,
    tune_adaptive_threshold,
)
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol

# S0, Table 5.1, row "Adaptive Threshold": 70 real test pictures.
PUBLISHED = {"threshold": 0.994, "f1": 0.6106, "precision": 0.5680, "recall": 0.6601, "mae": 8.0143}
COLUMNS = ("f1", "precision", "recall", "mae")
# Wider than the grid for real pictures: it must hold the best value of any simulated population.
QUANTILES = (0.97, 0.975, 0.98, 0.983, 0.986, 0.988, 0.99, 0.991, 0.992, 0.993, 0.994, 0.995, 0.996)


def difficulty_report(*, jobs: int | None = None) -> pd.DataFrame:
    """Score the adaptive threshold and the oracle on the simulated test pictures.

    The quantile is chosen by F1 on the 63 validation pictures, under each protocol.

    Returns
    -------
    DataFrame
        protocol, method, data, n_images, threshold, f1, precision, recall, mae; the first row is
        the published one.
    """
    jobs = jobs or cores()
    rows: list[dict[str, object]] = [
        {"protocol": "2021 study", "method": "adaptive threshold", "data": "real, published"}
    ]
    rows[0] |= {"n_images": 70, **PUBLISHED}
    validation, test = (
        list(read_all(load("simulated", split=part), jobs=jobs)) for part in ("val", "test")
    )
    for name in ("morelli2021", "recommended"):
        ruler = protocol(name)
        quantile = tune_adaptive_threshold(validation, ruler, QUANTILES, jobs=jobs).cutoff
        found = score_adaptive_threshold(test, ruler, quantile, jobs=jobs)
        perfect = oracle(test, ruler, jobs=jobs)
        for method, scored, cutoff in (
            ("adaptive threshold", found, quantile),
            ("oracle (true mask)", perfect, float("nan")),
        ):
            scores = pooled(scored)
            row: dict[str, object] = {"protocol": name, "method": method, "data": "simulated"}
            row |= {"n_images": len(test), "threshold": cutoff}
            rows.append(row | {c: scores[c] for c in COLUMNS})
    return pd.DataFrame(rows)


def write_difficulty(path: Path | None, *, jobs: int | None = None) -> None:
    """Print the report and, if asked, write it as CSV (whole or not at all)."""
    report = difficulty_report(jobs=jobs)
    print("\nHow hard the simulated pictures are (70 test pictures, quantile chosen on 63 others):")
    print(report.to_string(index=False, float_format=lambda v: f"{v:.4f}", na_rep="-"))
    if path is not None:
        write_whole(path, report.to_csv(index=False, float_format="%.4f"))
