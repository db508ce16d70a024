import numpy as np
import pytest

from cellcount_lib.prediction.checks import reasons
from cellcount_lib.prediction.reading import Plane

GOOD = {"count": 9, "confidence": 0.95, "area_px_median": 314.0}  # 20 pixels wide


def plane(values):
    stored = np.asarray(values)[..., None]
    image = np.clip(stored, 0, 255).astype(np.uint8).repeat(3, axis=2)
    return Plane(0, image, stored, "as stored")


RAMP = plane(np.arange(200 * 20).reshape(200, 20) // 20)


@pytest.mark.parametrize(
    ("summary", "cell_px", "said"),
    [
        (GOOD, 20.0, []),
        (GOOD, None, []),
        (GOOD, 12.6, []),  # 1.59 times
        (GOOD, 12.4, ["cells 20 px wide, expected 12"]),
        (GOOD, 34.0, ["cells 20 px wide, expected 34"]),
        (GOOD | {"confidence": 0.9}, 20.0, []),
        (GOOD | {"confidence": 0.89}, 20.0, ["confidence 0.89"]),
        ({"count": 9, "area_px_median": 314.0}, 20.0, []),  # Otsu has no confidence
        ({"count": 0}, 20.0, ["no cells"]),
    ],
)
def test_counts(summary, cell_px, said):
    cutoff = 0.7 if "confidence" in summary else None
    assert reasons(RAMP, summary, cell_px=cell_px, cutoff=cutoff) == said


@pytest.mark.parametrize(("cutoff", "limit"), [(0.1, 0.7), (0.4, 0.8), (0.7, 0.9), (0.85, 0.95)])
def test_a_network_with_a_low_cutoff_may_be_less_sure(cutoff, limit):
    for confidence, said in ((limit + 0.001, []), (limit - 0.001, [f"confidence {limit:.2f}"])):
        summary = GOOD | {"confidence": confidence}
        assert reasons(RAMP, summary, cell_px=20, cutoff=cutoff) == said


def test_pictures():
    flat = plane(np.full((30, 30), 90))
    assert reasons(flat, GOOD, cell_px=20, cutoff=0.7) == ["flat picture"]
    bright = np.arange(200 * 20).reshape(200, 20) // 20
    bright[:2] = 199  # 40 of 4000 more than the 20 there are
    assert reasons(plane(bright), GOOD, cell_px=20, cutoff=0.7) == ["saturated picture"]
    deep = Plane(0, RAMP.image, bright[..., None].astype(np.uint16) * 300, "percentiles")
    assert reasons(deep, GOOD, cell_px=20, cutoff=0.7) == [
        "saturated picture"
    ]  # by the values of the file


def test_one_channel_may_be_saturated():
    colour = RAMP.stored.repeat(3, axis=2)
    colour[:4, :, 2] = 255  # 2 pixels in a hundred, in blue alone
    saturated = Plane(0, colour.astype(np.uint8), colour, "as stored")
    assert reasons(saturated, GOOD, cell_px=20, cutoff=0.7) == ["saturated picture"]
