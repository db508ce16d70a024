"""Simulated pictures in the manner of the yellow Fluorescent Neuronal Cells (S0, S3).

A picture is drawn from back to front: tissue, filaments and stripes, cells that nobody marked, marked
cells and clumps, artifacts; then the camera turns light into 8-bit colour.
"""

from typing import Any

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.data.cells import (
    EDGE,
    Body,
    draw_body,
    draw_look,
    exact_outline,
    hasty_outline,
    union,
)
from cellcount_lib.data.fields import Field, Patch, smooth_field, sprinkle, stroke, walk
from cellcount_lib.data.population import Stratum, draw_area, stratum

FULL = 1200 * 1600
Structures = list[dict[str, Any]]
MISSED = 0.05  # share of marked cells without a semi-automatic label; our guess, no source counts them


def draw_fnc(
    index: int, seed: int, style_key: int, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int32], dict[str, Any]]:
    """Draw one picture: image uint8 (H, W, 3), labels int32 (H, W), meta."""
    place = stratum(index, seed)
    rng = np.random.default_rng(SeedSequence([seed, style_key, index]))
    share = size[0] * size[1] / FULL
    n_cells = place.count if share == 1 else int(rng.binomial(place.count, min(share, 1.0)))
    level = background_level(place.background)

    light = tissue(rng, size, level)
    structures: Structures = []
    busy = 2.0 if place.manual else 1.0
    draw_filaments(rng, light, structures, int(rng.poisson(7 * busy * share + 0.5)))
    if rng.random() < 0.07 * busy:
        draw_stripe(rng, light, structures)
    labels, drawn = draw_cells(rng, light, structures, n_cells, place, share, level)
    for _ in range(rng.poisson(14 * share + 1)):
        draw_small_artifact(rng, light, structures)
    draw_big_artifact(rng, light, structures, place)
    image = camera(rng, light, level)
    meta = {
        "labelling": "manual" if place.manual else "semi-automatic",
        "pixel_size_um": 0.315,
        "n_cells_drawn": drawn,
        "structures": structures,
    }
    return image, labels, meta


def background_level(rank: float) -> float:
    """Brightness of the tissue in red, by the picture's rank: from nearly black to a dim brown."""
    return float(np.interp(rank, (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1), LEVELS))


LEVELS = (0.6, 1.8, 4.5, 7.3, 9.5, 13.0, 22.0)


def tissue(rng: Generator, size: tuple[int, int], level: float) -> Field:
    """Uneven background: illumination that falls off, regions of the slice, fine grain, dark holes."""
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
        start = rng.uniform(0, light.shape)
        points = walk(
            rng,
            start,
            rng.uniform(0, 2 * np.pi),
            rng.uniform(60, 420),
            wander=rng.uniform(0.01, 0.06),
        )
        strength = rng.lognormal(1.9, 0.6) * np.ones(len(points))
        beads = ndimage.gaussian_filter1d(rng.random(len(points)) < 0.06, 2.0, output=float)
        strength *= 0.35 + 6 * beads
        _place(
            stroke(points, strength, width=float(rng.uniform(1.0, 2.2))),
            light,
            structures,
            "filament",
        )


def draw_stripe(rng: Generator, light: Field, structures: Structures) -> None:
    """A long, broad, bright band with soft sides (a fold of the slice, a vessel)."""
    middle = rng.uniform(0.1, 0.9, 2) * light.shape
    heading = rng.uniform(0, 2 * np.pi)
    length = rng.uniform(350, 1100)
    start = middle - 0.5 * length * np.array([np.sin(heading), np.cos(heading)])
    points = walk(rng, tuple(start), heading, length, wander=0.006)
    fade = np.sin(np.linspace(0.15, np.pi - 0.15, len(points)))
    strength = rng.uniform(12, 60) * fade * (1 + 0.3 * rng.standard_normal(len(points)))
    _place(stroke(points, strength, width=float(rng.uniform(6, 16))), light, structures, "stripe")


