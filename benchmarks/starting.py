"""What few labelled pictures buy: a training from nothing, one that goes on from a model, or none.

    python -m benchmarks.starting --data bbbc038=folder:PATH --labelled 5 10 20

Of the training pictures each seed draws some, and `VAL` more to choose the cutoff on. `cellcount
train` goes on from the model that counts nuclei, or begins from nothing, with its own defaults
otherwise. What comes out counts the validation pictures of the dataset as `cellcount predict` does
without any option, and so does the model as it is. F1 is at IoU 0.5, pooled over pictures. Test
pictures are not looked at. Every row is kept as soon as it is there, and the same command goes on
where it stopped: a row counts for the pictures and the code that it was made with.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.counting import RULER, pictures, scored
from benchmarks.rows import MARK, Kept, Row
from cellcount_lib.data.datasets import Dataset
from cellcount_lib.data.reading import read_all
from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import InputError
from cellcount_lib.fingerprint import digest
from cellcount_lib.inference.info import MODEL, shipped
from cellcount_lib.prediction.models import NUCLEI, open_models
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.seeds import derived_seed
from cellcount_lib.training.code import training_code
from cellcount_lib.training.run import train
from cellcount_lib.training.spec import Training
from cellcount_lib.training.starting import started
from tools.training_folder import Picture, write_folder

OUT = Path(__file__).resolve().parents[1] / "results" / "starting.csv"
VAL = 8  # pictures
SETTINGS: dict[str, Any] = {}  # other than the defaults of a training
NOTHING, GONE_ON, AS_IT_IS = "from nothing", f"from {NUCLEI}", f"{NUCLEI} as it is"
STARTS = (NOTHING, GONE_ON)
COLUMNS = ("data", "labelled", "start", "seed", "f1", "mae", "minutes", MARK)


def labelled(dataset: Dataset, number: int, seed: int, out: Path) -> None:
    """Write a folder with `number` training pictures of a dataset, and some for validation."""
    order = np.random.default_rng(derived_seed(seed, "labelled")).permutation(len(dataset))
    split = ["train"] * number + ["val"] * VAL
    if len(split) > len(dataset):
        raise InputError(
            f"--labelled {number}: expected at most {len(dataset) - VAL}, for {dataset.name} has "
            f"{len(dataset)} training pictures and {VAL} are for validation"
        )
    chosen = [dataset[int(place)] for place in order[: len(split)]]
    drawn = zip(split, chosen, strict=True)
    write_folder((Picture(f"p{n:03d}", part, s) for n, (part, s) in enumerate(drawn)), out)


def training(dataset: str, start: str, seed: int) -> Training:
    """Return what `cellcount train DATASET [--init MODEL] --seed SEED` asks for."""
    if start == NOTHING:
        return Training(dataset, seed=seed, **SETTINGS)
    return started(Training(dataset, seed=seed, init=NUCLEI, **SETTINGS))


def trained(dataset: Dataset, number: int, start: str, seed: int, work: Path) -> str:
    """Train, and return the file of the model."""
    labelled(dataset, number, seed, work / "pictures")
    train(training(f"folder:{work / 'pictures'}", start, seed), work / "model", show=False)
    return str(work / "model" / MODEL)


def counted(model: str, samples: Sequence[Sample]) -> Row:
    """Count pictures as `cellcount predict` does, and score the counts."""
    scores = pooled(scored(samples, open_models(model)), mpe=RULER.mpe)
    return {name: f"{scores[name]:.4f}" for name in ("f1", "mae")}


def summary(rows: Sequence[Row]) -> list[Row]:
    """A line per data, number of pictures and start: means, and the range of F1."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["data"], int(row["labelled"]), row["start"]), []).append(row)
    lines = []
    for (data, number, start), runs in sorted(groups.items()):
        f1 = [float(run["f1"]) for run in runs]
        errors = statistics.mean(float(run["mae"]) for run in runs)
        trainings = "-" if start == AS_IT_IS else str(len(runs))
        lines.append(
            {"data": data, "labelled": str(number), "start": start, "trainings": trainings}
            | {"F1": f"{statistics.mean(f1):.3f}", "MAE": f"{errors:.1f}"}
            | {"F1 from, to": f"{min(f1):.3f}, {max(f1):.3f}" if len(f1) > 1 else "-"}
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME=DATASET")
    parser.add_argument("--labelled", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    kept = Kept(given.out, COLUMNS, summary)
    for name, _, dataset in (one.partition("=") for one in given.data):
        dataset = dataset or name
        learnt, judged = pictures(dataset, "train"), list(read_all(pictures(dataset, "val")))
        code = [training_code(training(dataset, start, 0)) for start in STARTS]
        weights = sha256(shipped(NUCLEI, ".safetensors").read_bytes()).hexdigest()
        mark = digest([learnt.fingerprint, weights, code, VAL, SETTINGS])
        asked = [(n, start, s) for s in given.seeds for n in given.labelled for start in STARTS]
        for number, start, seed in [(0, AS_IT_IS, 0), *asked]:
            about = {"data": name, "labelled": str(number), "start": start, "seed": str(seed)}
            if kept.has(about, mark):
                continue
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as work:
                model = trained(learnt, number, start, seed, Path(work)) if number else NUCLEI
                taken = {"minutes": f"{(time.perf_counter() - begun) / 60:.1f}"}
                new = counted(model, judged) | taken
            kept.put(about, mark, new)
            print(", ".join(f"{k} {v}" for k, v in (about | new).items()), flush=True)
    kept.write()
    print(kept.summary())


if __name__ == "__main__":
    main()
