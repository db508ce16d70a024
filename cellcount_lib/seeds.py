"""Seeds: derived from names, and what several of them gave (mean, spread, collapsed runs)."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellcount_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def derived_seed(seed: int, *names: object) -> int:
    """Return a seed of 63 bits for one purpose of a run: a hash of the run's seed and of names.

    Every source of randomness has its own, so that drawing more numbers in one place changes
    nothing in another, and epoch 7 can be drawn without drawing the six before it.

    Examples
    --------
    >>> derived_seed(0, "crops", 7) == derived_seed(0, "crops", 7)
    True
    >>> derived_seed(0, "crops", 7) == derived_seed(0, "crops", 8)
    False
    """
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seeds_summary(
    runs: "pd.DataFrame", metrics: Sequence[str] = ("f1", "mae"), *, by: Sequence[str] = ()
) -> "pd.DataFrame":
    """Mean and sd over the runs (seeds) of each configuration, collapsed runs included.

    A run has collapsed when it finds no object right, F1 = 0. It stays in every mean with its true
    scores: F1 = 0, and the counting error it really has. Leaving it out of F1 and entering an error
    of 0, as happened in a published table, makes the least stable method look best.

    Parameters
    ----------
    runs : DataFrame
        One row per run, with a column "f1" and the `metrics`; no NaN.
    metrics : sequence of str
    by : sequence of str
        Columns that tell configurations apart; without, all runs are one configuration.

    Returns
    -------
    DataFrame
        One row per configuration in order of appearance: columns `by`, n, n_collapsed,
        collapse_rate, then METRIC_mean and METRIC_sd of each metric. The sd has divisor n - 1; a
        single run has none (NaN).

    Taught in: 05_losses.

    Examples
    --------
    >>> import pandas as pd
    >>> runs = pd.DataFrame({"loss": "dice", "f1": [0.8, 0.0, 0.7], "mae": [2.0, 8.0, 2.0]})
    >>> seeds_summary(runs, by=["loss"]).round(2).to_dict("records")[0]["mae_mean"]
    4.0
    """
    import pandas as pd

    by = list(by)
    needed = [*by, "f1", *metrics]
    if missing := [c for c in needed if c not in runs.columns]:
        raise InputError(f"runs: expected column {missing[0]!r}, found {list(runs.columns)}")
    if len(runs) == 0:
        raise InputError("runs: expected at least one run, found none")
    for column in dict.fromkeys(["f1", *metrics]):
        if not np.isfinite(runs[column].to_numpy(np.float64)).all():
            raise InputError(
                f"runs[{column!r}]: expected finite numbers, found NaN or infinity; a run that "
                "collapsed has f1 = 0 and its true errors"
            )
    groups = runs.groupby(by, sort=False, dropna=False) if by else [((), runs)]
    table = []
    for key, group in groups:
        collapsed = int((group["f1"] == 0).sum())
        row: dict[str, Any] = dict(zip(by, key, strict=True))
        row |= {"n": len(group), "n_collapsed": collapsed, "collapse_rate": collapsed / len(group)}
        for metric in metrics:
            row |= {f"{metric}_mean": group[metric].mean(), f"{metric}_sd": group[metric].std()}
        table.append(row)
    return pd.DataFrame(table)
