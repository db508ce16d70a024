"""What trainings give: recipes and seeds on one dataset, beside the tuned adaptive threshold.

    python -m benchmarks.quality simulated --seeds 0 1 2
    python -m benchmarks.quality simulated --recipes recommended clissa2023 morelli2021 --seeds 0
    python -m benchmarks.quality simulated --profile smoke --batch 8 --steps 40 --epochs 4 \\
        --losses combined-balanced combinedft-overcrowd --seeds 0 1 2 --validation
    python -m benchmarks.quality --committed losses losses-bbbc038-fluo-x1

The pictures are read once; every row is one training, scored on full-size test pictures, or, to
choose a setting, on the validation pictures that its cutoff was chosen on. With --committed nothing
is trained: the validation scores of committed runs are compared.
"""

import argparse
import sys
from dataclasses import replace
from itertools import product

import pandas as pd

from benchmarks.rows import table
from cellcount_lib.machine import cores, processor
from cellcount_lib.methods.baselines import score_adaptive_threshold, tune_adaptive_threshold
from cellcount_lib.records import read_record
from cellcount_lib.runs.status import RUNS
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.tables.committed import Committed
from cellcount_lib.tables.committed import table as table_of
from cellcount_lib.training.data import Data, held, read_data
from cellcount_lib.training.result import Result
from cellcount_lib.training.run import train
from cellcount_lib.training.spec import Training

SHOWN = ("f1", "precision", "recall", "mae")


def row_of(name: str, scores: dict[str, float], **more: object) -> dict[str, str]:
    return {
        "method": name,
        **{column: f"{scores[column]:.3f}" for column in SHOWN},
        **{column: str(value) for column, value in more.items()},
    }


def baseline(data: Data, ruler_name: str) -> dict[str, str]:
    """The adaptive threshold: its quantile tuned on the validation pictures."""
    ruler, size = protocol(ruler_name), data.protocol_scale
    pictures = data.val_set if data.test_set is None else data.test_set
    chosen = tune_adaptive_threshold(data.val_set, ruler, scale=size, jobs=cores()).cutoff
    rows = score_adaptive_threshold(pictures, ruler, chosen, scale=size, jobs=cores())
    empty = dict.fromkeys(("validation dice", "seed", "status", "training s", "evaluation s"), "-")
    return row_of("adaptive threshold", pooled(rows, mpe=ruler.mpe), cutoff=chosen, **empty)


def scores_of(result: Result, data: Data) -> dict[str, float]:
    """Of the test pictures; where there are none, of the validation pictures."""
    if data.test_set is not None:
        return result.scores
    labels = {sample.meta["name"]: sample.labels for sample in data.val_set}
    rows = result.scaled.score(result.heatmaps["val"], labels, result.info.threshold)
    return result.scaled.pooled(rows)


def validation_dice(made: Committed) -> pd.DataFrame:
    """Mean, lowest and highest over seeds of the best epoch's Dice on validation crops, by loss."""
    records = (read_record(made.folder / RUNS / f"{run}.ipynb") for run in made.results.runs["run"])
    rows = [
        {"loss": record.parameters["loss"], "dice": max(row["dice"] for row in record.history)}
        for record in records
        if record.history
    ]
    scores = pd.DataFrame(rows).groupby("loss")["dice"].agg(["mean", "min", "max", "count"])
    return scores.sort_values("mean", ascending=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", nargs="?", default="simulated")
    parser.add_argument("--profile", help="laptop; with --committed, that of the book's table")
    parser.add_argument("--protocol", default="recommended")
    parser.add_argument("--recipes", nargs="+", default=["recommended"])
    parser.add_argument("--losses", nargs="+", default=[None])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--arch", default="c-resunet")
    parser.add_argument("--scale", type=float)
    for name in ("--batch", "--steps", "--epochs"):
        parser.add_argument(name, type=int)
    parser.add_argument("--validation", action="store_true", help="leave the test pictures alone")
    parser.add_argument("--weight-map", action=argparse.BooleanOptionalAction)
    parser.add_argument("--committed", nargs="+", metavar="GRID")
    given = parser.parse_args()
    if given.committed:
        for grid in given.committed:
            made = table_of(grid, given.profile)
            print(f"{grid}, {made.profile}\n{validation_dice(made).round(3)}\n")
        return
    base = Training(
        dataset=given.dataset,
        profile=given.profile or "laptop",
        protocol=given.protocol,
        arch=given.arch,
        scale=given.scale,
        weight_map=given.weight_map,
        batch=given.batch,
        steps=given.steps,
        epochs=given.epochs,
    )
    data = read_data(base)
    data = held(replace(data, test_set=None) if given.validation else data)
    judged = "validation" if given.validation else "test"
    print(f"{given.dataset}, {base.profile}, {given.protocol}, {judged} pictures; {processor()}")
    print(f"cells {data.cell_px} px wide, seen at {data.scale}, protocol at {data.protocol_scale}")
    rows = [baseline(data, given.protocol)]
    print(rows[0], file=sys.stderr)
    kept = []
    for seed, recipe, loss in product(given.seeds, given.recipes, given.losses):
        result = train(replace(base, recipe=recipe, loss=loss, seed=seed), data=data, show=False)
        name, scores = recipe + (f", {loss}" if loss else ""), scores_of(result, data)
        about = {
            "validation dice": f"{max(row['dice'] for row in result.history):.3f}",
            "cutoff": result.info.threshold,
            "seed": seed,
            "status": result.status,
            "training s": f"{result.seconds['training']:.0f}",
            "evaluation s": f"{result.seconds['evaluation']:.0f}",
        }
        rows.append(row_of(name, scores, **about))
        kept.append({"method": name, **scores})
        print(rows[-1], file=sys.stderr, flush=True)
    print(table(rows))
    if len(given.seeds) > 1:
        seeds = pd.DataFrame(kept).groupby("method", sort=False)[list(SHOWN)]
        print("\nMean and standard deviation over seeds:\n")
        print(seeds.agg(["mean", "std"]).round(3).to_string())


if __name__ == "__main__":
    main()
