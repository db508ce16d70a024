"""Where to cut a heatmap: the cutoff, chosen from a sweep over full-size validation images."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellcount_lib.errors import InputError
from cellcount_lib.registry import Registry
from cellcount_lib.scoring.sweeps import check_cutoffs

NO_KNEE = "no knee, so argmax"


class Choice(NamedTuple):
    """A cutoff and how it came about."""

    cutoff: float
    rule: str  # that gave it: `NO_KNEE` where a knee was asked for and there was none
    value: float  # F1 at this cutoff, or MCC for "max-mcc"
    edge: str  # "lowest" or "highest" of its grid, if it is: a better one may lie beyond
    note: str  # what a reader should know, if anything


def choose(curve: pd.DataFrame, rule: str) -> Choice:
    """Choose the cutoff from a `sweep`, or for "max-mcc" from `sweep_pixels`, by a rule.

    - "argmax": highest F1; of equal ones the lowest cutoff, as in R21.
    - "middle": highest F1; of equal ones the middle of the longest row of neighbours. Where the
      heatmap is sharp or pictures are few, many cutoffs are equal, and an end is an accident.
    - "knee": where F1 starts to fall fast: the first knee, from the highest cutoff down, that
      Kneedle finds in a concave, decreasing curve (sensitivity 1, its default) and that lies above
      the straight line from the curve's top left to its bottom right. A curve that is flat,
      straight or too short, or falls at once, has none: then argmax, as `NO_KNEE`.
    - "max-mcc": highest MCC per pixel; of equal ones the lowest cutoff.
    - "fixed": the only one in the curve.

    References
    ----------
    Satopää et al. (2011), "Finding a 'kneedle' in a haystack", ICDCSW; S3, "Threshold
    optimization": at the knee only confident predictions are left, for a slight loss in F1. Of a
    curve without a knee neither S3 nor R21 says anything; R21 draws both cutoffs, and shows
    predictions at the highest F1.

    Taught in: 06_threshold_and_ruler.

    Examples
    --------
    >>> import pandas as pd
    >>> curve = pd.DataFrame({"cutoff": [0.5, 0.6, 0.7, 0.8, 0.9]})
    >>> curve["f1"] = [0.8, 0.81, 0.8, 0.79, 0.4]
    >>> choose(curve, "argmax").cutoff, choose(curve, "knee").cutoff
    (0.6, 0.8)
    >>> choose(curve[2:], "argmax")[1:4]
    ('argmax', 0.8, 'lowest')
    """
    applied = RULES[rule]
    score = "mcc" if rule == "max-mcc" else "f1"
    if missing := [c for c in ("cutoff", score) if c not in curve.columns]:
        made_by = "sweep_pixels" if score == "mcc" else "sweep"
        raise InputError(f"curve: expected column {missing[0]!r}, as sweeps.{made_by} makes it")
    x = np.array(check_cutoffs("curve['cutoff']", curve["cutoff"].tolist()))
    y = curve[score].to_numpy(np.float64)
    if not np.isfinite(y).all():
        raise InputError(f"curve[{score!r}]: expected finite scores, found NaN or infinity")
    index, used, note = applied(x, y)
    edge = {0: "lowest", x.size - 1: "highest"}.get(index, "") if x.size > 1 else ""
    beyond = f"the {edge} of its grid: a better one may lie beyond" if edge else ""
    note = "; ".join(filter(None, [note, beyond]))
    return Choice(float(x[index]), used, float(y[index]), edge, note)


Values = NDArray[np.float64]
Rule = Callable[[Values, Values], tuple[int, str, str]]  # gives position, rule and note


def _highest(name: str) -> Rule:
    def rule(x: Values, y: Values) -> tuple[int, str, str]:
        equal = int((y == y.max()).sum())
        return int(np.argmax(y)), name, f"the lowest of {equal} equal cutoffs" * (equal > 1)

    return rule


def _middle(x: Values, y: Values) -> tuple[int, str, str]:
    best = np.flatnonzero(y == y.max())
    rows = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    longest = max(rows, key=len)
    note = f"in the middle of {longest.size} equal cutoffs" * (longest.size > 1)
    return int(longest[(longest.size - 1) // 2]), "middle", note


def _knee(x: Values, y: Values) -> tuple[int, str, str]:
    from kneed import KneeLocator

    if x.size > 2 and y.max() > y.min():  # otherwise it divides by zero
        line = (x[-1] - x) / (x[-1] - x[0])
        above = (y - y.min()) / (y.max() - y.min()) > line
        # Where F1 ends at 0, the last cutoff is a "knee", too, below the line: it keeps nothing.
        found = KneeLocator(x, y, curve="concave", direction="decreasing", online=True)
        for index in (int(np.flatnonzero(x == knee)[0]) for knee in found.all_knees):
            if above[index]:
                return index, "knee", ""
    index, _, note = _highest("argmax")(x, y)
    return index, NO_KNEE, note


def _only(x: Values, y: Values) -> tuple[int, str, str]:
    if x.size != 1:
        raise InputError(f"curve: expected a single cutoff for the rule 'fixed', found {x.size}")
    return 0, "fixed", ""


RULES: Registry[Rule] = Registry(
    "threshold rule",
    {
        "argmax": _highest("argmax"),
        "middle": _middle,
        "knee": _knee,
        "max-mcc": _highest("max-mcc"),
        "fixed": _only,
    },
)
