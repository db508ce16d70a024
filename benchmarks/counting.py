"""What `cellcount predict` gives without any option, on pictures with known cells, beside Otsu.

    python -m benchmarks.counting simulated folder:PATH --split val
    python -m benchmarks.counting folder:PATH --split test --groups

Cells are matched at IoU 0.5, and by their centres, under the protocol `recommended`, its sizes
scaled to the true width. AP is TP / (TP + FP + FN). Intervals are at 95%, over pictures; those of
the difference to Otsu are paired. With --groups also dim pictures (99.8th percentile below 40) and
the others, and cells of different widths, each for themselves. Specks are labelled cells so small
that the protocol's post-processing drops what is found there.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from cellcount_lib.data.datasets import Dataset, load
from cellcount_lib.data.reading import read_all, some
from cellcount_lib.data.sample import Sample, brightness, cell_width
from cellcount_lib.data.stretch import HIGH_PERCENTILE
from cellcount_lib.prediction.counter import counted
from cellcount_lib.prediction.models import AUTO, OTSU, Model, open_models
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import CELL_PX, protocol
from cellcount_lib.scoring.stats import PictureCounts, difference, interval, picture_counts
from tools.nuclei_pictures import open_folder

RULER = protocol("recommended")
DIM = 40  # grey levels, the 99.8th percentile
WIDTHS = (0.0, 18.0, 36.0, np.inf)  # pixels
ABOUT = ["model", "width", "said", "brightest", "specks", "seconds"]  # columns that are no scores


def pictures(name: str, split: str) -> Dataset:
    """Open pictures by the name of their dataset."""
    if name.startswith("folder:"):
        return open_folder(Path(name.partition(":")[2]), split)
    return load(name, split=split)


def scored(samples: Sequence[Sample], models: list[Model]) -> pd.DataFrame:
    """Score each picture; say what counted it, the true and the expected width, and CPU seconds."""
    rows = []
    for sample in samples:
        start = time.process_time()
        found = counted(sample.image, models)
        taken = time.process_time() - start
        width = cell_width([sample]) if sample.count else CELL_PX
        row = RULER.score(
            sample.labels,
            found.prediction.labels,
            image=sample.meta["name"],
            scale=width / CELL_PX,
        )
        brightest = float(np.percentile(brightness(sample.image), HIGH_PERCENTILE))
        least = RULER.postprocess.scaled(width / CELL_PX).cleaning.objects_below
        areas = np.bincount(sample.labels.ravel())[1:]
        specks = int(((areas > 0) & (areas < least)).sum())
        about = (found.model.title, width, found.cell_px, brightest, specks, taken)
        rows.append(row | dict(zip(ABOUT, about, strict=True)))
    return pd.DataFrame(rows)


def groups(rows: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    """Yield a name and who belongs to it: all, dim and other pictures, small and large cells."""
    yield "all", rows["width"] > 0
    yield f"dim (below {DIM})", rows["brightest"] < DIM
    yield "not dim", rows["brightest"] >= DIM
    for low, high in pairwise(WIDTHS):
        yield f"{low:.0f} to {high:.0f} px wide", rows["width"].between(low, high, inclusive="left")


def counts_of(rows: pd.DataFrame) -> PictureCounts:
    return picture_counts({0: rows.drop(columns=ABOUT)}, mpe=RULER.mpe, trained=False)


def line(rows: pd.DataFrame, otsu: pd.DataFrame) -> dict[str, object]:
    """Summarise pictures, and how much better than Otsu they are counted."""

    def with_interval(metric: str) -> str:
        limits = interval(counts_of(rows), metric) if len(rows) > 1 else None
        shown = f"{scores[metric]:.3f}"
        return shown if limits is None else f"{shown} ({limits[0]:.2f} to {limits[1]:.2f})"

    scores = pooled(rows, mpe=RULER.mpe)
    alone = len(rows) == 1 or rows is otsu
    more = None if alone else difference(counts_of(rows), counts_of(otsu), "f1")
    by = rows["model"].value_counts()
    return {
        "number": len(rows),
        "cells": scores["n_true"],
        "specks": int(rows["specks"].sum()),
        "counted by": ", ".join(f"{name} {by[name]}" for name in by.index),
        "F1": with_interval("f1"),
        "AP": with_interval("accuracy"),
        "F1 by centres": round(scores["f1_distance"], 3),
        "MAE": round(scores["mae"], 1),
        "F1 over Otsu": ""
        if more is None
        else f"{more.value:+.3f} ({more.low:+.2f} to {more.high:+.2f})",
        "CPU s each": round(float(rows["seconds"].mean()), 2),
    }


def measured(
    dataset: Dataset, *, models: list[Model] | None = None, by_group: bool = False
) -> pd.DataFrame:
    """Return a table of a dataset: what auto (or other `models`) gives and what Otsu gives."""
    samples = list(read_all(dataset))
    otsu = scored(samples, open_models(OTSU))
    rows = scored(samples, models or open_models(AUTO))
    table = []
    for title, here in groups(rows) if by_group else [("all", rows["width"] > 0)]:
        if here.any():
            theirs = otsu[here]
            table.append({"pictures": title, **line(rows[here], theirs)})
            table.append({"pictures": title, **line(theirs, theirs)})
    return pd.DataFrame(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--split", default="val")
    parser.add_argument("--most", type=int, help="pictures of each")
    parser.add_argument("--model", default=AUTO)
    parser.add_argument("--groups", action="store_true")
    given = parser.parse_args()
    models = open_models(given.model)
    for name in given.datasets:
        chosen = some(pictures(name, given.split), given.most)
        print(f"{name.split('/')[-1]}, {given.split}")
        print(measured(chosen, models=models, by_group=given.groups).to_string(index=False))


if __name__ == "__main__":
    main()
