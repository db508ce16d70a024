"""Figures: how samples, labels and matches are drawn everywhere in the book.

Colours are from the palette of Okabe and Ito, which readers with any colour vision can tell apart.
The line styles differ, too, so that a figure can be read in greyscale.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.checks import check_image, check_labels, check_positive, check_same_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

FOUND = "#56B4E9"
FALSE = "#F0569C"  # not their orange, which nobody sees on a yellow cell
MISSED = "#FFFFFF"
DARK = "#0072B2"
LIGHT = "#E69F00"


def brighten(image: NDArray[np.uint8], *, gamma: float = 0.5) -> NDArray[np.uint8]:
    """Brighten the shadows of a dark fluorescence picture for display; scores never use the result.

    `gamma` is the exponent on intensities in [0, 1]; 1.0 changes nothing.

    Examples
    --------
    >>> brighten(np.full((1, 1, 3), 64, np.uint8))[0, 0].tolist()
    [128, 128, 128]
    """
    gamma = check_positive("gamma", gamma)
    curve = 255 * (np.arange(256) / 255) ** gamma
    return np.rint(curve).astype(np.uint8)[check_image("image", image)]


def show_image(
    ax: "Axes", image: NDArray[np.uint8], *, gamma: float = 0.5, title: str = ""
) -> None:
    """Draw a picture without ticks, brightened for display."""
    ax.imshow(brighten(image, gamma=gamma), interpolation="antialiased")
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)


def outline(ax: "Axes", labels: NDArray[Any], ids: Any = None, **line: Any) -> None:
    """Draw the outline of each object (or of those in `ids`), touching or not."""
    from scipy import ndimage

    labels = check_labels("labels", labels)
    wanted = np.unique(labels[labels > 0]) if ids is None else ids
    boxes = ndimage.find_objects(labels)
    for label in wanted:
        rows, columns = boxes[int(label) - 1]
        piece = np.pad(labels[rows, columns] == label, 1).astype(float)
        x = np.arange(piece.shape[1]) + columns.start - 1
        y = np.arange(piece.shape[0]) + rows.start - 1
        ax.contour(x, y, piece, levels=[0.5], **line)


def show_matches(
    ax: "Axes",
    image: NDArray[np.uint8],
    true: NDArray[Any],
    pred: NDArray[Any],
    pairs: NDArray[np.integer],
    *,
    window: tuple[slice, slice] = np.s_[:, :],
    gamma: float = 0.5,
    title: str = "",
) -> tuple[int, int, int]:
    """Draw the objects that were found (solid), reported falsely (dashed) and missed (dotted).

    `pairs` are labels (true, predicted), (K, 2), as ``matching.match`` returns them for a
    one-to-one rule. Only a `window` of the picture is shown, but pairs are those of the whole: an
    object that the window cuts is right or wrong as a whole. Returns how many of each are drawn.
    """
    true, pred = check_labels("true", true), check_labels("pred", pred)
    check_same_shape(["image", "true", "pred"], [image, true, pred])
    show_image(ax, image[window], gamma=gamma, title=title)
    true_ids, pred_ids = np.asarray(pairs, int).reshape(-1, 2).T
    false = np.setdiff1d(pred[pred > 0], pred_ids)
    missed = np.setdiff1d(true[true > 0], true_ids)
    true, pred = true[window], pred[window]
    found, false, missed = (
        np.intersect1d(ids, part) for ids, part in ((pred_ids, pred), (false, pred), (missed, true))
    )
    outline(ax, pred, found, colors=FOUND, linewidths=1.5)
    outline(ax, pred, false, colors=FALSE, linewidths=1.5, linestyles="dashed")
    outline(ax, true, missed, colors=MISSED, linewidths=1.2, linestyles="dotted")
    return len(found), len(false), len(missed)


def show_forest(
    ax: "Axes", runs: "DataFrame", score: str, published: "DataFrame", *, title: str = ""
) -> None:
    """Draw a score between 0 and 1 of a table's rows: every training, their mean, the published.

    `runs` has a row per run with its label (``tables.collect.Results.runs``); `published` a row per
    label, with SCORE_sd beside SCORE where a spread is known (``tables.committed.Committed``).
    """
    labels = list(dict.fromkeys(runs["label"]))
    for place, label in enumerate(labels):
        values = runs.loc[runs["label"] == label, score].dropna()
        ax.plot(values, [place + 0.15] * len(values), "o", color=FOUND, markersize=3.5, zorder=3)
        if len(values):
            ax.plot([values.mean()], [place + 0.15], "|", color=DARK, markersize=13, mew=2.5)
        said = published.to_dict("index").get(label, {})
        value, spread = (said.get(name, np.nan) for name in (score, f"{score}_sd"))
        if np.isfinite(value):
            sides = spread if np.isfinite(spread) else None
            ax.errorbar(value, place - 0.2, xerr=sides, fmt="D", color=LIGHT, mfc="none")
    ax.set(yticks=range(len(labels)), yticklabels=labels, xlim=(0, 1), title=title)
    ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def rates_figure(runs: "DataFrame") -> "Figure":
    """Draw F1 against the learning rate: a panel for every kind, a line for every seed.

    `runs` are those of a table (``tables.collect.Results.runs``) with rows "KIND; RATE" and
    "KIND; best of three". The training that has the F1 of the best of three is circled.
    """
    told = runs["label"].str.split("; ", expand=True)
    best = runs[told[1] == "best of three"].assign(kind=told[0])
    trained = runs[told[1] != "best of three"].assign(kind=told[0], rate=told[1])
    kinds = trained.astype({"rate": float}).groupby("kind", sort=False)
    figure, panels = _panels([1] * len(kinds), rows=2, height=5.0)
    for ax, (kind, mine) in zip(panels, kinds, strict=True):
        for (seed, line), style in zip(mine.groupby("seed"), cycle(("-", "--", ":")), strict=False):
            look = {"marker": "o", "ms": 3, "color": "0.4", "lw": 1}
            ax.plot(line["rate"], line["f1"], style, label=f"seed {seed}", **look)
        chosen = mine.merge(best[["kind", "seed", "f1"]])
        circle = {"color": LIGHT, "ms": 8, "mfc": "none", "mew": 1.6}
        ax.plot(chosen["rate"], chosen["f1"], "o", label="chosen on validation", **circle)
        ax.set_title(kind)
        _mark(ax, mine["rate"])
    _name_axes(figure, panels, "learning rate")
    return figure


def lengths_figure(runs: "DataFrame") -> "Figure":
    """Draw F1 against the steps of a training: a panel for every recipe, a line for every network.

    `runs` are those of a table with rows "RECIPE; NETWORK; STEPS steps", one training each.
    A doubling of the steps is equally wide in all panels, so that slopes may be compared.
    """
    told = runs["label"].str.extract(r"^(?P<recipe>.+); (?P<network>.+); (?P<steps>\d+) steps$")
    trained = told.assign(f1=runs["f1"]).astype({"steps": int})
    recipes = trained.groupby("recipe", sort=False)
    looks = [(DARK, "o-"), (LIGHT, "s--"), ("0.4", "^:")]
    styles = dict(zip(dict.fromkeys(trained["network"]), cycle(looks), strict=False))
    doublings = recipes["steps"].agg(lambda steps: np.log2(max(2, steps.max() / steps.min())))
    figure, panels = _panels(list(doublings), rows=1, height=3.2)
    for ax, (recipe, mine) in zip(panels, recipes, strict=True):
        for network, (colour, style) in styles.items():
            line = mine[mine["network"] == network].sort_values("steps")
            ax.plot(line["steps"], line["f1"], style, color=colour, ms=4, lw=1.2, label=network)
        ax.set_title(recipe)
        _mark(ax, mine["steps"])
    _name_axes(figure, panels, "steps that a training may take")
    return figure


def _panels(widths: Sequence[float], *, rows: int, height: float) -> "tuple[Figure, NDArray[Any]]":
    """Lay out panels of these relative widths, alike in every row, with one axis of scores."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, height), layout="constrained")
    across = -(-len(widths) // rows)
    grid = figure.subplots(rows, across, sharey=True, squeeze=False, width_ratios=widths[:across])
    for ax in grid.ravel()[len(widths) :]:
        ax.remove()
    return figure, grid.ravel()[: len(widths)]


def _mark(ax: "Axes", values: "Series[Any]") -> None:
    """Mark just these values on a logarithmic axis."""
    marks = sorted(set(values))
    ax.set_xscale("log")
    ax.set_xticks(marks, labels=map("{:g}".format, marks))
    ax.minorticks_off()
    ax.grid(alpha=0.3)


def _name_axes(figure: "Figure", panels: NDArray[Any], x: str) -> None:
    """Name both axes and, above all panels, what their lines are."""
    lines = panels[-1].get_legend_handles_labels()
    figure.legend(*lines, loc="outside upper center", ncols=9, frameon=False)
    figure.supxlabel(x)
    figure.supylabel("F1 on test pictures")


def history_figure(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Draw the curves of a training from the rows of ``training.callbacks.History``, by epoch."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    loss, score, rate = figure.subplots(1, 3)
    epochs = [row["epoch"] + 1 for row in rows]

    def curve(ax: "Axes", column: str, label: str, style: str, colour: str) -> None:
        values = [row[column] for row in rows]
        ax.plot(epochs, values, style, color=colour, label=label, marker="o", markersize=3)

    curve(loss, "train_loss", "training", "--", LIGHT)
    curve(loss, "valid_loss", "validation", "-", DARK)
    curve(score, "dice", "Dice, validation pixels", "-", DARK)
    curve(score, "found", "share of pixels predicted", ":", LIGHT)
    curve(rate, "lr", "learning rate", "-", DARK)
    loss.set(ylabel="loss", xlabel="epoch")
    score.set(ylabel="share", xlabel="epoch", ylim=(-0.02, 1.02))
    rate.set(ylabel="learning rate", xlabel="epoch")
    for ax in (loss, score, rate):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.spines[["top", "right"]].set_visible(False)
    for ax in (loss, score):
        ax.legend(frameon=False, fontsize="small")
    return figure
