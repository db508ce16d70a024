"""Methods by name, on pictures with 1 and 5 cells whose scores are worked out by hand."""

import csv

import numpy as np
import pytest

from cellcount_lib.data.datasets import load
from cellcount_lib.data.images import write_labels, write_png
from cellcount_lib.errors import DataError, InputError
from cellcount_lib.methods.blobs import THRESHOLDS, log_blobs
from cellcount_lib.methods.score import Scoring, score
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from tests.discs import draw, write_dataset

COUNTS = {"train": (2, 4, 6), "val": (3, 3), "test": (1, 5)}


def write(folder, counts):
    """Write pictures with so many cells to a folder dataset, and return its name."""
    rng = np.random.default_rng(0)
    with (folder / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "image", "label", "split"])
        for part, number in ((part, n) for part, all_ in counts.items() for n in all_):
            name = f"{part}-{file.tell()}-{number}"
            file.flush()
            image, labels = draw(rng, number=number)
            if part == "val":  # faint spots that are no cells
                spots = draw(rng, number=6)[1]
                image[(spots > 0) & (labels == 0)] += 25
            write_png(folder / f"{name}.png", image)
            write_labels(folder / f"{name}-labels.png", labels)
            rows.writerow([name, f"{name}.png", f"{name}-labels.png", part])
    return f"folder:{folder}"


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cells"), COUNTS)


def scores_of(method, data, **options):
    scored = score(Scoring(method, data, "smoke", protocol_scale=0.45, **options))
    return scored, pooled(scored.images, mpe=protocol("recommended").mpe)


def test_controls_look_at_no_picture(cells):
    scored, zero = scores_of("predict-zero", cells)
    assert scored.images["n_true"].tolist() == [1, 5]
    assert scored.images["n_pred"].tolist() == [0, 0]
    assert (zero["f1"], zero["fn"], zero["mae"]) == (0, 6, 3)
    scored, mean = scores_of("predict-mean", cells)
    assert scored.images["n_pred"].tolist() == [4, 4]  # of 2, 4 and 6 in the training pictures
    assert (mean["f1"], mean["fn"], mean["mae"]) == (0, 6, 2)
    assert mean["r2"] == pytest.approx(1 - (9 + 1) / (4 + 4))
    assert mean["mpe_percent"] == pytest.approx((300 - 20) / 2)  # 4 for 1, and 4 for 5


def test_the_mean_of_patches_is_of_the_cells_in_them(tmp_path):
    folder = write_dataset(tmp_path / "large", train=2, size=(230, 260), number=12)
    name = f"patches:6:folder:{folder}"
    scored, _ = scores_of("predict-mean", name)
    ruler = protocol("recommended")
    rows = [ruler.score(s.labels, s.labels, scale=0.45) for s in load(name, split="train")]
    numbers = [s.labels.max() for s in load(name, split="train")]
    assert sum(numbers) > sum(row["n_true"] for row in rows), "numbers are the whole picture's"
    assert scored.images["n_pred"].tolist() == pytest.approx(
        [np.mean([row["n_true"] for row in rows])] * len(scored.images)
    )


def test_the_oracle_is_perfect_where_cells_do_not_touch(cells):
    scored, oracle = scores_of("oracle", cells)
    assert (oracle["tp"], oracle["fp"], oracle["fn"], oracle["mae"]) == (6, 0, 0, 0)
    assert (scored.cutoff, scored.protocol_scale) == (None, 0.45)
    assert scored.fingerprint == load(cells).fingerprint
    # at full scale a disc of 253 pixels would be large enough, but a protocol for cells ten times
    # as wide drops it
    assert pooled(score(Scoring("oracle", cells, "smoke", protocol_scale=4.5)).images)["tp"] == 0


def test_blobs_are_tuned_on_validation_pictures(cells):
    scored, blobs = scores_of("log-blobs", cells)
    ruler = protocol("recommended")

    def rows(part, threshold):
        return [
            ruler.score(
                s.labels, log_blobs(s.image, cell_px=width, threshold=threshold), scale=0.45
            )
            for s in load(cells, split=part)
        ]

    def f1(threshold):
        tp, fp, fn = np.sum([[r["tp"], r["fp"], r["fn"]] for r in rows("val", threshold)], axis=0)
        return 2 * tp / (2 * tp + fp + fn)

    (area,) = {np.count_nonzero(s.labels == 1) for s in load(cells, split="train")[:1]}
    width = round(2 * np.sqrt(area / np.pi), 1)
    assert scored.cutoff == max(THRESHOLDS, key=f1)
    assert THRESHOLDS[0] < scored.cutoff < THRESHOLDS[-1], "the choice matters"
    assert scored.images["tp"].tolist() == [r["tp"] for r in rows("test", scored.cutoff)]
    assert blobs["f1"] > 0.8


def test_what_cannot_be_scored_is_refused(cells, tmp_path):
    with pytest.raises(InputError, match="unknown method 'orakle'; did you mean 'oracle'"):
        Scoring("orakle")
    with pytest.raises(InputError, match="unknown profile 'smok'; did you mean 'smoke'"):
        Scoring("oracle", profile="smok")
    with pytest.raises(InputError, match="only the method 'apply'"):
        Scoring("oracle", harmonise="size")
    for wrong in (Scoring, lambda name: Scoring("oracle", run="x")):
        with pytest.raises(InputError, match="expected the id of a run"):
            wrong("apply")
    with pytest.raises(InputError, match="expected the folder of the run"):
        score(Scoring("run", cells, "smoke", run="x"))
    with pytest.raises(DataError, match="expected test pictures, found none"):
        score(Scoring("oracle", write(tmp_path, COUNTS | {"test": ()}), "smoke"))
