import numpy as np
import pandas as pd
import pytest

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.prediction.intervals import calibrated, interval, quantile
from tests.command import cellcount


@pytest.mark.parametrize(("n", "level"), [(19, 0.9), (40, 0.8), (9, 0.9)])
def test_intervals_hold_the_truth_as_often_as_they_say(n, level):
    """Counts with errors that no formula knows: skewed, and larger for larger counts."""
    rng = np.random.default_rng(n)
    held = []
    for _ in range(3000):
        truth = rng.integers(0, 200, n + 1)
        counts = np.maximum(0, truth + np.rint(rng.exponential(0.1 * truth + 1) - 2)).astype(int)
        allowed = quantile(counts[:-1].tolist(), truth[:-1].tolist(), level=level)
        low, high = interval(int(counts[-1]), allowed)
        held.append(low <= truth[-1] <= high)
    error = 3 * np.sqrt(level * (1 - level) / 3000)
    # the theorem: at least the level, and at most 1 / (n + 1) more but for ties
    assert level - error <= np.mean(held) <= level + 1 / (n + 1) + error + 0.01


def test_too_few_pictures():
    counts = list(range(8))
    with pytest.raises(InputError, match=r"at least 9 pictures .* at 90%, found 8"):
        quantile(counts, counts)
    assert quantile([*counts, 8], [*counts, 9]) == pytest.approx(1 / 3)  # the largest of nine
    with pytest.raises(InputError, match="level"):
        quantile(counts, counts, level=1)


@pytest.fixture
def tables(tmp_path):
    """Ten pictures and one that failed; nine were counted by a person, each two cells more."""
    images = [f"in/{n}.png" for n in range(11)]
    counts = pd.DataFrame({"image": images, "plane": "", "count": [*range(0, 30, 3), None]})
    truth = pd.DataFrame({"image": [f"{n}.png" for n in range(9)]})
    counts.to_csv(tmp_path / "counts.csv", index=False)
    truth.assign(count=counts["count"] + 2).to_csv(tmp_path / "truth.csv", index=False)
    return tmp_path


def test_the_command(tables):
    places = [tables / "counts.csv", tables / "truth.csv"]
    ended = cellcount("calibrate", *places, "--out", tables / "new.csv")
    assert ended.returncode == 0, ended.stderr
    assert "9 pictures" in ended.stdout
    found = pd.read_csv(tables / "new.csv")
    assert len(found) == 10  # not the one that failed
    assert found["truth"].notna().sum() == 9
    # the largest error per root is that of 0 cells, 2 / 1; 27 cells: 27 -+ 2 sqrt(28) = 10.58
    assert found.iloc[-1][["count", "low", "high"]].tolist() == [27, 17, 37]
    assert found.iloc[0][["count", "low", "high", "truth"]].tolist() == [0, 0, 2, 2]


def test_two_persons_may_have_counted(tables):
    truth = pd.read_csv(tables / "truth.csv")
    truth.assign(count=truth["count"] + 0.5).to_csv(tables / "truth.csv", index=False)
    rows, number, allowed = calibrated(tables / "counts.csv", tables / "truth.csv")
    assert (rows["truth"].iloc[0], number, allowed) == (2.5, 9, 2.5)


def test_mistakes(tables):
    def said(text):
        (tables / "truth.csv").write_text(text)
        with pytest.raises(DataError) as error:
            calibrated(tables / "counts.csv", tables / "truth.csv")
        return str(error.value)

    assert "found none of them" in said("image,count\nz.png,3\n")
    assert "['count'] missing" in said("image,n\n1.png,3\n")
    assert "expected numbers" in said("image,count\n1.png,many\n")
    assert "expected numbers" in said("image,count\n1.png,-1\n")
    assert "the same name" in said("image,count\n1.png,3\na/1.png,3\n")
    with pytest.raises(DataError, match="expected a CSV table"):
        calibrated(tables / "absent.csv", tables / "truth.csv")
