"""How far the simulator is from the published data: the same statistics, side by side.

Published figures were measured on the FNC v1 archive or stand in the tables of the slides (S0).
Objects are the connected components of the marked pixels. S0's tables of area and Feret diameter
fit the objects after the watershed of the study instead ("split objects": 119.30 um2 are 1202
pixels, and the archive has 1206 after the watershed, 1506 before). Its tables of intensities and of
signal contradict the archive: they are shown, with a note, and not aimed at. All published figures
stand in ``targets.csv``.

Taught in: 01_data
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops
from tqdm import tqdm

from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import InputError
from cellcount_lib.files import write_whole
from cellcount_lib.fingerprint import closure, digest
from cellcount_lib.machine import cores, in_processes

PIXEL_UM = 0.315
SMALLEST_OBJECT = 80  # pixels; what the measured figures take for an object


@dataclass(frozen=True)
class ImageStatistics:
    """What one picture contributes; small enough to send between processes."""

    components: NDArray[np.int64]  # areas of the connected components of labels > 0
    # area, major axis, minor axis and Feret diameter of those of 80 pixels and more, shape (N, 4)
    axes: NDArray[np.float64]
    split: NDArray[np.float64]  # the same after the watershed of 2021, shape (M, 4)
    pixels: int
    histograms: NDArray[np.int64]  # shape (3, 256)
    products: NDArray[np.float64]  # sums of red * green, red * blue, green * blue

    @property
    def objects(self) -> NDArray[np.int64]:
        """Areas of the components that count as cells."""
        return self.components[self.components >= SMALLEST_OBJECT]


def image_statistics(sample: Sample) -> ImageStatistics:
    """Measure one picture."""
    from cellcount_lib.postprocess.postprocess import postprocess

    parts, n = ndimage.label(sample.mask, np.ones((3, 3)))
    areas = np.bincount(parts.ravel(), minlength=n + 1)[1:]
    channels = [sample.image[..., c] for c in range(3)]
    # whole numbers below 2^53: exact in any order of summation
    wide = [c.astype(np.int64) for c in channels]
    products = [float((wide[a] * wide[b]).sum()) for a, b in ((0, 1), (0, 2), (1, 2))]
    return ImageStatistics(
        components=areas.astype(np.int64),
        axes=_axes(parts),
        split=_axes(postprocess(sample.mask, "morelli2021")),
        pixels=sample.mask.size,
        histograms=np.stack([np.bincount(c.ravel(), minlength=256) for c in channels]),
        products=np.array(products),
    )


def _axes(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Area, major axis, minor axis and Feret diameter of objects of 80 pixels and more, (N, 4)."""
    rows = [
        (p.area, p.axis_major_length, p.axis_minor_length, p.feret_diameter_max)
        for p in regionprops(labels)
        if p.area >= SMALLEST_OBJECT
    ]
    return np.array(rows, np.float64).reshape(-1, 4)


def summary(images: Iterable[ImageStatistics]) -> dict[str, float]:
    """Compute every statistic of `targets` for a set of pictures."""
    images = list(images)
    if not images:
        raise InputError("images: expected at least one, found none")
    out: dict[str, float] = {}
    counts = np.array([len(i.objects) for i in images])
    out |= {
        "cells per image, mean": counts.mean(),
        "cells per image, median": np.median(counts),
        "cells per image, max": counts.max(),
        "images without cells, %": 100 * (counts == 0).mean(),
        "images with > 10 cells, %": 100 * (counts > 10).mean(),
        "images with > 20 cells, %": 100 * (counts > 20).mean(),
        "objects in 283 images": counts.mean() * 283,
    }
    out |= _object_figures(images, counts) | _colour_figures(images)
    return {name: float(value) for name, value in out.items()}


def _object_figures(images: list[ImageStatistics], counts: NDArray[np.int64]) -> dict[str, float]:
    components = np.concatenate([i.components for i in images])
    objects = np.concatenate([i.objects for i in images])
    axes = np.concatenate([i.axes for i in images])
    out = {}
    if components.size:
        for q in (5, 10, 25, 50, 75, 90, 99):
            out[f"area p{q}, px"] = np.percentile(components, q)
        out["area max, px"] = components.max()
    if objects.size:
        out |= {
            "area mean, px": objects.mean(),
            "equivalent diameter mean, px": np.sqrt(4 * objects / np.pi).mean(),
            "major axis mean, px": axes[:, 1].mean(),
            "minor axis mean, px": axes[:, 2].mean(),
            "objects above 3x mean area": (objects > 3 * objects.mean()).sum() * 283 / len(images),
        }
        weighted = np.repeat(counts, counts)
        out["cells per image weighted by cells, mean"] = weighted.mean()
        for q in (10, 25, 50, 75, 90):
            out[f"cells per image weighted by cells, q{q}"] = np.percentile(weighted, q)
    if len(split := np.concatenate([i.split for i in images])):
        area, major, minor, feret = split.T
        out |= {
            "split objects, area mean, px": area.mean(),
            "split objects, equivalent diameter mean, px": np.sqrt(4 * area / np.pi).mean(),
            "split objects, major axis mean, px": major.mean(),
            "split objects, minor axis mean, px": minor.mean(),
            "split objects, area mean, um2": area.mean() * PIXEL_UM**2,
            "split objects, Feret diameter mean, um": feret.mean() * PIXEL_UM,
        }
        for q in (10, 50, 90):
            out[f"split objects, area q{q}, um2"] = np.percentile(area, q) * PIXEL_UM**2
            out[f"split objects, Feret diameter q{q}, um"] = np.percentile(feret, q) * PIXEL_UM
    marked = np.array([i.components.sum() for i in images])
    pixels = np.array([i.pixels for i in images])
    share = 100 * marked / pixels
    return out | {
        "foreground overall, %": 100 * marked.sum() / pixels.sum(),
        "foreground median image, %": np.median(share),
        "foreground max image, %": share.max(),
        "signal mean, %": share.mean(),
        "signal q50, %": np.median(share),
        "signal q90, %": np.percentile(share, 90),
    }


