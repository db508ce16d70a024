"""Counts by condition: a table to be worked out by hand, and mistakes that are said at once."""

import csv
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import stats

from cellcount_lib.errors import DataError
from cellcount_lib.prediction.groups import Group, grouped, groups_of, mean_interval, plot
from cellcount_lib.prediction.models import OTSU
from tests.command import cellcount
from tests.discs import draw

COUNTS = {"a1": 3, "a2": 5, "a3": 4, "b1": 1, "b2": 2}


def discs(number):
    return draw(np.random.default_rng(number), size=(150, 170), number=number, radius=14)[0]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "data" / "images"
    folder.mkdir(parents=True)
    for name, number in COUNTS.items():
        Image.fromarray(discs(number)).save(folder / f"{name}.png")
    return folder


def write_index(path, rows, columns="image,dose"):
    path.write_text("\n".join([columns, *rows]) + "\n")


def predict(folder, out, *more):
    given = ["--out", out, "--model", OTSU, "--cell-size", 28, "--groups", "dose"]
    return cellcount("predict", folder, *given, *more)


def test_a_table_and_a_plot_per_condition(pictures, tmp_path):
    stack = np.stack([discs(2)[..., 0], discs(4)[..., 0]])  # a picture of three cells on average
    tifffile.imwrite(pictures / "b3.tif", stack, photometric="minisblack")
    (pictures / "b4.png").write_bytes(b"broken")
    names = [*(f"{name}.png" for name in COUNTS), "b3.tif", "b4.png"]
    write_index(
        tmp_path / "data" / "index.csv",
        [f"images/{name},{'high' if name[0] == 'a' else 'low & <none>'}" for name in names],
    )
    out = tmp_path / "out"
    ended = predict(pictures, out)
    assert ended.returncode == 1  # of the broken one
    with (out / "groups.csv").open() as file:
        high, low = csv.DictReader(file)
    assert (high["group"], low["group"]) == ("high", "low & <none>")
    assert (high["n"], high["failed"], high["mean"], high["sd"]) == ("3", "0", "4.0", "1.0")
    assert (low["n"], low["failed"], low["mean"]) == ("3", "1", "2.0")
    assert (low["smallest"], low["largest"]) == ("1.0", "3.0")
    assert re.search(r"dose high: 4.0 cells per picture \(.*\), 3 pictures\n", ended.stdout)
    assert "3 pictures, 1 not counted" in ended.stdout
    drawn = ElementTree.fromstring((out / "groups.svg").read_text())
    dots = [e for e in drawn.iter() if e.tag.endswith("circle") and e.get("r") == "4"]
    assert len(dots) == 6
    # the higher the count the further up, and by as much
    heights = sorted(float(dot.get("cy")) for dot in dots)
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)  # 5, 4, 3
    assert "low &amp; &lt;none&gt;, n = 3" in (out / "groups.svg").read_text()


def test_the_interval_is_that_of_students_t():
    """Drawing n - 1 of n has the variance s^2 / n; the draws are 2000."""
    counts = [3, 8, 4, 11, 9, 7]
    expected = stats.t.interval(0.95, 5, np.mean(counts), np.std(counts, ddof=1) / 6**0.5)
    mean, *limits = mean_interval(counts)
    assert mean == 7
    np.testing.assert_allclose(limits, expected, rtol=0.03)
    assert mean_interval([5, 5, 5]) == (5, 5, 5)
    assert np.isnan(mean_interval([5])[1:]).all()
    assert np.isnan(mean_interval([])).all()
    assert mean_interval([0, 0, 9])[1] == 0  # not below


def test_groups_without_a_counted_picture_are_shown_too():
    path = Path("x/a.png")
    rows = [{"image": str(path), "status": "failed"}]
    assert grouped(rows, {path: "one"}) == [Group("one", [], 1)]
    assert "one, n = 0" in plot([Group("one", [], 1)], "dose")


def test_mistakes_are_said_before_anything_is_counted(pictures, tmp_path):
    index, out = pictures / "index.csv", tmp_path / "out"
    rows = [f"{name}.png,x" for name in COUNTS]
    cases = [
        (None, "image,dose", "expected a table with columns image and dose"),
        (rows, "image,treatment", "expected a column 'dose', found image, treatment"),
        (rows, "file,dose", "expected a column 'image', found file, dose"),
        (rows[1:], "image,dose", "1 have none: .*a1.png"),
        ([*rows[1:], "a1.png,"], "image,dose", "expected a group in 'dose', a1.png has none"),
        ([*rows, "a1.png,y"], "image,dose", "expected one row per picture, a1.png has several"),
    ]
    for given, columns, says in cases:
        if given is not None:
            write_index(index, given, columns)
        ended = predict(pictures, out)
        assert ended.returncode == 1
        assert ended.stderr.startswith("error: ")
        assert re.search(says, ended.stderr), ended.stderr
        assert not out.exists()


def test_paths_from_where_the_table_lies_go_before_names(pictures, tmp_path):
    deep = pictures.parent / "day2"
    deep.mkdir()
    same = [pictures / "a1.png", deep / "a1.png"]
    same[1].write_bytes(b"x")
    write_index(pictures.parent / "index.csv", ["images/a1.png,one", "day2/a1.png,two"])
    assert groups_of(same, "dose") == {same[0]: "one", same[1]: "two"}
    write_index(pictures.parent / "index.csv", ["a1.png,both"])
    assert set(groups_of(same, "dose").values()) == {"both"}
    with pytest.raises(DataError, match="folder above, found neither"):
        groups_of([tmp_path / "elsewhere" / "deep" / "a.png"], "dose")
