"""A cell of the simulator: how bright it is where, and which pixels a person would mark.

A cell is a soma with an irregular outline and a tapering halo, filled smoothly ("shaded") or with
puncta ("dotted"), and with processes that leave it; the words are those of S0's challenges.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.data.simulator.fields import (
    Field,
    Patch,
    radial,
    smooth_field,
    sprinkle,
    stroke,
    walk,
)

# Brightness on the outline relative to the middle: the marked outline of the real cells lies where
# the brightness has fallen to about a seventh.
EDGE = 0.14
# The bright middle of a soma falls off with the square of the distance, faster than its skirt.
CORE = 4.0
# Light that the optics spread around a cell, in its middle and relative to `peak`.
GLOW = 0.08


@dataclass(frozen=True)
class CellLook:
    """How a cell looks, apart from its size."""

    peak: float  # brightness of the middle, in grey levels above the background
    dotted: float  # 0 is a smooth soma, 1 is puncta only
    sharpness: float  # how steeply the brightness falls at the outline: 1 out of focus, 3 in focus
    elongation: float  # length over width
    hole: float  # depth of the dark nucleus, 0 to 1
    processes: int  # number of dendrites that are bright enough to see


@dataclass(frozen=True)
class Body:
    """A drawn cell in a window: `light` adds to the picture, `shape` falls from 1 in the middle."""

    row: int
    column: int
    light: Field
    shape: Field
    processes: tuple[Patch, ...]


def draw_look(rng: Generator, peak: float) -> CellLook:
    """Draw how a cell of this brightness looks."""
    dotted = float(np.clip(rng.beta(0.7, 1.5), 0, 1))
    return CellLook(
        peak=peak,
        dotted=dotted,
        sharpness=float(rng.uniform(1.1, 2.0) if rng.random() < 0.6 else rng.uniform(1.8, 3.4)),
        elongation=float(1 + rng.gamma(2.0, 0.34)),
        hole=float(rng.uniform(0.4, 0.9)) if rng.random() < 0.25 else 0.0,
        processes=int(rng.choice(4, p=[0.45, 0.3, 0.17, 0.08])),
    )


def draw_body(rng: Generator, centre: tuple[float, float], area: float, look: CellLook) -> Body:
    """Draw one cell at (row, column) whose outline encloses about `area` pixels."""
    radius = float(np.sqrt(area / np.pi))
    reach = radius * np.sqrt(look.elongation) * 2.6 + 6
    side = 2 * int(np.ceil(reach)) + 1
    row, column = (round(c) - side // 2 for c in centre)
    distance = radial(rng, side, radius, elongation=look.elongation, rough=0.10)
    shape = np.exp(np.float32(np.log(EDGE)) * distance ** np.float32(look.sharpness))
    core = np.exp(-np.float32(CORE) * distance**2)
    smooth = 0.5 * shape + 0.8 * core
    smooth *= 0.85 + 0.22 * smooth_field(rng, shape.shape, radius * 0.6)
    smooth *= 1 + (0.06 + 0.16 * look.dotted) * smooth_field(rng, shape.shape, 4.0)
    # the glow follows the cell, and is zero with a slope of zero where the window ends
    ramp = np.linspace(-1, 1, side, dtype=np.float32) ** 2
    within = np.clip(1 - ramp[:, None] - ramp[None, :], 0, 1)
    glow = np.float32(GLOW) * np.exp(-0.5 * distance) * within**2
    if look.hole:
        offset = rng.normal(0, 0.15 * radius, 2)
        yy, xx = np.mgrid[:side, :side] - side // 2
        near = (yy - offset[0]) ** 2 + (xx - offset[1]) ** 2
        smooth *= 1 - look.hole * np.exp(-near / (2 * (0.32 * radius) ** 2)).astype(np.float32)
    n = int(rng.poisson(rng.uniform(0.06, 0.16) * area + 8))
    crowds = np.exp(1.1 * smooth_field(rng, shape.shape, radius * 0.45))
    spot = float(rng.uniform(0.75, 1.35))
    puncta = sprinkle(rng, shape * (distance < 1.3) * crowds, n, spot=spot, spread=0.9)
    # as bright in the mean as the smooth soma, so that `peak` means the same for both textures
    inside = distance < 1
    level = smooth[inside].mean() / max(puncta[inside].mean(), 1e-6)
    puncta *= min(level, 3.0)
    light = (1 - 0.6 * look.dotted) * smooth + 0.6 * look.dotted * puncta
    light = (np.maximum(light, 0) * (1 - (1 - within) ** 2) + glow) * np.float32(look.peak)
    return Body(row, column, light, shape, _processes(rng, centre, radius, look))


def _processes(
    rng: Generator, centre: tuple[float, float], radius: float, look: CellLook
) -> tuple[Patch, ...]:
    strokes = []
    for _ in range(look.processes):
        length = radius * rng.uniform(2.0, 7.0)
        points = walk(rng, centre, rng.uniform(0, 2 * np.pi), length, wander=0.09)
        along = np.arange(len(points)) / radius
        strength = look.peak * rng.uniform(0.12, 0.4) * np.exp(-along / rng.uniform(0.9, 2.4))
        strength *= np.exp(ndimage.gaussian_filter1d(rng.normal(0, 1.6, len(points)), 2.0))
        strength *= np.where(along < 0.6, 0.3, 1)  # inside the soma it is the soma that shines
        if look.dotted > 0.5:
            strength *= np.where(rng.random(len(points)) < 0.25, 3.0, 0.25)
        width = float(rng.uniform(1.0, 2.2))
        near = along < 1.8  # a dendrite is thick where it leaves the soma
        strokes.append(stroke(points[near], 0.8 * strength[near], width=0.16 * radius + 1))
        if not near.all():
            strokes.append(stroke(points[~near], strength[~near], width=width))
    return tuple(strokes)


def union(bodies: list[Body]) -> tuple[int, int, Field, Field, NDArray[np.int32]]:
    """Put bodies in one window: row, column, light, shape, and the nearest body, from 0."""
    top, left = min(b.row for b in bodies), min(b.column for b in bodies)
    bottom = max(b.row + b.light.shape[0] for b in bodies)
    right = max(b.column + b.light.shape[1] for b in bodies)
    light = np.zeros((bottom - top, right - left), np.float32)
    shape = np.zeros_like(light)
    owner = np.zeros(light.shape, np.int32)
    for number, body in enumerate(bodies):
        height, width = body.light.shape
        window = (
            slice(body.row - top, body.row - top + height),
            slice(body.column - left, body.column - left + width),
        )
        light[window] += body.light
        nearer = body.shape > shape[window]
        owner[window][nearer] = number
        shape[window][nearer] = body.shape[nearer]
    return top, left, light, shape, owner


def exact_outline(shape: Field, area: int) -> NDArray[np.bool_]:
    """Return the `area` pixels of highest `shape`: what a careful person marks."""
    return _largest(_top(shape, area))


def hasty_outline(rng: Generator, light: Field, shape: Field, area: int) -> NDArray[np.bool_]:
    """Return what a blur and a threshold mark, with the same area: ragged, drawn towards puncta.

    S3: the drafts of the semi-automatic labels come from a Gaussian blur and a threshold.
    """
    blurred = ndimage.gaussian_filter(light, 2.0)
    blurred /= max(float(blurred.max()), 1e-6)
    noisy = np.sqrt(np.maximum(blurred, 0)) + 0.35 * shape
    noisy = noisy * (1 + 0.16 * smooth_field(rng, shape.shape, 9.0))
    near = shape > EDGE**2.2
    filled = ndimage.binary_fill_holes(_top(np.where(near, noisy, 0), area))
    return _largest(filled)


def _top(values: Field, area: int) -> NDArray[np.bool_]:
    area = int(np.clip(area, 1, values.size))
    cut = np.partition(values.ravel(), values.size - area)[values.size - area]
    return (values >= cut) & (values > 0)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, n = ndimage.label(mask)
    if n <= 1:
        return mask
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1