def draw_cells(
    rng: Generator,
    light: Field,
    structures: Structures,
    n_objects: int,
    place: Stratum,
    share: float,
    level: float,
) -> tuple[NDArray[np.int32], int]:
    """Draw `n_objects` marked objects (cells and clumps) and the cells that nobody marked.

    Returns the labels, int32 (H, W), and the number of marked cells that were drawn: more than the
    labels hold, because clumps hold several and the semi-automatic labels miss some.
    """
    size = light.shape
    labels = np.zeros(size, np.int32)
    taken: list[tuple[float, float, float]] = []
    middle = rng.uniform(0.25, 0.75, 2) * size
    spread = rng.uniform(0.16, 0.34) * max(size) * (1 + 0.3 * min(n_objects / 60, 1))
    brightness = rng.normal(0, 0.3) + 0.18 * np.log(max(level, 1) / 7)
    drawn = 0
    for _ in range(n_objects):
        area = max(60, draw_area(rng, place.size_score))
        several = _cells_in(rng, area, n_objects)
        centre = _free_place(rng, size, taken, middle, spread, np.sqrt(area / np.pi))
        peak = float(np.clip(rng.lognormal(5.2 + brightness, 0.45), 22, 700))
        bodies = _bodies(rng, centre, area, several, peak)
        drawn += _mark(rng, light, labels, structures, bodies, area, manual=place.manual)
    # cells that took up little of the tracer: like marked ones but dim, and left out by the experts
    n_dim = rng.poisson((5.5 + 0.55 * n_objects) * min(1, share + 0.1 * (n_objects > 0)))
    # marked cells, dimmer than most, that the semi-automatic labels do not have
    n_missed = 0 if place.manual else rng.poisson(MISSED * n_objects)
    for number in range(n_dim + n_missed):
        missed = number >= n_dim
        area = max(80, 0.8 * draw_area(rng, place.size_score))
        centre = _free_place(rng, size, taken, middle, 1.5 * spread, np.sqrt(area / np.pi))
        peak = rng.lognormal(*((4.2, 0.3) if missed else (2.97 + 0.6 * brightness, 0.55)))
        look = draw_look(rng, float(np.clip(peak, 5, 110 if missed else 75)))
        body = draw_body(rng, centre, area, look)
        for process in body.processes:
            process.add_to(light)
        patch = Patch(body.row, body.column, body.light)
        kind = "missed-cell" if missed else "non-marked-cell"
        _place(patch, light, structures, kind, core=body.shape > EDGE)
    return labels, drawn + int(n_missed)


def _cells_in(rng: Generator, area: int, n_objects: int) -> int:
    """How many cells one object of this area holds: crowded pictures have clumps."""
    usual = 1500 if n_objects > 10 else 2200
    expected = area / usual - 0.5
    return int(np.clip(1 + rng.poisson(max(expected, 0.05)), 1, 7)) if area > 500 else 1


def _bodies(
    rng: Generator, centre: tuple[float, float], area: int, several: int, peak: float
) -> list[Body]:
    parts = rng.dirichlet(np.full(several, 4.0)) * area * (1.0 + 0.12 * (several > 1))
    bodies, spots = [], [np.asarray(centre)]
    for number, part in enumerate(parts):
        radius = np.sqrt(part / np.pi)
        if number:
            neighbour = int(rng.integers(number))
            apart = (radius + np.sqrt(parts[neighbour] / np.pi)) * rng.uniform(0.98, 1.1)
            angle = rng.uniform(0, 2 * np.pi)
            spots.append(spots[neighbour] + apart * np.array([np.sin(angle), np.cos(angle)]))
        look = draw_look(rng, peak * rng.lognormal(0, 0.25))
        bodies.append(draw_body(rng, tuple(spots[number]), part, look))
    return bodies


def _mark(
    rng: Generator,
    light: Field,
    labels: NDArray[np.int32],
    structures: Structures,
    bodies: list[Body],
    area: int,
    *,
    manual: bool,
) -> int:
    """Add an object to the picture and to the labels; return its number of cells."""
    row, column, glow, shape, owner = union(bodies)
    if manual:
        outline = exact_outline(shape, area)
    else:
        outline = hasty_outline(rng, glow, shape, area)
    for body in bodies:
        for process in body.processes:
            process.add_to(light)
    window = Patch(row, column, glow)
    kind = "clump" if len(bodies) > 1 else "marked-cell"
    _place(window, light, structures, kind, core=shape > EDGE)
    places = window.slices(labels.shape)
    if places is None:
        return 0
    there, here = places
    # a gap of background to the objects that are there already: they are counted apart
    free = ~ndimage.binary_dilation(labels[there] > 0, iterations=2)
    mine = outline[here] & free
    target = labels[there]
    first = int(labels.max())
    for number in np.unique(owner[here][mine]):
        first += 1
        target[mine & (owner[here] == number)] = first
    return len(bodies)


