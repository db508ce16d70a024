"""Which pictures to label next: strategies compared by what the labels give and what they cost.

    python -m benchmarks.labelling --data simulated --seeds 0 1 2
    python -m benchmarks.labelling --data bbbc038=folder:PATH --strategies random foreground

Pictures are reduced until the network sees cells as the profile says, and cut into quarters, which
are the pictures from here on. For each seed, some of the training split are the pool. The base
network knows nuclei. A simulated person corrects what the network of the last round proposes
(`active.annotators`); the first `FIRST` pictures are drawn at random and are the same for all
strategies, then each strategy chooses `MORE` pictures, round after round. Networks are judged at
the reduced size on quarters of test pictures. Every curve is kept as soon as it is
over, and the same command goes on where it stopped: a curve counts for the settings, the data and
the code that it was made with.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import MARK, Kept, Row
from cellcount_lib.active.annotators import Work
from cellcount_lib.active.rounds import Laboratory, Round
from cellcount_lib.active.strategies import STRATEGIES
from cellcount_lib.data.reading import read_all, some
from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import DataError
from cellcount_lib.fingerprint import closure, digest
from cellcount_lib.machine import keep_freed_memory
from cellcount_lib.seeds import derived_seed
from cellcount_lib.training.code import chosen_by
from cellcount_lib.training.data import Data, full_size
from cellcount_lib.training.profiles import PROFILES
from cellcount_lib.training.spec import Training

OUT = Path(__file__).resolve().parents[1] / "results" / "labelling.csv"
BASE = "nuclei"
READ, VALID, TEST = 30, 3, 12  # pictures, of which quarters are made
POOL, FIRST, MORE = 40, 8, (12,)  # quarters
PROFILE = "smoke"
SETTINGS: dict[str, Any] = {"crop": 64, "batch": 4, "steps": 40, "epochs": 1}
SCORES = ("f1", "precision", "recall", "mae")
START = "start"  # what all curves of a seed begin with
COLUMNS = (
    *("data", "strategy", "seed", "pictures", *SCORES, "minutes", "minutes_without", "clicked"),
    *(*Work._fields[1:], MARK),
)


def quarters(sample: Sample) -> Iterator[Sample]:
    """Cut a picture into four: more to choose from, and less to look at."""
    middle = [length // 2 for length in sample.labels.shape]
    for place in product(*((slice(m), slice(m, None)) for m in middle)):
        name = f"{sample.meta['name']}/{'ab'[place[0].stop is None]}{'ab'[place[1].stop is None]}"
        yield Sample(
            np.ascontiguousarray(sample.image[place]),
            np.ascontiguousarray(sample.labels[place]),
            sample.meta | {"name": name},
        )


def read_small(dataset: str) -> Data:
    """Read pictures at the size at which the network sees them, which is all they have here."""
    whole = full_size(dataset, "paper")  # the profile that takes all pictures
    if whole.test is None:
        raise DataError(f"{dataset}: expected a dataset with test pictures, found none")
    scale = PROFILES[PROFILE].scale(whole.cell_px)
    read = [
        [q for s in read_all(replace(some(part, most), scale=scale)) for q in quarters(s)]
        for part, most in ((whole.train, READ), (whole.val, VALID), (whole.test, TEST))
    ]
    return Data(
        train=read[0],
        valid=read[1],
        val_set=read[1],
        test_set=read[2],
        scale=1.0,
        protocol_scale=round(whole.protocol_scale * scale, 4),
        cell_px=round(whole.cell_px * scale, 1),
        pixel_size_um=None,
        fingerprint=whole.fingerprint,
    )


def laboratory(dataset: str, data: Data, seed: int) -> Laboratory:
    """Draw the pool of a seed."""
    rng = np.random.default_rng(derived_seed(seed, "pool"))
    size = min(POOL, len(data.train))
    pool = [data.train[place] for place in rng.permutation(len(data.train))[:size]]
    training = Training(dataset, profile=PROFILE, **SETTINGS, init=BASE, seed=seed)
    return Laboratory(training, replace(data, train=pool))


def row_of(now: Round) -> Row:
    """What a round is in the table."""
    work, scores = now.work, now.counter.scores
    row = {name: f"{scores[name]:.4f}" for name in SCORES}
    row |= {name: str(value) for name, value in work._asdict().items()}
    times = {"minutes": work.minutes, "minutes_without": work.minutes_without}
    return row | {k: f"{v:.2f}" for k, v in times.items()} | {"clicked": str(work.clicked)}


def curves(lab: Laboratory, strategies: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
    """Run the curves of a seed that are asked for; the start comes first."""
    begin = lab.start()
    first = lab.after(begin, "random", FIRST)
    yield START, [row_of(begin), row_of(first)]
    for strategy in strategies:
        now, rows = first, []
        for number in MORE:
            now = lab.after(now, strategy, number)
            rows.append(row_of(now))
        yield strategy, rows


def summary(rows: Sequence[Row]) -> list[Row]:
    """A line per strategy and number of pictures: means over seeds, and F1 against `foreground`.

    The last column compares within seeds: the mean difference, and how many seeds are above zero.
    """
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        key = row["data"], row["pictures"], row["strategy"]
        groups.setdefault(key, {})[row["seed"]] = row

    def mean(runs: Mapping[str, Row], column: str) -> float:
        return statistics.mean(float(run[column]) for run in runs.values())

    lines = []
    for (data, pictures, strategy), runs in groups.items():
        f1 = [float(run["f1"]) for run in runs.values()]
        control = groups.get((data, pictures, "foreground"), {})
        both = [seed for seed in runs if seed in control and strategy != "foreground"]
        gains = [float(runs[s]["f1"]) - float(control[s]["f1"]) for s in both]
        wins = sum(gain > 0 for gain in gains)
        against = f"{statistics.mean(gains):+.3f} ({wins} of {len(gains)})" if gains else "-"
        lines.append(
            {"data": data, "pictures": pictures, "strategy": strategy, "seeds": str(len(runs))}
            | {"F1": f"{statistics.mean(f1):.3f}", "lowest": f"{min(f1):.3f}"}
            | {"highest": f"{max(f1):.3f}", "cells clicked": f"{mean(runs, 'clicked'):.0f}"}
            | {"minutes": f"{mean(runs, 'minutes'):.1f}"}
            | {"minutes saved": f"{mean(runs, 'minutes_without') - mean(runs, 'minutes'):.1f}"}
            | {"F1 over foreground": against}
        )
    order = [START, *STRATEGIES]
    return sorted(lines, key=lambda r: (r["data"], int(r["pictures"]), order.index(r["strategy"])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["simulated"], metavar="NAME[=DATASET]")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), metavar="STRATEGY")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    for strategy in given.strategies:
        STRATEGIES[strategy]  # an unknown name raises
    keep_freed_memory()
    kept = Kept(given.out, COLUMNS, summary)
    for name, _, dataset in (one.partition("=") for one in given.data):
        data = read_small(dataset or name)
        for seed in given.seeds:
            lab = laboratory(dataset or name, data, seed)
            code = closure(["Laboratory"], chosen_by(lab.training))
            made = [str(lab.training.resolved()), code, data.fingerprint, BASE]
            mark = digest([*made, READ, VALID, TEST, POOL, FIRST, MORE])
            about = {"data": name, "seed": str(seed)}
            todo = [s for s in given.strategies if not kept.has(about | {"strategy": s}, mark)]
            for strategy, new in curves(lab, todo) if todo else ():
                kept.put(about | {"strategy": strategy}, mark, *new)
                said = ", ".join(f"{row['pictures']}: {row['f1']}" for row in new)
                print(f"{name}, seed {seed}, {strategy}: F1 {said}", flush=True)
    print(kept.summary())


if __name__ == "__main__":
    main()
