"""Can a classifier tell simulated neurons from real ones? AUC of a random forest on patches.

    python -m benchmarks.likeness fnc-v1
    python -m benchmarks.likeness folder:PATH --name now --out results/likeness.csv

0.5 is no difference, 1.0 is told apart without a mistake. Whole pictures are held out: a fold tests
on real and simulated pictures of which no patch was trained on. No feature counts single values
such as 0 or 255, which would tell a camera's file from a drawn one without any likeness.
"""

import argparse
import csv
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from cellcount_lib.data.datasets import load
from cellcount_lib.data.simulate import simulate
from cellcount_lib.files import write_whole
from cellcount_lib.machine import cores, in_processes

SIDE = 128
TREES = 200
SCALES = (0.7, 1.4, 2.8, 5.6, 11.2, 22.4)
COLUMNS = (
    "simulator",
    "real pictures",
    "simulated pictures",
    "patches",
    "AUC",
    "lowest",
    "highest",
)


def features(patch: NDArray[np.uint8]) -> dict[str, float]:
    """Texture, spectrum and colour of one patch, uint8 (H, W, 3)."""
    red, green, blue = np.moveaxis(patch.astype(np.float64), 2, 0)
    light = np.sqrt(red)  # the noise of a camera is about even on this scale
    out = {f"red p{q}": float(np.percentile(red, q)) for q in (5, 50, 95, 99)}
    mean = red.mean() + 1
    out |= {"green / red": green.mean() / mean, "blue / red": blue.mean() / mean}
    # texture: what lies between two blurs, how strong and how lopsided it is
    blurs = [light, *(ndimage.gaussian_filter(light, s, mode="reflect") for s in SCALES)]
    bands = [fine - coarse for fine, coarse in pairwise(blurs)]
    for scale, band in zip(SCALES, bands, strict=True):
        spread = band.std() + 1e-3
        out[f"texture {scale:g} px"] = float(np.log(spread))
        out[f"lopsided {scale:g} px"] = float(((band / spread) ** 3).mean())
        out[f"peaked {scale:g} px"] = float(np.log(((band / spread) ** 4).mean() + 1))
    # spectrum: share of each octave, and how much one direction prevails
    window = np.hanning(SIDE)
    power = np.abs(np.fft.rfft2((light - light.mean()) * np.outer(window, window))) ** 2
    y, x = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :]
    radius = np.hypot(y, x) * SIDE
    total = power.sum() + 1e-9
    for low in (2, 4, 8, 16, 32):
        ring = (radius >= low) & (radius < 2 * low)
        turned = (power[ring] * np.exp(2j * np.arctan2(y + 0 * x, x + 0 * y)[ring])).sum()
        out[f"spectrum {low}-{2 * low}"] = float(np.log(power[ring].sum() / total + 1e-6))
        out[f"direction {low}-{2 * low}"] = float(np.abs(turned) / (power[ring].sum() + 1e-9))
    # colour: how green goes along with red, coarsely and in the grain
    for name, blur in (("coarse", 2.8), ("grain", 0.0)):
        r, g = (ndimage.gaussian_filter(c, blur) if blur else c for c in (red, green))
        if name == "grain":
            r, g = (c - ndimage.gaussian_filter(c, 1.4) for c in (r, g))
        spread = r.std() * g.std()
        out[f"red-green {name}"] = float(((r - r.mean()) * (g - g.mean())).mean() / (spread + 1e-3))
    return out


def patches(image: NDArray[np.uint8]) -> list[dict[str, float]]:
    """Features of every whole patch of a picture."""
    rows, columns = (range(0, n - SIDE + 1, SIDE) for n in image.shape[:2])
    return [features(image[r : r + SIDE, c : c + SIDE]) for r in rows for c in columns]


def _simulated(index: int) -> list[dict[str, float]]:
    return patches(simulate(index).image)


def told_apart(
    values: NDArray[np.float64], real: NDArray[np.bool_], picture: NDArray[np.int64], folds: int
) -> tuple[list[float], NDArray[np.float64]]:
    """AUC of each fold, and the mean importance of each feature.

    `values` has shape (patches, features); `picture` is the number of the picture that a patch is
    from. A fold tests on its share of the real pictures and its share of the simulated ones.
    """
    fold = np.zeros(len(real), int)
    for kind in (True, False):
        mine = np.flatnonzero(real == kind)
        split = GroupKFold(folds).split(mine, groups=picture[mine])
        for number, (_, test) in enumerate(split):
            fold[mine[test]] = number
    areas, importances = [], []
    for number in range(folds):
        train, test = fold != number, fold == number
        forest = RandomForestClassifier(
            TREES, min_samples_leaf=3, class_weight="balanced_subsample", random_state=number
        ).fit(values[train], real[train])
        areas.append(float(roc_auc_score(real[test], forest.predict_proba(values[test])[:, 1])))
        importances.append(forest.feature_importances_)
    return areas, np.mean(importances, axis=0)


def measure(images: Sequence[NDArray[np.uint8]], n: int) -> tuple[list[float], list[str], int]:
    """AUCs by fold, features by falling importance with their own AUC, and number of patches."""
    calls = [joblib.delayed(patches)(image) for image in images]
    calls += [joblib.delayed(_simulated)(index) for index in range(n)]
    groups = list(in_processes(calls, cores()))
    names = list(groups[0][0])
    values = np.array([[f[name] for name in names] for group in groups for f in group])
    picture = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    real = picture < len(images)
    areas, importance = told_apart(values, real, picture, min(5, len(images), n))
    telling = [
        f"{names[k]} ({roc_auc_score(real, values[:, k]):.2f})" for k in importance.argsort()[::-1]
    ]
    return areas, telling, len(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="real pictures of yellow neurons, a name or folder:PATH")
    parser.add_argument("--simulated", type=int, default=24, help="how many are drawn")
    parser.add_argument("--name", default="now", help="row of the table that is replaced")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    images = [sample.image for sample in load(given.dataset)]
    areas, telling, n = measure(images, given.simulated)
    row = [given.name, len(images), given.simulated, n, np.mean(areas), min(areas), max(areas)]
    shown = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in row]
    shown.append("; ".join(telling[:5]))
    print(", ".join(shown))
    print("by importance (AUC of the feature alone):", ", ".join(telling))
    if given.out:
        old = list(csv.reader(given.out.read_text().splitlines())) if given.out.exists() else []
        rows = [r for r in old[1:] if r[0] != given.name] + [shown]
        lines = [[*COLUMNS, "most telling"], *rows]
        write_whole(given.out, "".join(",".join(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
