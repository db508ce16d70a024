"""Everything in a picture of neurons except the cells: tissue, filaments, artifacts, the camera."""

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.data.simulator.fields import Field, Patch, smooth_field, sprinkle, stroke, walk
from cellcount_lib.data.simulator.population import Stratum

Structures = list[dict[str, Any]]

# Brightness of the tissue in red by the picture's rank.
LEVEL_RANKS = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)
LEVELS = (0.6, 1.8, 4.5, 7.3, 9.5, 13.0, 22.0)


def background_level(rank: float) -> float:
    """Brightness of the tissue in red, by the picture's rank: from nearly black to a dim brown."""
    return float(np.interp(rank, LEVEL_RANKS, LEVELS))


def tissue(rng: Generator, size: tuple[int, int], level: float) -> Field:
    """Uneven background: illumination, regions of the slice, fine grain, dark holes."""
    scale = min(size) / 1200
    slow = smooth_field(rng, size, 500 * max(scale, 0.1))
    regions = smooth_field(rng, size, 130)
    grain = smooth_field(rng, size, 14)
    light = level * np.exp(0.28 * slow + 0.13 * regions + 0.06 * grain)
    if rng.random() < 0.3:  # beyond the edge of the slice, and where it is torn, there is no light
        dark = smooth_field(rng, size, 350 * max(scale, 0.1))
        light *= 1 - 0.75 / (1 + np.exp(-(dark - 1.3) * 9))
    return light


def draw_filaments(rng: Generator, light: Field, structures: Structures, n: int) -> None:
    """Thin beaded curves that cross the picture, dim."""
    for _ in range(n):
        start = tuple(rng.uniform(0, light.shape))
        heading, length = rng.uniform(0, 2 * np.pi), rng.uniform(60, 420)
        points = walk(rng, start, heading, length, wander=rng.uniform(0.01, 0.06))
        strength = rng.lognormal(1.9, 0.6) * np.ones(len(points))
        beads = ndimage.gaussian_filter1d(rng.random(len(points)) < 0.06, 2.0, output=float)
        strength *= 0.35 + 6 * beads
        patch = stroke(points, strength, width=float(rng.uniform(1.0, 2.2)))
        place_patch(patch, light, structures, "filament")


def draw_stripe(rng: Generator, light: Field, structures: Structures) -> None:
    """A long, broad, bright band with soft sides (a fold of the slice, a vessel)."""
    middle = rng.uniform(0.1, 0.9, 2) * light.shape
    heading = rng.uniform(0, 2 * np.pi)
    length = rng.uniform(350, 1100)
    start = middle - 0.5 * length * np.array([np.sin(heading), np.cos(heading)])
    points = walk(rng, tuple(start), heading, length, wander=0.006)
    fade = np.sin(np.linspace(0.15, np.pi - 0.15, len(points)))
    strength = rng.uniform(12, 60) * fade * (1 + 0.3 * rng.standard_normal(len(points)))
    patch = stroke(points, strength, width=float(rng.uniform(6, 16)))
    place_patch(patch, light, structures, "stripe")


def draw_small_artifact(rng: Generator, light: Field, structures: Structures) -> None:
    """A speck of dust or of free dye: tiny, bright, sharp."""
    spot = rng.uniform(0, light.shape)
    points = walk(rng, tuple(spot), rng.uniform(0, 2 * np.pi), rng.uniform(1, 7), wander=0.2)
    strength = np.full(len(points), rng.lognormal(3.6, 0.8))
    patch = stroke(points, strength, width=float(rng.uniform(0.8, 2.0)))
    place_patch(patch, light, structures, "artifact-small")


