"""Cut one window out of the kept heatmaps of a grid, for the chapter that shows them side by side.

    python tools/panels.py table1 --runs-dir runs     writes results/laptop/table1-panels.npz

The window is where the most cells of a simulated test picture lie close together; every trained row
gives the heatmap of its first seed. A row whose run is not in the folder keeps the panel that it
has. A real picture is refused: none may be committed.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cellcount_lib.data.datasets import is_simulated, load  # noqa: E402
from cellcount_lib.data.sample import Sample  # noqa: E402
from cellcount_lib.files import write_whole  # noqa: E402
from cellcount_lib.inference.heatmaps import load_heatmaps  # noqa: E402
from cellcount_lib.records import read_record  # noqa: E402
from cellcount_lib.runs.grid import NETWORK, load_grid  # noqa: E402
from cellcount_lib.scoring.objects import centroids  # noqa: E402

SIZE = (400, 600)


def most_crowded(samples: list[Sample]) -> tuple[Sample, int, int]:
    """The picture and window with the most centres of cells in it."""
    best, found = -1, None
    for sample in samples:
        centres = centroids(sample.labels)[0]
        for row in range(0, sample.labels.shape[0] - SIZE[0] + 1, 100):
            for column in range(0, sample.labels.shape[1] - SIZE[1] + 1, 100):
                inside = (centres >= (row, column)) & (centres < (row + SIZE[0], column + SIZE[1]))
                number = int(inside.all(axis=1).sum())
                if number > best:
                    best, found = number, (sample, row, column)
    assert found is not None
    return found


def kept_panels(
    path: Path, sample: Sample, window: tuple[int, ...]
) -> dict[str, tuple[np.ndarray, float]]:
    """Panels and cutoffs by row that are there of the same window."""
    if not path.exists():
        return {}
    with np.load(path) as there:
        if there["picture"] != sample.meta["index"] or tuple(there["window"]) != window:
            return {}
        cuts = map(float, there["cutoffs"])
        pairs = zip(there["heatmaps"], cuts, strict=True)
        return dict(zip(there["labels"].tolist(), pairs, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    asked = parser.parse_args()
    grid = load_grid(asked.grid, profile=asked.profile, seeds=[asked.seed])
    rows = {row.label: row.runs[0] for row in grid.rows if row.runs[0].chapter == NETWORK}
    (dataset,) = {run.parameters["dataset"] for run in rows.values()}
    if not is_simulated(dataset):
        parser.error(f"{dataset}: only simulated pictures may be committed")
    sample, row, column = most_crowded([s for s in load(dataset, split="test") if s.count > 20])
    window = np.s_[row : row + SIZE[0], column : column + SIZE[1]]
    path = ROOT / "results" / asked.profile / f"{asked.grid}-panels.npz"
    place = (row, column, *SIZE)
    earlier = kept_panels(path, sample, place)
    panels, cutoffs = [], []
    for label, run in rows.items():
        folder = asked.runs_dir / asked.profile / run.id
        heatmaps = folder / "heatmaps-test.npz"
        if not heatmaps.exists() and label in earlier:
            panel, cutoff = earlier[label]
            print(f"{label}: no {heatmaps}, kept as it was")
        else:
            heatmap = load_heatmaps(heatmaps)[sample.meta["name"]].heatmap()
            panel = np.rint(255 * heatmap[window][::2, ::2]).astype(np.uint8)
            cutoff = read_record(folder / "record.json").cutoff
        panels.append(panel)
        cutoffs.append(cutoff)
    packed = io.BytesIO()
    np.savez_compressed(
        packed,
        labels=list(rows),
        heatmaps=np.stack(panels),
        cutoffs=np.array(cutoffs, float),
        picture=sample.meta["index"],
        window=place,
        step=2,
    )
    write_whole(path, packed.getvalue())
    print(f"{path.relative_to(ROOT)}: {len(panels)} heatmaps of {sample.meta['name']}")


if __name__ == "__main__":
    main()
