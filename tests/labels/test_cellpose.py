"""Pickles: those of cellpose are read, those that would run something are refused unread."""

import io
import os
import pickle

import numpy as np
import pytest

from cellcount_lib.errors import DataError
from cellcount_lib.labels.cellpose import read
from cellcount_lib.labels.labelled import Pictures

MASKS = np.array([[0, 1, 1], [2, 0, 70000]])
NOWHERE = Pictures(None)


def saved(path, about, *, protocol=4):
    """Write as `np.save` does, with any protocol."""
    whole = np.empty((), object)
    whole[()] = about
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(data, {"descr": "|O", "fortran_order": False, "shape": ()})
    data.write(pickle.dumps(whole, protocol=protocol))
    path.write_bytes(data.getvalue())
    return path


@pytest.mark.parametrize("dtype", ["<u2", ">u4", "<i4", "<i8"])
@pytest.mark.parametrize("protocol", [3, 4])
def test_what_cellpose_saves_is_read(tmp_path, dtype, protocol):
    masks = (MASKS % 65536).astype(dtype)
    about = {
        "outlines": masks * 0,
        "masks": np.asfortranarray(masks) if protocol == 4 else masks,
        "filename": "C:\\data\\cells.tif",
        "chan_choose": [0, 0],
        "ismanual": np.zeros(3, bool),
        "flows": [np.zeros((2, 3, 3), np.uint8), np.zeros((2, 2), np.float32), []],
        "est_diam": np.float64(17.5),
        "normalize_params": {"lowhigh": None, "percentile": [1.0, 99.0]},
    }
    (found,) = read(saved(tmp_path / "x_seg.npy", about, protocol=protocol), NOWHERE)
    assert found.name == "cells.tif"
    assert found.labels.dtype == np.int32
    np.testing.assert_array_equal(found.labels, MASKS % 65536)


def test_a_file_of_an_older_numpy_is_read(tmp_path):
    path = saved(tmp_path / "x_seg.npy", {"masks": MASKS})
    data = path.read_bytes()
    assert b"numpy._core.multiarray" in data
    # the name is one byte shorter, and its length stands before it
    old = data.replace(b"\x16numpy._core.multiarray", b"\x15numpy.core.multiarray")
    path.write_bytes(_without_frames(old))
    np.testing.assert_array_equal(read(path, NOWHERE)[0].labels, MASKS)


def _without_frames(data):
    """Leave out the lengths of frames, which protocol 4 may."""
    start = data.index(b"\x80\x04")
    assert data[start + 2 : start + 3] == b"\x95"
    return data[: start + 2] + data[start + 11 :]


class Calls:
    def __init__(self, function, *given):
        self.call = function, given

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (os.system, ("touch {place}",)),
        (eval, ("open('{place}', 'w')",)),
        (exec, ("open('{place}', 'w')",)),
        (open, ("{place}", "w")),
        (np.save, ("{place}", np.zeros(1))),
        (np.load, ("{place}",)),
        (np.memmap, ("{place}", np.dtype("u1"), "w+", 0, (1,))),
    ],
)
@pytest.mark.parametrize("where", ["masks", "other", "whole"])
def test_a_malicious_file_runs_nothing(tmp_path, function, given, where):
    place = tmp_path / "ran"
    evil = Calls(function, *(g.format(place=place) if isinstance(g, str) else g for g in given))
    about = {"masks": evil if where == "masks" else MASKS, "other": evil}
    path = tmp_path / "x_seg.npy"
    saved(path, evil if where == "whole" else about)
    with pytest.raises(DataError, match=r"which is refused") as caught:
        read(path, NOWHERE)
    assert str(path) in str(caught.value)
    assert not place.exists()
    # the file is as malicious as it should be
    if function is eval and where == "masks":
        np.load(path, allow_pickle=True)
        assert place.exists()


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"masks": np.zeros((2, 2), float)}, "integer"),
        ({"masks": np.zeros((2, 2, 2), int)}, "two-dimensional"),
        ({"masks": np.array([["a"]])}, "numbers"),
        ({"masks": np.array([[None]])}, "numbers"),
        ({"masks": np.array([[-1]])}, ">= 0"),
        ({"masks": 3}, "two-dimensional"),
        ({}, "masks"),
        ([], "one dictionary"),
        (None, "one dictionary"),
    ],
)
def test_dictionaries_that_are_no_masks(tmp_path, about, says):
    with pytest.raises(DataError, match=says):
        read(saved(tmp_path / "x_seg.npy", about), NOWHERE)


def test_files_that_are_none(tmp_path):
    path = tmp_path / "x_seg.npy"
    whole = saved(path, {"masks": MASKS}).read_bytes()
    for data in (b"", b"hello", whole[:40], whole[:-30], whole.replace(b"masks", b"masky")):
        path.write_bytes(data)
        with pytest.raises(DataError):
            read(path, NOWHERE)
    np.save(path, MASKS)
    with pytest.raises(DataError, match="one dictionary"):
        read(path, NOWHERE)


def test_an_array_that_says_it_is_larger_than_it_is(tmp_path):
    path = saved(tmp_path / "x_seg.npy", {"masks": np.zeros((7, 9), np.uint8)})
    data = path.read_bytes()
    assert data.count(b"K\x07K\t") == 1
    path.write_bytes(data.replace(b"K\x07K\t", b"K\xf7K\xf9"))
    with pytest.raises(DataError, match="reshape"):
        read(path, NOWHERE)