def draw_big_artifact(rng: Generator, light: Field, structures: Structures, place: Stratum) -> None:
    """The overexposed corner of real pictures: bright, granular, with a sharp curved edge."""
    common = 0.86 if place.manual else 0.924
    if place.artifact < common:
        return
    height, width = light.shape
    strength = (place.artifact - common) / (1 - common)
    angle = rng.uniform(0, 2 * np.pi)
    out = np.array([np.sin(angle), np.cos(angle)])
    # the corner or side in that direction, and how far the region reaches in
    edge = np.clip(0.5 + 0.75 * out, 0, 1) * (height - 1, width - 1)
    depth = (0.07 + 0.20 * strength) * min(height, width)
    radius = rng.uniform(1.0, 3.0) * min(height, width)
    centre = edge + out * (radius - depth)
    y, x = np.ogrid[:height, :width]
    distance = np.hypot(y - centre[0], x - centre[1]).astype(np.float32)
    distance += 9 * smooth_field(rng, light.shape, 90) + 1.5 * smooth_field(rng, light.shape, 10)
    depth_in = np.float32(radius) - distance  # positive inside
    inside = 1 / (1 + np.exp(-np.clip(depth_in / 2.5, -30, 30)))
    rows, columns = (np.flatnonzero((inside > 0.5).any(axis=a)) for a in (1, 0))
    if rows.size == 0:
        return
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    piece = inside[box]
    grains = 0.5 * smooth_field(rng, piece.shape, 10) + 0.4 * smooth_field(rng, piece.shape, 26)
    grains += 0.35 * smooth_field(rng, piece.shape, 5)
    lumps = sprinkle(rng, piece, int(piece.sum() / 170), spot=2.4, spread=0.8)
    bright = rng.uniform(100, 210) * (1 + 0.45 * grains) + 80 * lumps
    light[box] += np.maximum(bright, 60) * piece
    light += 14 * np.exp(np.clip(depth_in, -400, 0) / 70) * (1 - inside)
    structures.append(
        {"kind": "artifact-big", "box": _box(rows[0], columns[0], rows[-1], columns[-1])}
    )


def camera(rng: Generator, light: Field, level: float) -> NDArray[np.uint8]:
    """Turn light into 8-bit colour: saturation, noise, black level, and the colour of the dye.

    Weak light is brown (green lies below its black level), strong light is yellow, and blue follows
    far behind; the curves are read off published pictures. The noise of neighbouring pixels is
    correlated, as after the interpolation of a colour mosaic.
    """
    size = light.shape
    red = light / (1 + (light / 252) ** 4) ** 0.25
    noise = ndimage.gaussian_filter(rng.standard_normal(size, np.float32), 0.9) * np.float32(3.19)
    red += noise * (0.55 + 0.11 * np.sqrt(np.maximum(light, 0)) + 0.012 * red)
    hot = rng.integers(0, size[0] * size[1], max(1, size[0] * size[1] // 120000))
    red.ravel()[hot] += rng.uniform(40, 220, hot.size).astype(np.float32)
    red8 = np.clip(np.rint(red), 0, 253).astype(np.uint8)
    values = np.arange(256)
    black = 1.8 + 0.42 * min(level, 13) * rng.uniform(0.2, 0.83)
    slope = np.interp(level, (2, 10), (0.73, 0.63)) + rng.normal(0, 0.045)
    above = np.maximum(values - black, 0)
    green = above * (slope + (0.98 - slope) * (above / (253 - black)) ** 4.8)
    blue = np.maximum(values - 7, 0) * 0.0745 * rng.lognormal(0, 0.43)
    spread = np.where(values > black - 3, 0.55 + 0.024 * values, 0.1).astype(np.float32)
    own = ndimage.gaussian_filter(rng.standard_normal(size, np.float32), 0.7) * np.float32(2.5)
    image = np.empty((*size, 3), np.uint8)
    image[..., 0] = red8
    for channel, curve in ((1, green), (2, blue)):
        table = curve.astype(np.float32)
        drift = spread if channel == 1 else 0.62 * spread * (values > 12)
        image[..., channel] = np.clip(np.rint(table[red8] + own * drift[red8]), 0, 253)
    return image


def place_patch(
    patch: Patch, light: Field, structures: Structures, kind: str, core: Any = None
) -> None:
    """Add a patch and note the box of its core, which is else what exceeds a third of its peak."""
    patch.add_to(light)
    if core is None:
        core = patch.values > patch.values.max() / 3
    rows, columns = (np.flatnonzero(core.any(axis=a)) for a in (1, 0))
    if rows.size == 0:
        return
    top, left = max(patch.row + rows[0], 0), max(patch.column + columns[0], 0)
    bottom = min(patch.row + rows[-1], light.shape[0] - 1)
    right = min(patch.column + columns[-1], light.shape[1] - 1)
    if top <= bottom and left <= right:
        structures.append({"kind": kind, "box": _box(top, left, bottom, right)})


def _box(top: int, left: int, bottom: int, right: int) -> tuple[int, int, int, int]:
    """(row0, column0, row1, column1), ends excluded, as plain ints."""
    return int(top), int(left), int(bottom) + 1, int(right) + 1
