import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cellcount_lib.data.simulate import simulate
from cellcount_lib.data.simulator.simcep import simplex_illumination

STYLES = ("simcep", "simcep-simplex")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def patches():
    return {
        style: [simulate(i, style=style, size=(128, 128)) for i in range(60)] for style in STYLES
    }


@pytest.mark.parametrize("style", STYLES)
def test_patches_have_a_tenth_of_cells(patches, style):
    share = np.mean([s.mask.mean() for s in patches[style]])
    assert 0.08 < share < 0.12


@pytest.mark.parametrize("style", STYLES)
def test_cells_fit_the_receptive_field_and_are_bright(patches, style):
    for sample in patches[style]:
        assert sample.labels.dtype == np.int32
        assert np.array_equal(np.unique(sample.labels), np.arange(sample.count + 1))
        assert sample.meta["n_cells_drawn"] == sample.count == len(sample.meta["structures"])
        for row0, column0, row1, column1 in (s["box"] for s in sample.meta["structures"]):
            assert max(row1 - row0, column1 - column0) <= 38
        if sample.count:
            grey = sample.image[..., 0].astype(float)
            ring = ndimage.binary_dilation(sample.mask, iterations=8)
            ring &= ~ndimage.binary_dilation(sample.mask, iterations=3)
            assert grey[sample.mask].mean() > grey[ring].mean() + 15


def test_simplex_lights_the_background_unevenly(patches):
    def unevenness(sample):
        grey = sample.image[..., 0].astype(float)
        clear = ~ndimage.binary_dilation(sample.mask, iterations=6)
        blocks = [
            grey[r : r + 32, c : c + 32][clear[r : r + 32, c : c + 32]]
            for r in range(0, 128, 32)
            for c in range(0, 128, 32)
        ]
        return np.std([b.mean() for b in blocks if b.size > 100])

    even, simplex = (np.median([unevenness(s) for s in patches[k]]) for k in STYLES)
    assert simplex > 3 * even
    assert {s.meta["illumination"] for s in patches["simcep-simplex"]} == {"simplex"}


def test_illumination_is_smooth_and_spans_zero_to_one():
    field = simplex_illumination(np.random.default_rng(4), (100, 130))
    assert field.shape == (100, 130)
    assert 0 <= field.min() < 0.02
    assert 0.98 < field.max() <= 1
    assert np.abs(np.diff(field, axis=0)).max() < 0.1
    assert np.abs(np.diff(field, axis=1)).max() < 0.1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(32, 32), (64, 100), (256, 256)])
def test_any_size(style, size):
    sample = simulate(3, style=style, size=size)
    assert sample.image.shape == (*size, 3)
    assert sample.labels.shape == size


def test_same_bytes_in_another_process_with_more_threads():
    code = (
        "import hashlib; from cellcount_lib.data.simulate import simulate\n"
        "for i, style in ((7, 'simcep-simplex'), (2, 'nuclei'), (7, 'simcep')):\n"
        "    s = simulate(i, style=style, size=(128, 160), seed=3)\n"
        "    print(hashlib.sha256(s.image.tobytes() + s.labels.tobytes()).hexdigest())\n"
    )
    seen = set()
    for threads in ("1", "4"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seen.add(done.stdout)
    assert len(seen) == 1
    assert len(set(seen.pop().split())) == 3
