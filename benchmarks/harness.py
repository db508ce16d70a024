"""What a benchmark case is, and how it is timed.

A topic module (``benchmarks/weightmap.py``, ...) holds the reference implementations (plain
definitions, and the published algorithms written anew from their description) and a function
``cases()``. ``benchmarks/run.py`` times them and prints one table. Tests import the reference
implementations from here too, so there is one slow, obvious version of everything.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cellcount_lib.machine import cores


@dataclass(frozen=True)
class Case:
    """Ours against a reference on the same input.

    ``same(ours_result, reference_result)`` must be true: a fast wrong answer is not a result.
    ``at_least`` is the wanted ratio reference/ours, ``at_most_s`` the wanted seconds of ours.
    ``rounds`` > 1 times both in turn that often and compares the medians: for ratios near 1.
    """

    name: str
    ours: Callable[[], Any]
    reference: Callable[[], Any] | None = None
    reference_is: str = ""
    at_least: float | None = None
    at_most_s: float | None = None
    same: Callable[[Any, Any], bool] | None = None
    rounds: int = 1


@contextlib.contextmanager
def all_cores() -> Iterator[None]:
    """Let torch use every core; the benchmarks hold it to one thread otherwise."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds(
    function: Callable[[], Any], *, budget: float = 3.0, most: int = 7
) -> tuple[float, Any]:
    """Median wall seconds over up to `most` calls within `budget` seconds, and the last result."""
    taken: list[float] = []
    result = None
    while not taken or (len(taken) < most and sum(taken) < budget):
        start = time.perf_counter()
        result = function()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken), result
