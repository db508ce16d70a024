"""Time to quality: how long a training takes until it is good, and stays so.

    make speedrun
    python -m benchmarks.speedrun --entries recommended short --seeds 0 1 2
    python -m benchmarks.speedrun --data bbbc038=folder:PATH

An entry is a set of settings with a name (`ENTRIES`). After every epoch the clock stops and the
network is judged on the validation pictures: F1 under the protocol, at the best of a few cutoffs.
The time of a run is that of its epochs up to the first from which on F1 is at the target in every
epoch to the last; a run that ends below the target has none. Test pictures are not looked at. Every
run is a line of the table as soon as it is over, and the same command goes on where it stopped: a
line counts for the settings, the code and the data that it was made with.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rows import MARK, Kept, Row
from cellcount_lib.doctor import accelerators
from cellcount_lib.fingerprint import digest
from cellcount_lib.inference.evaluation import ScaledProtocol, heatmaps
from cellcount_lib.machine import keep_freed_memory, processor
from cellcount_lib.registry import Registry
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training.code import training_code
from cellcount_lib.training.data import Data, held, read_data
from cellcount_lib.training.fast import Callback
from cellcount_lib.training.prepare import prepare
from cellcount_lib.training.spec import Training

# Fixed for good, now that runs are kept: a little below where the entry `recommended` ends.
TARGETS = {"simulated": 0.65, "bbbc038": 0.8}
CUTOFFS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)  # a fine grid would take longer than the training
OUT = Path(__file__).resolve().parents[1] / "results" / "speedrun.csv"
COLUMNS = (
    *("data", "entry", "seed", "target", "minutes", "cpu_minutes", "steps", "last_f1", "curve"),
    *("machine", MARK),
)

SCHEDULE_FREE = {"recipe": "recommended", "optimizer": "schedule-free"}
ENTRIES: Registry[Mapping[str, Any]] = Registry(
    "entry",
    {
        # fields of `Training`; what an entry leaves out is the profile's and the recipe's
        "recommended": {"recipe": "recommended"},
        "short": {"recipe": "recommended", "steps": 45},
        "small-crops": {"recipe": "recommended", "crop": 64, "batch": 8, "steps": 180},
        "schedule-free": SCHEDULE_FREE | {"lr": 0.005},
        "schedule-free-high": SCHEDULE_FREE | {"lr": 0.01},
    },
)


class Clock(Callback):
    """Add up the time of the epochs, and judge the network after each of them."""

    order = 90  # the last of an epoch

    def __init__(self, data: Data, training: Training) -> None:
        ruler = replace(protocol(training.protocol), cutoffs=CUTOFFS, threshold_rule="argmax")
        self.data, self.precision = data, training.precision
        self.scaled = ScaledProtocol(ruler, data.protocol_scale)
        self.wall = self.busy = 0.0
        self.judged: list[tuple[int, float, float, float]] = []  # steps, wall, CPU time, F1

    def before_epoch(self) -> None:
        """Start."""
        self.started = time.perf_counter(), time.process_time()

    def after_epoch(self) -> None:
        """Stop, and judge."""
        device = next(self.model.parameters()).device
        if device.type == "cuda":
            torch.cuda.synchronize()
        self.wall += time.perf_counter() - self.started[0]
        self.busy += time.process_time() - self.started[1]
        look = {"scale": self.data.scale, "device": device, "precision": self.precision}
        kept, labels = heatmaps(self.model.eval(), self.data.val_set, **look)
        choice, _ = self.scaled.choose_cutoff(kept, labels)
        steps = (self.epoch + 1) * len(self.dls.train)
        self.judged.append((steps, self.wall, self.busy, choice.value))


def from_then_on(scores: Sequence[float], target: float) -> int | None:
    """Return the first place from which on all scores reach the target; None if the last does not.

    >>> from_then_on([0.2, 0.7, 0.5, 0.6, 0.8], 0.6), from_then_on([0.7, 0.5], 0.6)
    (3, None)
    """
    below = np.flatnonzero(~(np.asarray(scores) >= target))  # NaN is below
    first = int(below[-1]) + 1 if below.size else 0
    return first if first < len(scores) else None


def timed(training: Training, data: Data, target: float) -> Row:
    """Train, and say when the target was reached for good."""
    ready, clock = prepare(training, data, show=False), Clock(data, training)
    ready.learn.add_cb(clock)
    ready.fit()
    scores = [f1 for *_, f1 in clock.judged]
    reached = from_then_on(scores, target)
    row = {"minutes": "", "cpu_minutes": "", "steps": ""}
    if reached is not None:
        steps, wall, cpu, _ = clock.judged[reached]
        row = {"minutes": f"{wall / 60:.3f}", "cpu_minutes": f"{cpu / 60:.3f}", "steps": str(steps)}
    curve = " ".join(f"{steps}:{f1:.3f}" for steps, *_, f1 in clock.judged)
    return row | {"last_f1": f"{scores[-1]:.3f}" if scores else "", "curve": curve}


def summary(rows: Sequence[Row]) -> list[Row]:
    """A line per data, entry and machine: medians of the runs, all of which must get there."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = tuple(row[c] for c in ("data", "target", "machine", "entry"))
        groups.setdefault(key, []).append(row)

    def middle(runs: list[Row], column: str) -> str:
        values = [float(run[column]) for run in runs if run[column]]
        return f"{statistics.median(values):.2f}" if len(values) == len(runs) else "-"

    lines = [
        {"data": data, "target": target, "entry": entry}
        | {"minutes": middle(runs, "minutes"), "CPU minutes": middle(runs, "cpu_minutes")}
        | {"reached": f"{sum(bool(run['minutes']) for run in runs)} of {len(runs)}"}
        | {"F1 at the end": middle(runs, "last_f1"), "machine": machine}
        for (data, target, machine, entry), runs in groups.items()
    ]

    def rank(line: Row) -> tuple[str, str, float]:
        never = line["minutes"] == "-"
        return line["data"], line["machine"], float("inf") if never else float(line["minutes"])

    return sorted(lines, key=rank)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["simulated"], metavar="NAME[=DATASET]")
    parser.add_argument("--entries", nargs="+", default=list(ENTRIES), metavar="ENTRY")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--target", type=float, help="another F1 than that of the data")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    names = [one.partition("=")[0] for one in given.data]
    if given.target is None and (unknown := set(names) - TARGETS.keys()):
        parser.error(f"no target is fixed for {', '.join(sorted(unknown))}: give one by --target")
    settings = {entry: ENTRIES[entry] for entry in given.entries}
    keep_freed_memory()
    machine = "; ".join(accelerators()) or processor()
    kept = Kept(given.out, COLUMNS, summary)
    for name, _, dataset in (one.partition("=") for one in given.data):
        base = Training(dataset or name, profile=given.profile)
        target = TARGETS[name] if given.target is None else given.target
        data = held(replace(read_data(base), test_set=None))
        for entry, seed in ((e, s) for e in given.entries for s in given.seeds):
            training = replace(base, **settings[entry], seed=seed)
            recipe, profile = training.resolved()
            made = [str(recipe), str(profile), data.fingerprint, training_code(training)]
            about = {"data": name, "entry": entry, "seed": str(seed), "target": f"{target:g}"}
            about["machine"], mark = machine, digest(made)
            if kept.has(about, mark):
                continue
            print(f"{name}, {entry}, seed {seed} ...", flush=True)
            new = timed(training, data, target)
            kept.put(about, mark, new)
            print(f"  {new['minutes'] or 'never'} minutes; {new['curve']}", flush=True)
    print(kept.summary())


if __name__ == "__main__":
    main()
