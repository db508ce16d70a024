"""Run lengths against those of label-studio-converter 0.0.59 (`brush.mask2rle`)."""

import hashlib

import numpy as np
import pytest

from cellcount_lib.errors import DataError
from cellcount_lib.labels.brush import decoded, encoded


def test_known_run_lengths():
    small = np.zeros((3, 4), bool)
    small[1, 1:3] = small[2, 0] = True
    known = [0, 0, 0, 48, 57, 27, 254, 19, 0, 159, 254, 48, 8, 255, 237, 128, 0]
    assert encoded(small) == known
    np.testing.assert_array_equal(decoded(known, (3, 4)), small)
    large = np.zeros((140, 150), bool)
    large[10:100, 20:130] = True
    large[50, 60] = False
    data = encoded(large)
    assert (len(data), hashlib.sha256(bytes(data)).hexdigest()) == (
        533,
        "8f2c079393c2bbd726f47c082ad74c1218b4e58df02e5f5c65c114f315ef826e",
    )


@pytest.mark.parametrize("seed", range(15))
def test_there_and_back(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 40, 2)) < rng.random()
    np.testing.assert_array_equal(decoded(encoded(mask), mask.shape), mask)


def test_long_runs_are_several():
    mask = np.zeros((200, 200), bool)  # 160,000 bytes, more than 65,536 of one value
    mask[-1, -1] = True
    np.testing.assert_array_equal(decoded(encoded(mask), mask.shape), mask)


def test_values_that_differ_and_sizes_that_are_others():
    # 1 pixel: bytes 1, 2, 3, 0 as a series of four values; sizes of 4 bits; alpha is zero
    bits = f"{4:032b}{7:05b}" + f"{3:04b}" * 4 + "0" + "00" + f"{3:04b}"
    for number in (1, 2, 3, 0):
        bits += f"{number:08b}"
    bits += "0" * (-len(bits) % 8)
    data = list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    assert decoded(data, (1, 1)).tolist() == [[False]]
    turned = bits.replace(f"{3:08b}{0:08b}", f"{0:08b}{3:08b}")
    data = list(int(turned, 2).to_bytes(len(bits) // 8, "big"))
    assert decoded(data, (1, 1)).tolist() == [[True]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "cut off"),
        ([0, 0, 0, 48, 57, 27, 254, 19], "cut off"),
        ([255, 255, 255, 255, 57, 27, 254, 19, 0], "found others"),
        ([0, 0, 0, 48, 57, 27, 255, 255, 255, 255, 255], "longer"),
        ([0, 300], "bytes"),
        ([[0]], "bytes"),
    ],
)
def test_run_lengths_that_are_none(data, says):
    with pytest.raises(DataError, match=says):
        decoded(data, (3, 4))
