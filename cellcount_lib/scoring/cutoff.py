"""Where to cut a heatmap: the choice of the cutoff from a sweep over full-size validation images.

The cutoffs of S3 are 0.5 to 0.975 in steps of 0.025, which are 20 (R21 writes them as
``arange(0.5, 0.98, 0.025)``). The sweeps themselves are in `sweeps` and can be had from here.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.errors import InputError, unknown_name
from cellcount_lib.scoring.protocols import CUTOFFS, PIXEL_CUTOFFS
from cellcount_lib.scoring.sweeps import (
    check_cutoffs,
    pool_cutoffs,
    sweep,
    sweep_pixels,
    sweep_rows,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CUTOFFS",
    "PIXEL_CUTOFFS",
    "RULES",
    "Choice",
    "choose",
    "pool_cutoffs",
    "sweep",
    "sweep_pixels",
    "sweep_rows",
]


class Choice(NamedTuple):
    """A cutoff and how it came about.

    Attributes
    ----------
    cutoff : float
    rule : str
        The rule that gave it: "argmax" where a knee was asked for and there was none.
    value : float
        Of the score that the rule looks at (F1, or MCC for "max-mcc"), at this cutoff.
    note : str
        Empty, or what a reader should know.
    """

    cutoff: float
    rule: str
    value: float
    note: str


def choose(curve: "pd.DataFrame", rule: str | float) -> Choice:
    """Choose the cutoff from a sweep.

    Parameters
    ----------
    curve : DataFrame
        From `sweep`; for "max-mcc" from `sweep_pixels`.
    rule : {"argmax", "knee", "max-mcc", "fixed"} or float
        - "argmax": highest F1; of equal ones the lowest cutoff, as in R21.
        - "knee": where F1 starts to fall fast (Kneedle, for a concave, decreasing curve, with its
          default sensitivity 1). A flat, straight or too short curve has no knee: then argmax, and
          the note says so.
        - "max-mcc": highest MCC per pixel; of equal ones the lowest cutoff.
        - a number: this cutoff, which must be in the curve. "fixed": the only one in it.

    Returns
    -------
    Choice

    References
    ----------
    Satopää et al. (2011), "Finding a 'kneedle' in a haystack", ICDCSW; S3, "Threshold
    optimization": at the knee only confident predictions are left, for a slight loss in F1.

    Taught in: 06_threshold_and_ruler.

    Examples
    --------
    >>> import pandas as pd
    >>> curve = pd.DataFrame({"cutoff": [0.5, 0.6, 0.7, 0.8, 0.9]})
    >>> curve["f1"] = [0.8, 0.81, 0.8, 0.79, 0.4]
    >>> choose(curve, "argmax").cutoff, choose(curve, "knee").cutoff, choose(curve, 0.7).value
    (0.6, 0.8, 0.8)
    """
    if isinstance(rule, str) and rule not in RULES:
        raise unknown_name("threshold rule", rule, RULES)
    score = "mcc" if rule == "max-mcc" else "f1"
    if missing := [c for c in ("cutoff", score) if c not in curve.columns]:
        made_by = "sweep_pixels" if score == "mcc" else "sweep"
        raise InputError(f"curve: expected column {missing[0]!r}, as threshold.{made_by} makes it")
    x = np.array(check_cutoffs("curve['cutoff']", curve["cutoff"].tolist()))
    y = curve[score].to_numpy(np.float64)
    if not np.isfinite(y).all():
        raise InputError(f"curve[{score!r}]: expected finite scores, found NaN or infinity")
    if isinstance(rule, str):
        index, used, note = RULES[rule](x, y)
    else:
        near = np.flatnonzero(np.isclose(x, rule, rtol=0, atol=1e-9))
        if near.size == 0:
            raise InputError(f"rule: expected one of the cutoffs {x.tolist()}, found {rule!r}")
        index, used, note = int(near[0]), "fixed", ""
    return Choice(float(x[index]), used, float(y[index]), note)


Found = tuple[int, str, str]


def _highest(name: str) -> Callable[[NDArray[np.float64], NDArray[np.float64]], Found]:
    def rule(x: NDArray[np.float64], y: NDArray[np.float64]) -> Found:
        equal = int((y == y.max()).sum())
        return int(np.argmax(y)), name, f"the lowest of {equal} equal cutoffs" * (equal > 1)

    return rule


def _knee(x: NDArray[np.float64], y: NDArray[np.float64]) -> Found:
    from kneed import KneeLocator

    knee = None
    if x.size > 2 and y.max() > y.min():  # otherwise it divides by zero
        knee = KneeLocator(x, y, curve="concave", direction="decreasing").knee
    if knee is None:
        index, used, note = RULES["argmax"](x, y)
        return index, used, "; ".join(filter(None, ["no knee in this curve: argmax instead", note]))
    return int(np.flatnonzero(x == knee)[0]), "knee", ""


def _only(x: NDArray[np.float64], y: NDArray[np.float64]) -> Found:
    if x.size != 1:
        raise InputError(f"curve: expected a single cutoff for the rule 'fixed', found {x.size}")
    return 0, "fixed", ""


RULES: Mapping[str, Callable[[NDArray[np.float64], NDArray[np.float64]], Found]] = MappingProxyType(
    {"argmax": _highest("argmax"), "knee": _knee, "max-mcc": _highest("max-mcc"), "fixed": _only}
)
