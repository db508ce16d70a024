"""A grid's rows compared: means and spreads over trainings; all else is that of `stats`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from cellcount_lib.errors import InputError
from cellcount_lib.runs.grid import Row
from cellcount_lib.scoring.letters import letters
from cellcount_lib.scoring.protocols import PROTOCOLS
from cellcount_lib.scoring.stats import (
    PictureCounts,
    difference,
    interval,
    picture_counts,
    probability_of_improvement,
)

if TYPE_CHECKING:
    from cellcount_lib.tables.collect import Results


def row_counts(
    runs: pd.DataFrame, images: pd.DataFrame, *, trained: bool = True
) -> PictureCounts | None:
    """Return what the runs of a row counted, picture by picture; None if none has any.

    Several runs of one seed, as of folds, count as one: their pictures are put together.
    """
    scored = runs[runs["status"] != "failed"]
    tables = {
        int(seed): images[images["run"].isin(set(scored.loc[scored["seed"] == seed, "run"]))]
        for seed in dict.fromkeys(scored["seed"])
    }
    tables = {seed: table for seed, table in tables.items() if len(table)}
    if not tables:
        return None
    protocol = PROTOCOLS[str(scored["protocol"].iloc[0])]
    try:
        return picture_counts(tables, mpe=protocol.mpe, trained=trained)
    except InputError as error:
        raise InputError(f"{runs['label'].iloc[0]}: {error}") from error


def summary(results: "Results", rows: Sequence[Row], metrics: Sequence[str]) -> pd.DataFrame:
    """Return a row per configuration.

    Columns are label, n (runs with scores), n_collapsed, n_failed, seconds; METRIC and METRIC_sd
    over seeds; and of the first metric: pictures, least and most of the seeds, low and high of the
    interval, letters, and the difference and the probability of improvement against the first row.
    """
    every: list[dict[str, Any]] = []
    counts: dict[str, PictureCounts] = {}
    for row in rows:
        runs = results.runs
        runs = runs[runs["label"] == row.label] if len(runs) else runs
        values: dict[str, Any] = {"label": row.label, "n": 0, "n_collapsed": 0, "n_failed": 0}
        every.append(values)
        if len(runs) == 0:
            continue
        scored = runs[runs["status"] != "failed"]
        values |= {
            "n": len(scored),
            "n_collapsed": int((runs["status"] == "collapsed").sum()),
            "n_failed": int((runs["status"] == "failed").sum()),
            "seconds": float(runs["seconds"].mean()),
        }
        counted = row_counts(runs, results.images, trained=row.trained)
        if counted is None:
            continue
        counts[row.label] = counted
        for metric in metrics:
            seeds = scored[metric].astype(float)
            values |= {metric: float(seeds.mean()), f"{metric}_sd": float(seeds.std(ddof=1))}
        values |= _chance(counted, counts.get(rows[0].label), metrics[0])
    marks = dict(zip(counts, letters([*counts.values()], metrics[0]), strict=True))
    return pd.DataFrame([row | {"letters": marks.get(row["label"], "")} for row in every])


def _chance(row: PictureCounts, first: PictureCounts | None, metric: str) -> dict[str, Any]:
    scores = row.scores(metric)
    values: dict[str, Any] = {"pictures": len(row.pictures)}
    values |= {"least": float(scores.min()), "most": float(scores.max())}
    if (ends := interval(row, metric)) is not None:
        values |= dict(zip(("low", "high"), ends, strict=True))
    if first is None or first is row or not (row.trained or first.trained):
        return values
    if (less := difference(row, first, metric)) is not None:
        values["difference"] = less
        values["improvement"] = probability_of_improvement(row, first, metric)
    return values
