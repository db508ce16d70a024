"""What `cellcount predict` gives without any option, on pictures with known cells.

    python -m benchmarks.counting simulated simulated:nuclei-medium folder:PATH --split val

Cells are matched at IoU 0.5 under the protocol `recommended`, its sizes scaled to the true width.
"""

import argparse
import time

import numpy as np
import pandas as pd

from cellcount_lib.data.datasets import load
from cellcount_lib.data.reading import read_all, some
from cellcount_lib.data.sample import Sample, cell_width
from cellcount_lib.prediction.models import AUTO, OTSU, Model, open_models
from cellcount_lib.prediction.run import Counting, model_and_width
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import CELL_PX, protocol

RULER = protocol("recommended")


def counted(sample: Sample, models: list[Model]) -> tuple[dict, str, float | None, float]:
    """The row of scores, what counted, the width it was told, and seconds of this process."""
    start = time.process_time()
    model, width, _ = model_and_width(sample.image, models, Counting(()))
    labels = model.apply(sample.image, cell_px=width).labels
    taken = time.process_time() - start
    true = cell_width([sample]) if sample.count else CELL_PX
    row = RULER.score(sample.labels, labels, image=sample.meta["name"], scale=true / CELL_PX)
    return row, model.name, width, taken


def measured(name: str, split: str, most: int | None) -> pd.DataFrame:
    samples = list(read_all(some(load(name, split=split), most)))
    network, otsu = open_models(AUTO)
    table = []
    for title, models in ((AUTO, [network, otsu]), ("network", [network]), (OTSU, [otsu])):
        rows, chosen, widths, taken = zip(*(counted(s, models) for s in samples), strict=True)
        scores = pooled(pd.DataFrame(rows), mpe=RULER.mpe)
        pairs = [
            w / cell_width([s])
            for w, s in zip(widths, samples, strict=True)
            if w is not None and s.count
        ]
        near = np.mean(np.abs(np.log(pairs)) < np.log(1.5)) if pairs else np.nan
        table.append(
            {
                "pictures of": name.split("/")[-1],
                "model": title,
                "number": len(samples),
                "by Otsu": sum(c == OTSU for c in chosen),
                "width said": f"{len(pairs)}, {near:.0%} within 1.5",
                "F1": round(scores["f1"], 3),
                "MAE": round(scores["mae"], 1),
                "CPU s each": round(float(np.mean(taken)), 2),
            }
        )
    return pd.DataFrame(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--split", default="val")
    parser.add_argument("--most", type=int, help="pictures of each")
    given = parser.parse_args()
    for name in given.datasets:
        print(measured(name, given.split, given.most).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
