import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from skimage.color import rgb2lab

from cellcount_lib.errors import InputError
from cellcount_lib.plots import (
    FALSE,
    FOUND,
    MISSED,
    brighten,
    lengths_figure,
    outline,
    rates_figure,
    show_forest,
    show_matches,
)


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def vertices(ax):
    """Corners of every drawn outline as {colour: [(xmin, xmax, ymin, ymax), ...]}."""
    drawn = {}
    for collection in ax.collections:
        colour = to_hex(collection.get_edgecolor()[0]).upper()
        for path in collection.get_paths():
            x, y = path.vertices.T
            drawn.setdefault(colour, []).append((x.min(), x.max(), y.min(), y.max()))
    return drawn


def test_brighten_is_a_gamma_curve_and_one_changes_nothing():
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    np.testing.assert_array_equal(brighten(image, gamma=1.0), image)
    by_hand = np.rint(np.sqrt(image / 255.0) * 255)
    np.testing.assert_array_equal(brighten(image), by_hand)
    with pytest.raises(InputError, match="gamma"):
        brighten(image, gamma=0)


# How a linear RGB colour looks without one kind of cone (Machado, Oliveira and Fernandes 2009).
VISION = {
    "all cones": np.eye(3),
    "no red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("vision", VISION)
def test_outlines_can_be_told_from_cells_and_from_each_other_with_any_colour_vision(vision):
    def seen(colour):
        c = np.array(to_rgb(colour))
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        linear = (np.asarray(VISION[vision]) @ linear).clip(0, 1)
        return rgb2lab(
            np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        )

    cell, bright_cell, tissue = "#D7A520", "#F0D060", "#20160A"
    outlines = (FOUND, FALSE, MISSED)
    for one in outlines:
        for other in {*outlines, cell, bright_cell, tissue} - {one}:
            # 2 is the least that can be seen side by side; a thin line needs far more
            assert np.linalg.norm(seen(one) - seen(other)) > 20, (one, other)


def test_touching_objects_keep_an_outline_each(ax):
    labels = np.zeros((6, 10), int)
    labels[2:4, 2:5] = 1
    labels[2:4, 5:8] = 2
    outline(ax, labels, colors=FOUND)
    # half a pixel outside the pixel centres, because a pixel is a square around its centre
    assert sorted(vertices(ax)[FOUND]) == [(1.5, 4.5, 1.5, 3.5), (4.5, 7.5, 1.5, 3.5)]


def test_matches_have_three_kinds(ax):
    true, pred = np.zeros((20, 30), int), np.zeros((20, 30), int)
    true[2:6, 2:6], pred[2:6, 3:7] = 1, 5  # found
    pred[2:6, 20:24] = 2  # false
    true[12:16, 2:6] = 3  # missed
    show_matches(ax, np.zeros((20, 30, 3), np.uint8), true, pred, np.array([[1, 5]]))
    drawn = vertices(ax)
    assert drawn == {
        FOUND: [(2.5, 6.5, 1.5, 5.5)],
        FALSE: [(19.5, 23.5, 1.5, 5.5)],
        MISSED: [(1.5, 5.5, 11.5, 15.5)],
    }


def test_a_window_shows_parts_of_objects_that_were_matched_whole(ax):
    true, pred = np.zeros((20, 30), int), np.zeros((20, 30), int)
    true[2:6, 2:12], pred[2:6, 8:14] = 1, 5  # a pair, of which only the prediction is in the window
    pred[8:12, 5:15] = 2  # false, cut by the window
    true[14:18, 20:24] = 3  # missed
    true[1:3, 0:4] = 4  # missed, outside
    window = np.s_[:, 12:]
    picture = np.zeros((20, 30, 3), np.uint8)
    counts = show_matches(ax, picture, true, pred, np.array([[1, 5]]), window=window)
    assert counts == (1, 1, 1)
    assert vertices(ax) == {
        FOUND: [(-0.5, 1.5, 1.5, 5.5)],
        FALSE: [(-0.5, 2.5, 7.5, 11.5)],
        MISSED: [(7.5, 11.5, 13.5, 17.5)],
    }
    assert ax.get_images()[0].get_array().shape == (20, 18, 3)


def test_nothing_to_draw_and_wrong_shapes(ax):
    empty = np.zeros((4, 4), int)
    show_matches(ax, np.zeros((4, 4, 3), np.uint8), empty, empty, np.zeros((0, 2), int))
    assert not ax.collections
    with pytest.raises(InputError, match="same height and width"):
        show_matches(ax, np.zeros((4, 5, 3), np.uint8), empty, empty, np.zeros((0, 2), int))


def test_a_forest_shows_every_training_the_mean_and_what_was_published(ax):
    runs = pd.DataFrame(
        {
            "label": ["a", "a", "b", "c", "c"],
            "f1": [0.2, 0.4, 0.9, np.nan, 0.5],
        }
    )
    published = pd.DataFrame({"f1": [0.8, 0.7], "f1_sd": [0.1, np.nan]}, index=["b", "c"])
    show_forest(ax, runs, "f1", published)
    lines = [line.get_xdata().tolist() for line in ax.lines]
    dots, means = lines[:2], lines[1::2]
    assert dots[0] == [0.2, 0.4]
    assert means[0] == [pytest.approx(0.3)]
    said = {bar[0].get_xdata()[0]: bar[2] for bar in ax.containers}
    assert sorted(said) == [0.7, 0.8]
    assert not said[0.7], "no spread was published"
    ((low, _), (high, _)) = said[0.8][0].get_segments()[0]
    assert (low, high) == (pytest.approx(0.7), pytest.approx(0.9))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b", "c"]
    top, bottom = (ax.transData.transform((0, place))[1] for place in (0, 2))
    assert top > bottom, "the first row is on top"


def test_rates_have_a_line_for_every_seed_and_a_circle_where_the_best_is():
    kinds = {"b": (0.1, 0.3), "a": (0.4, 0.0), "c": (0.0, 0.2)}
    rows = [
        (f"{kind}; {rate}", seed, value + seed / 10)
        for kind, (low, high) in kinds.items()
        for seed in range(4)
        for rate, value in {"0.1": low, "2.0": high, "best of three": max(low, high)}.items()
    ]
    figure = rates_figure(pd.DataFrame(rows, columns=["label", "seed", "f1"]))
    assert [ax.get_title() for ax in figure.axes] == ["b", "a", "c"], "no empty panel"
    for ax, (low, high) in zip(figure.axes, kinds.values(), strict=True):
        *lines, circles = ax.lines
        assert [line.get_xdata().tolist() for line in lines] == [[0.1, 2.0]] * 4
        for seed, line in enumerate(lines):
            np.testing.assert_allclose(line.get_ydata(), [low + seed / 10, high + seed / 10])
        assert circles.get_xdata().tolist() == [0.1 if low > high else 2.0] * 4
        np.testing.assert_allclose(circles.get_ydata(), max(low, high) + np.arange(4) / 10)
        assert [text.get_text() for text in ax.get_xticklabels()] == ["0.1", "2"]
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["seed 0", "seed 1", "seed 2", "seed 3", "chosen on validation"]


def test_lengths_have_a_panel_for_every_recipe_and_one_look_for_a_network():
    found = {
        ("long", "big"): {100: 0.1, 200: 0.2, 400: 0.3},
        ("long", "small"): {100: 0.4, 200: 0.5},
        ("short", "small"): {100: 0.6},
        ("short", "big"): {200: 0.8, 100: 0.7},
    } | {("short", f"more {n}"): {100: 0.0, 200: n / 10} for n in (1, 2)}
    rows = [
        (f"{recipe}; {network}; {steps} steps", f1)
        for (recipe, network), scores in found.items()
        for steps, f1 in scores.items()
    ]
    figure = lengths_figure(pd.DataFrame(rows, columns=["label", "f1"]))
    assert [ax.get_title() for ax in figure.axes] == ["long", "short"]
    for ax in figure.axes:
        drawn = {line.get_label(): line for line in ax.lines}
        for network, line in drawn.items():
            scores = dict(sorted(found.get((ax.get_title(), network), {}).items()))
            assert dict(zip(*line.get_data(), strict=True)) == scores
    looks = [[(line.get_color(), line.get_marker()) for line in ax.lines] for ax in figure.axes]
    assert looks[0] == looks[1], "a network looks the same under every recipe"
    assert len(looks[0]) == 4
    assert len(set(looks[0])) == 3
    ticks = [[text.get_text() for text in ax.get_xticklabels()] for ax in figure.axes]
    assert ticks == [["100", "200", "400"], ["100", "200"]]
    figure.draw_without_rendering()
    ends = [ax.transData.transform([(100, 0), (200, 0)])[:, 0] for ax in figure.axes]
    assert np.ptp(ends[0]) == pytest.approx(np.ptp(ends[1]), rel=0.01), "equally wide everywhere"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["big", "small", "more 1", "more 2"]
