"""Simulated patches for the fully convolutional network of S2, in the manner of SIMCEP.

S2 pre-trains on 200 patches of 128 x 128 cut from pictures of the SIMCEP simulator (Lehmussola et
al., IEEE Trans. Medical Imaging 26(7), 2007); half of them get simplex noise in the background, as
if the field were unevenly lit. Written anew from that description.
"""

from typing import Any

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from cellcount_lib.data.simulator.fields import Field, upsample
from cellcount_lib.data.simulator.nuclei import Face, draw_all, grey_camera, place_nuclei

COVER = 0.10  # share of cell pixels
RADIUS = (7.5, 10.5)  # a cell fits the receptive field of the network, 38 x 38 pixels (S2)
CELLS = Face(RADIUS, 0.12, (COVER, COVER), 0.35, 0.85, (60, 130), 0.18, 0.22, 0.05, 0.06)
GRID = 4  # pixels between the nodes at which simplex noise is evaluated; it varies over 40 or more


def draw_simcep(
    index: int, seed: int, style_key: int, size: tuple[int, int], *, simplex: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int32], dict[str, Any]]:
    """Draw one patch: image uint8 (H, W, 3), R = G = B, labels int32 (H, W), meta."""
    rng = np.random.default_rng(SeedSequence([seed, style_key, index]))
    radius = float(rng.uniform(*RADIUS))
    # the number of cells in a patch cut from a large picture is a Poisson number
    n = int(rng.poisson(COVER * 1.05 * size[0] * size[1] / (np.pi * radius**2)))
    radii = radius * np.exp(rng.normal(0, CELLS.varied, n))
    centres = place_nuclei(rng, size, radii, clumped=CELLS.clumped, closest=CELLS.closest)
    light = np.zeros(size, np.float32)
    labels, structures = (
        draw_all(rng, light, centres, radii, CELLS) if n else (np.zeros(size, np.int32), [])
    )
    if simplex:
        light += rng.uniform(25, 60) * simplex_illumination(rng, size)
    image = grey_camera(rng, light, background=float(rng.uniform(12, 25)), noise=0.45)
    meta = {
        "labelling": "exact",
        "n_cells_drawn": len(structures),
        "illumination": "simplex" if simplex else "even",
        "structures": [s | {"kind": "cell"} for s in structures],
    }
    return image, labels, meta


def simplex_illumination(rng: Generator, size: tuple[int, int]) -> Field:
    """Draw smooth light from 0 to 1, float32 (H, W): two octaves of simplex noise."""
    from opensimplex import OpenSimplex

    noise = OpenSimplex(int(rng.integers(2**31)))
    reach = float(rng.uniform(50, 110))
    height, width = (max(2, n // GRID + 1) for n in size)
    y, x = (np.arange(n) * GRID / reach for n in (height, width))
    coarse = noise.noise2array(x, y) + 0.35 * noise.noise2array(2.1 * x + 91, 2.1 * y + 17)
    low, high = coarse.min(), coarse.max()
    return upsample((coarse - low) / max(high - low, 1e-6), size)
