import numpy as np
import pytest

from cellcount_lib.data import cache
from cellcount_lib.data.datasets import load


@pytest.mark.parametrize("dataset", ["simulated", "simulated:nuclei-small", "simulated:simcep"])
def test_what_is_kept_is_what_is_drawn(dataset, tmp_path, monkeypatch):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    pictures = load(dataset, split="test")
    drawn = pictures[0]
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "c"))
    first, second = pictures[0], pictures[0]
    assert len(list((tmp_path / "c").iterdir())) == 1
    for kept in (first, second):
        np.testing.assert_array_equal(kept.image, drawn.image)
        np.testing.assert_array_equal(kept.labels, drawn.labels)
        assert kept.image.dtype == np.uint8
        assert kept.labels.dtype == np.int32
        assert kept.meta == drawn.meta


def test_it_is_read_and_not_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    calls = []

    def draw():
        calls.append(1)
        return np.zeros((4, 5, 3), np.uint8), np.ones((4, 5), np.int32), {"a": 1}

    for _ in range(3):
        cache.kept(draw, name="x", seed=0)
    assert len(calls) == 1
    cache.kept(draw, name="x", seed=1)
    assert len(calls) == 2
    (path, _) = sorted(tmp_path.iterdir())
    for spoiled in (b"", b"PK not a zip", path.read_bytes()[:200]):
        path.write_bytes(spoiled)
        cache.kept(draw, name="x", seed=0)
        cache.kept(draw, name="x", seed=1)
    assert len(calls) == 5


def test_other_code_draws_anew(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    calls = []

    def draw():
        calls.append(1)
        return np.zeros((4, 5, 3), np.uint8), np.ones((4, 5), np.int32), {}

    cache.kept(draw, name="x")
    monkeypatch.setattr(cache, "drawing_code", lambda style: "other")
    cache.kept(draw, name="x")
    assert len(calls) == 2
