"""A grid's rows compared: means over seeds; intervals, tests and letters are those of `stats`.

Differences between seeds are shown as a standard deviation beside the mean.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.protocols import PROTOCOLS
from cellcount_lib.scoring.stats import PictureCounts, interval, picture_counts, row_letters

if TYPE_CHECKING:
    from cellcount_lib.tables.collect import Results


def row_counts(runs: pd.DataFrame, images: pd.DataFrame) -> PictureCounts | None:
    """Return what the runs of a row counted, picture by picture; None if none has any."""
    scored = runs[runs["status"] != "failed"]
    tables = {
        int(seed): images[images["run"] == run]
        for seed, run in zip(scored["seed"], scored["run"], strict=True)
    }
    tables = {seed: table for seed, table in tables.items() if len(table)}
    if not tables:
        return None
    protocol = PROTOCOLS[str(scored["protocol"].iloc[0])]
    try:
        return picture_counts(tables, mpe=protocol.mpe)
    except InputError as error:
        raise InputError(f"{runs['label'].iloc[0]}: {error}") from error


def summary(results: "Results", labels: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Return a row per configuration.

    Columns are label, n (runs with scores), n_collapsed, n_failed, seconds; METRIC and METRIC_sd
    over seeds; low and high of the interval, and letters, of the first metric.
    """
    rows: list[dict[str, Any]] = []
    counts: dict[str, PictureCounts] = {}
    for label in labels:
        runs = results.runs[results.runs["label"] == label] if len(results.runs) else results.runs
        row: dict[str, Any] = {"label": label, "n": 0, "n_collapsed": 0, "n_failed": 0}
        rows.append(row)
        if len(runs) == 0:
            continue
        scored = runs[runs["status"] != "failed"]
        row |= {
            "n": len(scored),
            "n_collapsed": int((runs["status"] == "collapsed").sum()),
            "n_failed": int((runs["status"] == "failed").sum()),
            "seconds": float(runs["seconds"].mean()),
        }
        counted = row_counts(runs, results.images)
        if counted is None:
            continue
        counts[label] = counted
        for metric in metrics:
            values = scored[metric].astype(float)
            row |= {metric: float(values.mean()), f"{metric}_sd": float(values.std(ddof=1))}
        row["low"], row["high"] = interval(counted, metrics[0])
    marks = dict(zip(counts, row_letters([*counts.values()], metrics[0]), strict=True))
    return pd.DataFrame([row | {"letters": marks.get(row["label"], "")} for row in rows])
