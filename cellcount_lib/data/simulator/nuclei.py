"""Simulated nuclei: the four faces of the out-of-sample set of S1, in grey.

S1 tries a network for neurons on pictures of S-BSST265 and shows them under four headings: medium
and sharp, small, uneven in texture and filling, overcrowded. Sizes, brightness and haze follow
published pictures of that set and of BBBC038. The labels are exact.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.data.simulator.fields import Field, radial, smooth_field, upsample


@dataclass(frozen=True)
class Face:
    """How one kind of picture looks; of a pair, a value between its ends is drawn per picture."""

    radius: tuple[float, float]  # mean radius of the nuclei in pixels
    varied: float  # standard deviation of the logarithm of the radii within a picture
    cover: tuple[float, float]  # sum of the areas of the nuclei over the area of the picture
    clumped: float  # probability that a nucleus is put next to one that is there already
    closest: float  # smallest distance of two centres over the sum of their radii; 1 is touching
    brightness: tuple[float, float]  # grey levels of a nucleus above the background
    uneven: float  # standard deviation of the logarithm of the brightness between nuclei
    texture: float  # relative standard deviation of the brightness within a nucleus
    blurred: float  # share of nuclei out of focus
    haze: float  # light of the nuclei that is spread over their surroundings


LOOKS = {
    "medium": Face((20, 27), 0.12, (0.07, 0.16), 0.15, 1.02, (70, 170), 0.20, 0.20, 0.0, 0.04),
    "small": Face((6.5, 10), 0.16, (0.04, 0.14), 0.25, 0.98, (60, 180), 0.28, 0.10, 0.03, 0.05),
    "uneven": Face((30, 46), 0.22, (0.10, 0.24), 0.35, 0.85, (50, 150), 0.50, 0.36, 0.25, 0.12),
    "overcrowded": Face((22, 34), 0.18, (0.45, 0.70), 0.80, 0.72, (60, 130), 0.30, 0.16, 0.15, 0.3),
}


def draw_nuclei(
    index: int, seed: int, style_key: int, size: tuple[int, int], face: str
) -> tuple[NDArray[np.uint8], NDArray[np.int32], dict[str, Any]]:
    """Draw one picture: image uint8 (H, W, 3), R = G = B, labels int32 (H, W), meta."""
    rng = np.random.default_rng(SeedSequence([seed, style_key, index]))
    look = LOOKS[face]
    radius = float(rng.uniform(*look.radius))
    n = max(1, round(rng.uniform(*look.cover) * size[0] * size[1] / (np.pi * radius**2)))
    radii = radius * np.exp(rng.normal(0, look.varied, n))
    centres = place_nuclei(rng, size, radii, clumped=look.clumped, closest=look.closest)
    light = np.zeros(size, np.float32)
    labels, structures = draw_all(rng, light, centres, radii, look)
    image = grey_camera(rng, light, background=float(rng.uniform(4, 22)), haze=look.haze)
    meta = {"labelling": "exact", "n_cells_drawn": len(structures), "structures": structures}
    return image, labels, meta


def place_nuclei(
    rng: Generator,
    size: tuple[int, int],
    radii: NDArray[np.float64],
    *,
    clumped: float,
    closest: float,
    attempts: int = 40,
) -> NDArray[np.float64]:
    """Find centres, (N, 2), at least `closest` x (sum of radii) apart.

    A nucleus that finds no place after so many attempts is left out: its row is NaN.
    """
    centres = np.full((len(radii), 2), np.nan)
    placed = 0
    there = np.empty((len(radii), 3))
    for number, radius in enumerate(radii):
        for _ in range(attempts):
            if placed and rng.random() < clumped:
                row, column, other = there[rng.integers(placed)]
                angle = rng.uniform(0, 2 * np.pi)
                apart = (radius + other) * rng.uniform(closest, closest + 0.15)
                spot = np.array([row + apart * np.sin(angle), column + apart * np.cos(angle)])
            else:
                spot = rng.uniform(0, size)
            if (spot < 0).any() or (spot >= size).any():
                continue
            near = there[:placed]
            distance = np.hypot(near[:, 0] - spot[0], near[:, 1] - spot[1])
            if (distance >= closest * (near[:, 2] + radius)).all():
                centres[number] = spot
                there[placed] = (*spot, radius)
                placed += 1
                break
    return centres


def draw_all(
    rng: Generator,
    light: Field,
    centres: NDArray[np.float64],
    radii: NDArray[np.float64],
    look: Face,
) -> tuple[NDArray[np.int32], list[dict[str, Any]]]:
    """Add the nuclei to the picture; return their labels and boxes.

    Where two nuclei overlap, the picture is a little brighter than the brighter one: the cube root
    of the sum of cubes, because nuclei push each other aside more than they lie on top of each
    other. The label goes to the nucleus in which the pixel lies deeper.
    """
    height, width = light.shape
    brightness = rng.uniform(*look.brightness)
    texture = smooth_field(rng, light.shape, float(np.clip(radii.mean() / 3, 3, 9)))
    patches = smooth_field(rng, light.shape, float(radii.mean()))
    texture = np.clip(0.75 * texture + 0.65 * patches, -2.2, 2.2)
    nearest = np.ones(light.shape, np.float32)
    labels = np.zeros(light.shape, np.int32)
    for number, ((row, column), radius) in enumerate(zip(centres, radii, strict=True), start=1):
        if np.isnan(row):
            continue
        stretch = float(1 + rng.gamma(2.0, 0.13))
        out_of_focus = rng.random() < look.blurred
        soft = float(rng.uniform(0.12, 0.3) * radius if out_of_focus else rng.uniform(0.7, 1.3))
        side = 2 * int(np.ceil(1.5 * np.sqrt(stretch) * radius + 4 * soft)) + 1
        distance = radial(rng, side, radius, elongation=stretch, rough=0.03)
        peak = brightness * rng.lognormal(0, look.uneven) * (0.6 if out_of_focus else 1.0)
        top, left = round(row) - side // 2, round(column) - side // 2
        there = (slice(max(top, 0), top + side), slice(max(left, 0), left + side))
        here = (
            slice(max(-top, 0), min(side, height - top)),
            slice(max(-left, 0), min(side, width - left)),
        )
        distance = distance[here]
        edge = 1 / (1 + np.exp(np.clip((distance - 1) * np.float32(radius / soft), -30, 30)))
        fine = np.float32(look.texture * (0.4 if out_of_focus else 1.0))
        # flattened in the middle: a nucleus is a thick disc, not a ball
        depth = 0.8 + 0.2 * np.sqrt(np.maximum(1 - distance**2, 0))
        glow = np.float32(peak) * edge * depth * np.maximum(1 + fine * texture[there], 0.1)
        light[there] = np.cbrt(light[there] ** 3 + glow**3)
        mine = distance < nearest[there]
        nearest[there][mine] = distance[mine]
        labels[there][mine] = number
    return _keep_visible(labels, radii)


def _keep_visible(
    labels: NDArray[np.int32], radii: NDArray[np.float64]
) -> tuple[NDArray[np.int32], list[dict[str, Any]]]:
    """Drop nuclei of which less than a tenth is visible; number the others from 1."""
    areas = np.bincount(labels.ravel(), minlength=len(radii) + 1)
    enough = areas >= np.concatenate([[1], np.maximum(0.1 * np.pi * radii**2, 12)])
    enough[0] = False
    new = np.zeros(len(areas), np.int32)
    new[enough] = np.arange(1, enough.sum() + 1, dtype=np.int32)
    labels = new[labels]
    boxes = [
        (rows.start, columns.start, rows.stop, columns.stop)
        for rows, columns in ndimage.find_objects(labels)
    ]
    return labels, [{"kind": "nucleus", "box": box} for box in boxes]


def grey_camera(
    rng: Generator, light: Field, *, background: float, haze: float = 0.0, noise: float = 0.25
) -> NDArray[np.uint8]:
    """Turn light into a grey picture, uint8 (H, W, 3): haze, uneven ground, shot noise, 8 bits."""
    shape = light.shape
    # the haze is so smooth that a picture of a sixteenth of the size holds all of it
    rows, columns = (np.unique(np.linspace(0, n, max(n // 16, 2), dtype=int)[:-1]) for n in shape)
    coarse = np.add.reduceat(np.add.reduceat(light, rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff([*rows, shape[0]]), np.diff([*columns, shape[1]]))
    spread = upsample(ndimage.gaussian_filter(coarse / counts.astype(np.float32), 3.0), shape)
    ground = background * np.exp(0.12 * smooth_field(rng, shape, 0.6 * min(shape)))
    total = light + haze * spread + ground
    grain = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), 0.6)
    grain *= np.float32(1.9)  # the filter leaves 1/1.9 of the standard deviation
    total = total + grain * (0.5 + noise * np.sqrt(np.maximum(total, 0)))
    grey = np.clip(np.rint(total), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