def _free_place(
    rng: Generator,
    size: tuple[int, int],
    taken: list[tuple[float, float, float]],
    middle: NDArray[np.float64],
    spread: float,
    radius: float,
) -> tuple[float, float]:
    """Find a centre near the nucleus of the brain that was stained, clear of what is there already."""
    spot = rng.uniform(0, size)
    for attempt in range(60):
        near = attempt < 45 and rng.random() < 0.75
        spot = middle + rng.normal(0, spread, 2) if near else rng.uniform(0, size)
        inside = (spot >= 0).all() and (spot < np.asarray(size)).all()
        if inside and all(
            np.hypot(spot[0] - r, spot[1] - c) > 1.25 * (radius + other) + 4
            for r, c, other in taken
        ):
            break
    spot = np.clip(spot, 0, np.asarray(size) - 1)
    taken.append((float(spot[0]), float(spot[1]), radius))
    return float(spot[0]), float(spot[1])


def draw_small_artifact(rng: Generator, light: Field, structures: Structures) -> None:
    """A speck of dust or of free dye: tiny, bright, sharp."""
    spot = rng.uniform(0, light.shape)
    points = walk(rng, tuple(spot), rng.uniform(0, 2 * np.pi), rng.uniform(1, 7), wander=0.2)
    strength = np.full(len(points), rng.lognormal(3.6, 0.8))
    _place(
        stroke(points, strength, width=float(rng.uniform(0.8, 2.0))),
        light,
        structures,
        "artifact-small",
    )


def draw_big_artifact(rng: Generator, light: Field, structures: Structures, place: Stratum) -> None:
    """The overexposed corner of real pictures: a bright granular region with a sharp curved edge."""
    common = 0.85 if place.manual else 0.915
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

    Weak light is brown (green lies below its black level), strong light yellow, blue follows far behind:
    curves read off published pictures. The noise of neighbouring pixels is correlated, as after the
    interpolation of a colour mosaic.
    """
    size = light.shape
    red = light / (1 + (light / 252) ** 4) ** 0.25
    noise = ndimage.gaussian_filter(rng.standard_normal(size, np.float32), 0.9) * np.float32(3.19)
    red += noise * (0.55 + 0.11 * np.sqrt(np.maximum(light, 0)) + 0.012 * red)
    hot = rng.integers(0, size[0] * size[1], max(1, size[0] * size[1] // 120000))
    red.ravel()[hot] += rng.uniform(40, 220, hot.size).astype(np.float32)
    red8 = np.clip(np.rint(red), 0, 253).astype(np.uint8)
    values = np.arange(256)
    black = 1.8 + 0.42 * min(level, 13) * rng.uniform(0.2, 0.9)
    slope = np.interp(level, (2, 10), (0.73, 0.63)) + rng.normal(0, 0.045)
    above = np.maximum(values - black, 0)
    green = above * (slope + (0.98 - slope) * (above / (253 - black)) ** 2.6)
    blue = np.maximum(values - 7, 0) * 0.072 * rng.lognormal(0, 0.38)
    spread = np.where(values > black - 3, 0.55 + 0.024 * values, 0.1).astype(np.float32)
    own = ndimage.gaussian_filter(rng.standard_normal(size, np.float32), 0.7) * np.float32(2.5)
    image = np.empty((*size, 3), np.uint8)
    image[..., 0] = red8
    for channel, curve in ((1, green), (2, blue)):
        table = curve.astype(np.float32)
        drift = spread if channel == 1 else 0.62 * spread * (values > 12)
        image[..., channel] = np.clip(np.rint(table[red8] + own * drift[red8]), 0, 253)
    return image


def _place(patch: Patch, light: Field, structures: Structures, kind: str, core: Any = None) -> None:
    """Add a patch to the picture and note its box: of its core, or of what is a third of its peak."""
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
