"""Simulated pictures in the manner of the yellow Fluorescent Neuronal Cells (S0, S3).

A picture is drawn from back to front: tissue, vessels and stripes, marked cells and clumps, cells
that nobody marked, filaments, artifacts. Then the camera turns light into 8-bit colour.
"""

from typing import Any

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.data.simulator.cells import (
    EDGE,
    Body,
    draw_body,
    draw_look,
    exact_outline,
    hasty_outline,
    union,
)
from cellcount_lib.data.simulator.fields import Field, Patch
from cellcount_lib.data.simulator.population import Stratum, draw_area, stratum
from cellcount_lib.data.simulator.scenery import (
    Centre,
    Structures,
    background_level,
    camera,
    draw_big_artifact,
    draw_filaments,
    draw_small_artifact,
    draw_stripe,
    draw_vessels,
    place_patch,
    tissue,
)

FULL = 1200 * 1600
# Share of marked cells without a semi-automatic label: our guess, no source counts them.
MISSED = 0.05
# Cells of a cluster, and the standard deviation of their distance from its middle in pixels.
PER_CLUSTER = 7
CLUSTER = (70, 150)


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
    draw_vessels(rng, light, structures, int(rng.poisson(6 * share)))
    if rng.random() < 0.07 * busy:
        draw_stripe(rng, light, structures)
    labels, drawn, cells = draw_cells(rng, light, structures, n_cells, place, share, level)
    draw_filaments(rng, light, structures, int(rng.poisson(7 * busy * share + 0.5)), cells)
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


def draw_cells(
    rng: Generator,
    light: Field,
    structures: Structures,
    n_objects: int,
    place: Stratum,
    share: float,
    level: float,
) -> tuple[NDArray[np.int32], int, list[Centre]]:
    """Draw `n_objects` marked objects (cells and clumps) and the cells that nobody marked.

    Returns the labels, int32 (H, W), the number of marked cells that were drawn (more than the
    labels hold, because clumps hold several and the semi-automatic labels miss some), and where
    there is a cell or a clump.
    """
    size = light.shape
    labels = np.zeros(size, np.int32)
    taken: list[Centre] = []
    middle = rng.uniform(0.25, 0.75, 2) * size
    spread = rng.uniform(0.11, 0.24) * max(size) * (1 + 0.3 * min(n_objects / 60, 1))
    brightness = rng.normal(0, 0.3) + 0.18 * np.log(max(level, 1) / 7)
    # cells cluster (a Thomas process): parents around the stained nucleus, cells around parents
    parents = middle + rng.normal(0, spread, (2 + rng.poisson(n_objects / PER_CLUSTER), 2))
    apart = rng.uniform(*CLUSTER)
    drawn = 0
    for _ in range(n_objects):
        area = max(60, draw_area(rng, place.size_score))
        several = _cells_in(rng, area, n_objects)
        centre = _free_place(rng, size, taken, parents, apart, np.sqrt(area / np.pi))
        peak = float(np.clip(rng.lognormal(5.28 + brightness, 0.45), 22, 700))
        bodies = _bodies(rng, centre, area, several, peak)
        drawn += _mark(rng, light, labels, structures, bodies, area, manual=place.manual)
    # cells that took up little tracer: like marked ones, but dim, and not marked by the experts
    n_dim = rng.poisson((5.5 + 0.55 * n_objects) * min(1, share + 0.1 * (n_objects > 0)))
    # marked cells, dimmer than most, that the semi-automatic labels do not have
    n_missed = 0 if place.manual else rng.poisson(MISSED * n_objects)
    for number in range(n_dim + n_missed):
        missed = number >= n_dim
        area = max(80, int(0.8 * draw_area(rng, place.size_score)))
        centre = _free_place(rng, size, taken, parents, 2 * apart, np.sqrt(area / np.pi))
        peak = rng.lognormal(*((4.2, 0.3) if missed else (2.82 + 0.6 * brightness, 0.55)))
        look = draw_look(rng, float(np.clip(peak, 5, 110 if missed else 75)))
        body = draw_body(rng, centre, area, look)
        for process in body.processes:
            process.add_to(light)
        patch = Patch(body.row, body.column, body.light)
        kind = "missed-cell" if missed else "non-marked-cell"
        place_patch(patch, light, structures, kind, core=body.shape > EDGE)
    return labels, drawn + int(n_missed), taken


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
    outline = exact_outline(shape, area) if manual else hasty_outline(rng, glow, shape, area)
    for body in bodies:
        for process in body.processes:
            process.add_to(light)
    window = Patch(row, column, glow)
    kind = "clump" if len(bodies) > 1 else "marked-cell"
    place_patch(window, light, structures, kind, core=shape > EDGE)
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
    taken: list[Centre],
    parents: NDArray[np.float64],
    apart: float,
    radius: float,
) -> tuple[float, float]:
    """Find a centre near one of the parents, or anywhere, clear of what is there already."""
    spot = rng.uniform(0, size)
    for attempt in range(60):
        near = attempt < 45 and rng.random() < 0.85
        spot = (
            parents[rng.integers(len(parents))] + rng.normal(0, apart, 2)
            if near
            else rng.uniform(0, size)
        )
        inside = (spot >= 0).all() and (spot < np.asarray(size)).all()
        if inside and all(
            np.hypot(spot[0] - r, spot[1] - c) > 1.6 * (radius + other) + 4 for r, c, other in taken
        ):
            break
    spot = np.clip(spot, 0, np.asarray(size) - 1)
    taken.append((float(spot[0]), float(spot[1]), radius))
    return float(spot[0]), float(spot[1])