def _colour_figures(images: list[ImageStatistics]) -> dict[str, float]:
    histograms = np.sum([i.histograms for i in images], axis=0)
    products = np.sum([i.products for i in images], axis=0)
    n = int(histograms[0].sum())
    values = np.arange(256)
    means = histograms @ values / n
    sds = np.sqrt(histograms @ values**2 / n - means**2)
    out: dict[str, float] = {}
    for c, colour in enumerate(("red", "green", "blue")):
        out |= {f"{colour} mean": means[c], f"{colour} sd": sds[c], f"{colour} mean, S0": means[c]}
        for q in (1, 50, 99):
            rank = np.searchsorted(np.cumsum(histograms[c]), q / 100 * n)
            out[f"{colour} p{q}"] = float(rank)
    for k, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        names = ("red", "green", "blue")
        spread = sds[a] * sds[b]
        value = (products[k] / n - means[a] * means[b]) / spread if spread > 0 else 0.0
        out[f"correlation {names[a]}-{names[b]}"] = value
    return out


def calibration_report(
    n: int = 283, *, seed: int = 0, jobs: int | None = None, progress: bool = False
) -> pd.DataFrame:
    """Draw `n` pictures and put their statistics beside the published ones.

    Returns
    -------
    DataFrame
        statistic, published, simulated, relative_error (simulated / published - 1; empty where the
        published value is 0), source, note.
    """
    if n < 1:
        raise InputError(f"n: expected at least one image, found {n}")
    drawn = in_processes((joblib.delayed(_draw)(i, seed) for i in range(n)), jobs or cores())
    images = tqdm(drawn, total=n, unit="image", disable=not progress)
    return compare(summary(images))


def targets() -> pd.DataFrame:
    """Published figures: statistic, published, source, and a note where another contradicts it."""
    return pd.read_csv(Path(__file__).with_name("targets.csv"), keep_default_na=False)


def compare(simulated: dict[str, float]) -> pd.DataFrame:
    """Put a `summary` beside `targets`."""
    report = targets()
    values, published = report["statistic"].map(simulated), report["published"]
    error = values / published.where(published != 0) - 1
    report.insert(2, "simulated", values)
    report.insert(3, "relative_error", error)
    return report


def aimed_at(report: pd.DataFrame) -> pd.DataFrame:
    """Rows that the simulator is calibrated to: not contradicted by another published figure."""
    return report[report["note"] == ""]


def within(report: pd.DataFrame, tolerance: float = 0.10) -> pd.Series:
    """Whether each row is within the tolerance; a published 0 (or a median count) within 1."""
    absolute = (report["simulated"] - report["published"]).abs()
    small = report["published"].eq(0) | report["statistic"].eq("cells per image, median")
    return report["relative_error"].abs().le(tolerance) | (small & absolute.le(1))


def _draw(index: int, seed: int) -> ImageStatistics:
    from cellcount_lib.data.simulate import simulate

    return image_statistics(simulate(index, seed=seed))


def code_hash() -> str:
    """Hash what the report depends on, code and published figures: a stale table is found out."""
    chosen = {"style": {"fnc-yellow"}, "post-processing": {"morelli2021"}}
    return digest([closure(["calibration_report"], chosen), targets().to_numpy().tolist()])


def write_report(path: Path | None, *, jobs: int | None = None, seed: int = 0) -> None:
    """Print the report over 283 pictures and, if asked, write it as CSV (whole or not at all)."""
    report = calibration_report(jobs=jobs, seed=seed, progress=sys.stderr.isatty())
    good = within(report)
    print("Simulated pictures against the published data (FNC yellow); 283 pictures, seed", seed)
    columns = (report[c] for c in ("statistic", "published", "simulated", "relative_error", "note"))
    for name, published, value, relative, note, fine in zip(*columns, good, strict=True):
        error = "" if np.isnan(relative) else f"{100 * relative:+6.1f}%"
        flag = "" if fine else ("  (not aimed at)" if note else "  <- off")
        print(f"  {name:<44}{published:>10.4g}{value:>10.4g}{error:>9}{flag}")
    aims = good[report["note"] == ""]
    print(f"{int(aims.sum())} of {len(aims)} within 10% (median count, and zeros, within 1).")
    for name, _, _, note in targets().itertuples(index=False):
        if note:
            print(f"  not aimed at: {name}: {note}")
    if path is not None:
        head = f"# cellcount simulate --report; 283 images, seed {seed}; code {code_hash()}\n"
        write_whole(path, head + report.to_csv(index=False, float_format="%.4g"))
