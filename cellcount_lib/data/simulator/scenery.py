"""Everything in a picture of neurons except the cells: tissue, filaments, artifacts, the camera."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.data.simulator.fields import (
    Field,
    Patch,
    smooth_field,
    sprinkle,
    stroke,
    texture,
    walk,
)
from cellcount_lib.data.simulator.population import Stratum

Structures = list[dict[str, Any]]
Centre = tuple[float, float, float]
"""Row, column and radius of a cell."""

# Brightness of the tissue in red by the picture's rank.
LEVEL_RANKS = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)
LEVELS = (0.6, 1.7, 4.2, 7.0, 9.5, 13.6, 24.6)


# Strength of each octave of the tissue's texture, in roots of grey levels.
TEXTURE = 0.22


def background_level(rank: float) -> float:
    """Brightness of the tissue in red, by the picture's rank: from nearly black to a dim brown."""
    return float(np.interp(rank, LEVEL_RANKS, LEVELS))


def tissue(rng: Generator, size: tuple[int, int], level: float) -> Field:
    """Uneven background: illumination, texture of many scales, the edge of the slice."""
    scale = min(size) / 1200
    slow = smooth_field(rng, size, 500 * max(scale, 0.1))
    # about as strong at every scale, and relatively stronger in the dark, as in published pictures
    fine = texture(rng, size, 6, 6)
    light = level * np.exp(0.28 * slow + min(TEXTURE / np.sqrt(level), 0.3) * fine)
    if rng.random() < 0.3:  # beyond the edge of the slice, and where it is torn, there is no light
        dark = smooth_field(rng, size, 350 * max(scale, 0.1)) + 0.08 * fine
        light *= 1 - 0.8 / (1 + np.exp(np.clip((1.4 - dark) * 16, -30, 30)))
    return light


def draw_vessels(rng: Generator, light: Field, structures: Structures, n: int) -> None:
    """Tubes in the tissue: where they hold no dye they are dark, else a little brighter."""
    for _ in range(n):
        dark = rng.random() < 0.4
        start, heading = tuple(rng.uniform(0, light.shape)), rng.uniform(0, 2 * np.pi)
        points = walk(rng, start, heading, rng.uniform(60, 500), wander=0.03)
        width = float(rng.uniform(7, 18) if dark else rng.uniform(2.5, 7))
        # a tube leaves the slice at both ends; where it is clipped it has a flat middle
        course = np.sin(np.linspace(0, np.pi, len(points)))
        uneven = ndimage.gaussian_filter1d(rng.normal(0, 1.6, len(points)), 2 * width)
        tube = stroke(points, 1.5 * course * np.exp(uneven), width=width)
        depth = -rng.uniform(0.3, 0.85) if dark else rng.uniform(0.1, 0.6)
        if places := tube.slices(light.shape):
            there, here = places
            change = np.float32(depth) * light[there] * np.clip(tube.values[here], 0, 1)
            place_patch(Patch(there[0].start, there[1].start, change), light, structures, "vessel")


def draw_filaments(
    rng: Generator, light: Field, structures: Structures, n: int, cells: Sequence[Centre]
) -> None:
    """Thin beaded curves, dim: most leave a cell, many end at another, and they branch."""
    middles = np.array([(row, column) for row, column, _ in cells])
    for _ in range(n):
        at_cell = len(cells) > 0 and rng.random() < 0.7
        start = middles[rng.integers(len(cells))] if at_cell else rng.uniform(0, light.shape)
        heading, length = rng.uniform(0, 2 * np.pi), rng.uniform(60, 420)
        goal = None
        if len(cells) and rng.random() < 0.5:
            apart = np.hypot(*(middles - start).T)
            near = np.flatnonzero((apart > 60) & (apart < 420))
            if near.size:
                goal = middles[rng.choice(near)]
                heading, length = np.arctan2(*(goal - start)), float(np.hypot(*(goal - start)))
        trunk = walk(rng, tuple(start), heading, length, wander=rng.uniform(0.03, 0.1))
        if goal is not None:
            trunk += np.linspace(0, 1, len(trunk))[:, None] * (goal - trunk[-1])
        curves = [(trunk, np.linspace(1, 1 if goal is not None else 0.2, len(trunk)))]
        for _ in range(rng.poisson(length / 130)):
            fork = int(rng.integers(len(trunk) // 5, len(trunk)))
            turn = rng.choice([-1, 1]) * rng.uniform(0.3, 1.1)
            along = np.arctan2(*(trunk[fork] - trunk[max(fork - 9, 0)])) + turn
            reach = length * rng.uniform(0.15, 0.5)
            branch = walk(rng, tuple(trunk[fork]), along, reach, wander=0.08)
            curves.append((branch, 0.8 * np.linspace(1, 0.1, len(branch))))
        points, strength = (np.concatenate(parts) for parts in zip(*curves, strict=True))
        beads = ndimage.gaussian_filter1d(rng.random(len(points)) < 0.06, 1.5, output=float)
        strength = strength * rng.lognormal(1.9, 0.6) * (0.45 + 5 * beads)
        patch = stroke(points, strength, width=float(rng.uniform(1.0, 2.4)))
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
    bright = rng.uniform(100, 205) * (1 + 0.45 * grains) + 80 * lumps
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
    red += noise * (0.4 + 0.36 * np.sqrt(np.clip(light, 0, 16)) + 0.012 * red)
    red8 = np.clip(np.rint(red), 0, 253).astype(np.uint8)
    values = np.arange(256)
    black = 1.8 + 0.42 * min(level, 13) * rng.uniform(0.22, 0.88)
    slope = np.interp(level, (2, 10), (0.73, 0.63)) + rng.normal(0, 0.045)
    above = np.maximum(values - black, 0)
    green = above * (slope + (0.98 - slope) * (above / (253 - black)) ** 4.8)
    blue = np.maximum(values - 7.5, 0) * 0.0745 * rng.lognormal(0, 0.36)
    spread = np.where(values > black - 3, 0.47 + 0.024 * values, 0.1).astype(np.float32)
    own = ndimage.gaussian_filter(rng.standard_normal(size, np.float32), 0.7) * np.float32(2.5)
    image = np.empty((*size, 3), np.uint8)
    image[..., 0] = red8
    for channel, curve in ((1, green), (2, blue)):
        table = curve.astype(np.float32)
        drift = spread if channel == 1 else 0.62 * spread * (values > 12)
        image[..., channel] = np.clip(np.rint(table[red8] + own * drift[red8]), 0, 253)
    hot = rng.integers(0, image.size, max(1, image.size // 400000))  # one colour of a pixel
    image.ravel()[hot] = rng.integers(40, 220, hot.size)
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
