"""A grid's rows compared: means over seeds; intervals, tests and letters are those of `stats`.

Differences between seeds are shown as a standard deviation beside the mean.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.protocols import PROTOCOLS
from cellcount_lib.scoring.stats import (
    ALPHA,
    PictureCounts,
    holm,
    interval,
    letters,
    permutation_p,
    permutations_for,
    picture_counts,
)

if TYPE_CHECKING:
    import pandas as pd

    from cellcount_lib.tables.collect import Results


def row_counts(runs: "pd.DataFrame", images: "pd.DataFrame") -> PictureCounts | None:
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


def summary(results: "Results", labels: Sequence[str], metrics: Sequence[str]) -> "pd.DataFrame":
    """Return a row per configuration.

    Returns
    -------
    DataFrame
        label, n (runs with scores), n_collapsed, n_failed, seconds; METRIC, METRIC_sd, METRIC_low,
        METRIC_high; and ``letters`` of the first metric, Holm-corrected over all pairs.
    """
    import pandas as pd

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
            base = "mae" if metric == "mae_objects" else metric
            if metric != "mae_objects":
                row[f"{metric}_low"], row[f"{metric}_high"] = interval(counted, base)
    marks = _letters(counts, {str(r["label"]): r for r in rows}, metrics[0])
    return pd.DataFrame([row | {"letters": marks.get(str(row["label"]), "")} for row in rows])


def _letters(
    counts: Mapping[str, PictureCounts], rows: Mapping[str, Mapping[str, Any]], metric: str
) -> dict[str, str]:
    labels = list(counts)
    pairs = list(combinations(range(len(labels)), 2))
    many = permutations_for(len(labels))
    p = [
        permutation_p(counts[labels[i]], counts[labels[j]], metric, permutations=many)
        for i, j in pairs
    ]
    if not pairs or any(value is None for value in p):
        return {}
    same = np.ones((len(labels), len(labels)), bool)
    for (i, j), value in zip(pairs, holm([v for v in p if v is not None]), strict=True):
        same[i, j] = same[j, i] = value > ALPHA
    higher = not metric.startswith(("mae", "medae", "mpe"))
    means = [float(rows[label][metric]) for label in labels]
    return dict(zip(labels, letters(means, same, higher=higher), strict=True))
