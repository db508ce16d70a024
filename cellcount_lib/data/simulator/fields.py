"""The strokes of the simulator: smooth fields, outlines, puncta and curves.

Every function is a pure function of its arguments and of the generator that is passed in. None of
them uses a threaded library, so the result does not depend on the number of cores.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]


def upsample(coarse: NDArray[np.floating], shape: tuple[int, int]) -> Field:
    """Stretch a coarse grid to `shape` by linear interpolation, rows then columns.

    Examples
    --------
    >>> upsample(np.array([[0.0, 2.0]]), (1, 3)).tolist()
    [[0.0, 1.0, 2.0]]
    """
    out = np.asarray(coarse, np.float32)
    for axis, size in enumerate(shape):
        position = np.linspace(0, out.shape[axis] - 1, size)
        low = np.minimum(position.astype(int), max(out.shape[axis] - 2, 0))
        high = np.minimum(low + 1, out.shape[axis] - 1)
        part = (position - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        a, b = out.take(low, axis), out.take(high, axis)
        out = a + part * (b - a)
    return out


def smooth_field(rng: Generator, shape: tuple[int, int], reach: float) -> Field:
    """Draw a random field, float32 (H, W), that varies over `reach` pixels; mean 0, sd about 1."""
    step = max(reach / 2, 1.0)
    coarse = tuple(int(np.ceil(n / step)) + 4 for n in shape)
    grid = ndimage.gaussian_filter(rng.standard_normal(coarse, np.float32), 1.5)
    # a Gaussian filter of sd s leaves 1 / (2 s sqrt(pi)) of the sd of white noise
    return upsample(grid * np.float32(2 * 1.5 * np.sqrt(np.pi)), shape)


def texture(rng: Generator, shape: tuple[int, int], finest: float, octaves: int) -> Field:
    """Add smooth fields of reach `finest`, twice that, and so on, each of an sd of about 1.

    Among them lie few, bright lumps of every size: tissue is not a Gaussian field.
    """
    field = np.zeros((4, 4), np.float32)
    for octave in reversed(range(octaves)):
        # every octave is added on a grid of its own size: only the sum is stretched to the picture
        step = finest / 2 * 2**octave
        grid = (int(np.ceil(shape[0] / step)) + 4, int(np.ceil(shape[1] / step)) + 4)
        noise = rng.standard_normal(grid, np.float32)
        lumps = rng.integers(0, noise.size, noise.size // 300)
        noise.ravel()[lumps] += rng.exponential(6.0, lumps.size)
        noise -= noise.mean()
        noise = ndimage.gaussian_filter(noise, 1.5)
        field = upsample(field, grid) + noise * np.float32(2 * 1.5 * np.sqrt(np.pi))
    return upsample(field, shape)


@dataclass(frozen=True)
class Patch:
    """A small field with its place in the picture: `values` belong at (row, column) and on."""

    row: int
    column: int
    values: Field

    def slices(
        self, shape: tuple[int, int]
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """Return where the patch lies in a picture, and which part of it does; None if outside."""
        height, width = self.values.shape
        top, left = max(self.row, 0), max(self.column, 0)
        bottom, right = min(self.row + height, shape[0]), min(self.column + width, shape[1])
        if top >= bottom or left >= right:
            return None
        inside = (
            slice(top - self.row, bottom - self.row),
            slice(left - self.column, right - self.column),
        )
        return (slice(top, bottom), slice(left, right)), inside

    def add_to(self, picture: Field) -> None:
        """Add to the picture what lies inside it."""
        if places := self.slices(picture.shape):
            there, here = places
            picture[there] += self.values[here]


def radial(
    rng: Generator, side: int, radius: float, *, elongation: float = 1.0, rough: float = 0.12
) -> Field:
    """Distance from the centre of an irregular soma in units of its outline, float32 (side, side).

    0 in the centre, 1 on the outline, which is an ellipse of the given mean radius, rotated at
    random, with the harmonics 2 to 6 of relative height `rough`.
    """
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2).astype(np.float32)
    turn = rng.uniform(0, np.pi)
    cos, sin, stretch = (np.float32(v) for v in (np.cos(turn), np.sin(turn), np.sqrt(elongation)))
    along, across = x * cos + y * sin, y * cos - x * sin
    along, across = along / stretch, across * stretch
    distance = np.hypot(along, across)
    # the unit vector of each direction as a complex number: its k-th power holds the k-th harmonic
    direction = (along + np.complex64(1j) * across) / np.maximum(distance, np.float32(1e-3))
    coefficients = []
    for k in range(2, 7):
        height = rough * rng.normal() * (2 / k) ** 1.6
        coefficients.append(np.complex64(height * np.exp(1j * rng.uniform(0, 2 * np.pi))))
    harmonics = np.full(direction.shape, coefficients.pop())
    while coefficients:  # Horner's scheme: six products in place of five cosines
        harmonics = harmonics * direction + coefficients.pop()
    outline = 1 + (harmonics * direction * direction).real
    return distance / (np.float32(radius) * np.maximum(outline, np.float32(0.35)))


def sprinkle(rng: Generator, density: Field, n: int, *, spot: float, spread: float = 0.7) -> Field:
    """Draw `n` round puncta where `density` is high; a punctum of strength 1 has a peak of about 1.

    `spot` is the standard deviation of a punctum in pixels, `spread` that of the logarithm of the
    strengths.
    """
    out = np.zeros(density.shape, np.float32)
    total = np.cumsum(density, dtype=np.float64)
    if n == 0 or total[-1] <= 0:
        return out
    where = np.searchsorted(total, rng.uniform(0, total[-1], n))
    np.add.at(out.ravel(), np.minimum(where, out.size - 1), rng.lognormal(0, spread, n))
    return ndimage.gaussian_filter(out, spot) * np.float32(2 * np.pi * spot**2)


def walk(
    rng: Generator, start: tuple[float, float], heading: float, length: float, *, wander: float
) -> NDArray[np.float64]:
    """Points of a curve that wanders, one pixel apart, shape (N, 2)."""
    n = max(int(length), 2)
    bend = ndimage.gaussian_filter1d(rng.normal(0, 1, n), 12, mode="nearest") * wander
    angle = heading + np.cumsum(bend)
    steps = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return np.asarray(start) + np.cumsum(steps, axis=0)


def stroke(points: NDArray[np.float64], strength: NDArray[np.float64], *, width: float) -> Patch:
    """Draw a curve of the given strength along its points; a straight one peaks at `strength`."""
    step = max(int(width / 3), 1)  # a broad one is as smooth on a coarser grid
    points, width = points / step, width / step
    margin = int(np.ceil(4 * width)) + 1
    low = np.floor(points.min(axis=0)).astype(int) - margin
    size = np.ceil(points.max(axis=0)).astype(int) + margin + 1 - low
    canvas = np.zeros(size, np.float32)
    where = np.rint(points).astype(int) - low
    np.add.at(canvas, (where[:, 0], where[:, 1]), strength.astype(np.float32))
    # `step` points per node of length, spread over a line of Gaussian profile
    values = ndimage.gaussian_filter(canvas, width) * np.float32(np.sqrt(2 * np.pi) * width / step)
    if step > 1:
        values = upsample(values, ((size[0] - 1) * step + 1, (size[1] - 1) * step + 1))
    return Patch(int(low[0] * step), int(low[1] * step), values)
