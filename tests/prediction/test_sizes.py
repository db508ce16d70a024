import numpy as np
import pytest

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.prediction.models import otsu
from cellcount_lib.prediction.sizes import estimated_width, parse_cell_size, size_of
from tests.discs import draw


@pytest.mark.parametrize("radius", [6, 10, 17, 30])
def test_discs_are_as_wide_as_drawn(radius):
    image, _ = draw(np.random.default_rng(radius), size=(400, 420), number=9, radius=radius)
    assert estimated_width(image) == pytest.approx(2 * radius, rel=0.12)


def test_specks_do_not_count_and_too_many_tell_nothing():
    image, labels = draw(np.random.default_rng(1), size=(300, 320), number=5, radius=15)
    rng = np.random.default_rng(2)
    for y, x in rng.integers(5, 290, (4, 2)):
        if not labels[y - 4 : y + 8, x - 4 : x + 8].any():
            image[y : y + 5, x : x + 5] = 200
    assert estimated_width(image) == pytest.approx(30, rel=0.12)
    for y in range(4, 300, 10):
        image[y : y + 5, 2:7] = 200
    for useless in (
        image,
        np.zeros((50, 50, 3), np.uint8),  # nothing
        draw(rng, size=(90, 90), number=2, radius=9)[0],  # two cells are no sample
    ):
        assert estimated_width(useless) is None


def test_sizes_from_a_table(tmp_path):
    table = tmp_path / "index.csv"
    table.write_text("image,cell_px\na.png,12.5\nin/b.png,30\n")
    sizes = parse_cell_size(str(table))
    assert size_of(sizes, tmp_path / "a.png") == 12.5
    assert size_of(sizes, (tmp_path / "in" / "b.png").relative_to(tmp_path)) == 30
    with pytest.raises(DataError, match=r"c\.png: no row"):
        size_of(sizes, tmp_path / "c.png")
    assert size_of("auto", table) == "auto"
    for text, says in (
        ("image,width\na,3\n", "columns image and cell_px"),
        ("image,cell_px\na,x\n", "columns image and cell_px"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=says):
            parse_cell_size(str(table))
    table.write_text("image,cell_px\na.png,0\n")
    with pytest.raises(InputError, match=r"a\.png: expected"):
        parse_cell_size(str(table))
    with pytest.raises(DataError, match="expected a CSV file"):
        parse_cell_size(str(tmp_path / "absent.csv"))


def test_otsu_counts_at_any_size():
    image, labels = draw(np.random.default_rng(4), size=(260, 280), number=8, radius=15)
    grey = image[..., :1].repeat(3, axis=2)
    found = otsu(grey, cell_px=30)
    assert found.labels.max() == 8
    assert (found.labels > 0)[labels > 0].mean() > 0.95
    assert found.heatmap is None
    assert otsu(grey[::2, ::2], cell_px=15).labels.max() == 8
    assert otsu(grey[::3, ::3]).labels.max() < 8  # 75 pixels, where a cell has at least 200
