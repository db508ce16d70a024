"""What trainings give: recipes and seeds on one dataset, beside the tuned adaptive threshold.

    python -m benchmarks.quality simulated --seeds 0 1 2
    python -m benchmarks.quality simulated --recipes recommended clissa2023 morelli2021 --seeds 0

The pictures are read once; every row is one training, scored on full-size test pictures.
"""

import argparse
import sys
from dataclasses import replace

import pandas as pd

from benchmarks.run import table
from cellcount_lib.machine import cores, processor
from cellcount_lib.methods.baselines import score_adaptive_threshold, tune_adaptive_threshold
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training.data import Data, held, read_data
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
    assert data.test_set is not None
    chosen = tune_adaptive_threshold(data.val_set, ruler, scale=size, jobs=cores()).choice.cutoff
    rows = score_adaptive_threshold(data.test_set, ruler, chosen, scale=size, jobs=cores())
    empty = dict.fromkeys(("seed", "status", "training s", "evaluation s"), "-")
    return row_of("adaptive threshold", pooled(rows, mpe=ruler.mpe), cutoff=chosen, **empty)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--protocol", default="recommended")
    parser.add_argument("--recipes", nargs="+", default=["recommended"])
    parser.add_argument("--losses", nargs="+", default=[None])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--arch", default="c-resunet")
    parser.add_argument("--scale", type=float)
    parser.add_argument("--weight-map", action=argparse.BooleanOptionalAction)
    given = parser.parse_args()
    base = Training(
        dataset=given.dataset,
        profile=given.profile,
        protocol=given.protocol,
        arch=given.arch,
        scale=given.scale,
        weight_map=given.weight_map,
    )
    data = held(read_data(base))
    where = f"{given.dataset}, {given.profile}, {given.protocol}; cells {data.cell_px} px wide, "
    where += f"seen at {data.scale}, protocol at {data.protocol_scale}; {processor()}"
    print(where)
    rows = [baseline(data, given.protocol)]
    print(rows[0], file=sys.stderr)
    kept = []
    for recipe in given.recipes:
        for loss in given.losses:
            for seed in given.seeds:
                asked = replace(base, recipe=recipe, loss=loss, seed=seed)
                result = train(asked, data=data, show=False)
                row = row_of(
                    recipe + (f", {loss}" if loss else ""),
                    result.scores,
                    cutoff=result.info.threshold,
                    seed=seed,
                    status=result.status,
                    **{
                        "training s": f"{result.seconds['training']:.0f}",
                        "evaluation s": f"{result.seconds['evaluation']:.0f}",
                    },
                )
                rows.append(row)
                kept.append({"method": row["method"], **result.scores})
                print(row, file=sys.stderr, flush=True)
    print(table(rows))
    if len(given.seeds) > 1:
        about = pd.DataFrame(kept).groupby("method", sort=False)[list(SHOWN)]
        print("\nMean and standard deviation over seeds:\n")
        print(about.agg(["mean", "std"]).round(3).to_string())


if __name__ == "__main__":
    main()
