"""Counts by condition: ``cellcount predict --groups COLUMN``, as a table and a plot.

The replicate is the picture: a file of several planes is one, with the mean of their counts. What
counts as independent in an experiment, animals or wells, may be fewer: then give one row for each.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np

from cellcount_lib.data.finding import read_table, some
from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.plots import DARK
from cellcount_lib.scoring.stats import RESAMPLES, PictureCounts, Resampled, estimate

INDEX = "index.csv"
COLUMNS = ("group", "n", "failed", "mean", "low", "high", "sd", "smallest", "largest")
WIDTH, HEIGHT, MARGIN = 140, 320, 60  # of a group and of the plot, in pixels


class Group(NamedTuple):
    """The pictures of a condition."""

    name: str
    counts: list[float]  # of each picture that was counted
    failed: int = 0  # pictures that could not be


def groups_of(paths: Sequence[Path], column: str) -> dict[Path, str]:
    """Look up the group of every picture in ``index.csv``, before anything is counted.

    The table lies beside the pictures or in the folder above. Its column "image" has paths from
    where it lies, or names of files.
    """
    found: dict[Path, str] = {}
    missing = []
    tables: dict[Path, dict[str, str]] = {}
    for path in paths:
        places = [folder / INDEX for folder in (path.parent, path.absolute().parent.parent)]
        index = next((place for place in places if place.is_file()), None)
        if index is None:
            raise DataError(
                f"{places[0]}: expected a table with columns image and {column} there, or in the "
                "folder above, found neither"
            )
        if index not in tables:
            tables[index] = _read(index, column)
        known = tables[index]
        inside = path.absolute().relative_to(index.absolute().parent).as_posix()
        if (group := known.get(inside, known.get(path.name))) is None:
            missing.append(str(path))
        else:
            found[path] = group
    if missing:
        raise DataError(
            f"{' and '.join(map(str, tables))}: expected a row for every picture, "
            f"{len(missing)} have none: {some(missing)}"
        )
    return found


def _read(index: Path, column: str) -> dict[str, str]:
    rows = read_table(index)
    for name in ("image", column):
        if name not in rows[0]:
            raise DataError(f"{index}: expected a column {name!r}, found {some(rows[0], most=12)}")
    groups: dict[str, str] = {}
    for row in rows:
        if not row[column]:
            raise DataError(f"{index}: expected a group in {column!r}, {row['image']} has none")
        if groups.setdefault(row["image"], row[column]) != row[column]:
            raise DataError(f"{index}: expected one row per picture, {row['image']} has several")
    return groups


def grouped(rows: Sequence[Mapping[str, Any]], groups: Mapping[Path, str]) -> list[Group]:
    """Put the rows of ``counts.csv`` into their groups, in the order of the names."""
    counts: dict[str, list[float]] = {}
    for row in rows:
        name = str(row["image"]).rpartition("#")[0] if row.get("plane") else str(row["image"])
        counts.setdefault(name, [])
        if row["status"] == "ok":
            counts[name].append(row["count"])
    made = []
    for group in sorted(set(groups.values())):
        mine = [counts[str(path)] for path, its in groups.items() if its == group]
        whole = [float(np.mean(planes)) for planes in mine if planes]
        made.append(Group(group, whole, len(mine) - len(whole)))
    return made


def mean_interval(counts: Sequence[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean over pictures and its 95% interval, by the bootstrap of `scoring.stats`.

    Of a single picture the interval is unknown: NaN.

    Examples
    --------
    >>> [round(value, 1) for value in mean_interval([4, 6, 8, 10])]
    [7.0, 2.9, 11.1]
    """
    values = np.asarray(counts, np.float64)
    n = values.size
    if n < 2:
        return (float(values.mean()) if n else np.nan), np.nan, np.nan
    picked = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n - 1))
    row = PictureCounts([str(i) for i in range(n)], [0], {}, mpe="", trained=False)
    drawn = values[picked].mean(axis=1)[:, None]
    found = estimate(Resampled(np.array([values.mean()]), drawn, row))
    reach = found.reach()
    return found.value, max(0.0, found.value - reach), found.value + reach


def group_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the rows of ``groups.csv``; what is unknown stays empty."""
    rows = []
    for group in groups:
        numbers = dict(zip(("mean", "low", "high"), mean_interval(group.counts), strict=True))
        if len(group.counts) > 1:
            numbers["sd"] = float(np.std(group.counts, ddof=1))
        if group.counts:
            numbers |= {"smallest": min(group.counts), "largest": max(group.counts)}
        rows.append(
            {"group": group.name, "n": len(group.counts), "failed": group.failed}
            | {k: "" if np.isnan(v) else round(v, 2) for k, v in numbers.items()}
        )
    return rows


def write_groups(
    out: Path, rows: Sequence[Mapping[str, Any]], group_of: Mapping[Path, str], column: str
) -> list[str]:
    """Write ``groups.csv`` and ``groups.svg``; return a line per group for a person."""
    groups = grouped(rows, group_of)
    table = group_rows(groups)
    text = io.StringIO()
    written = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    written.writeheader()
    written.writerows(table)
    write_whole(out / "groups.csv", text.getvalue())
    write_whole(out / "groups.svg", plot(groups, column))
    lines = []
    for row in table:
        line = f"{column} {row['group']}: {row['mean'] or 'no'} cells per picture"
        if row["low"] != "":
            line += f" ({row['low']} to {row['high']})"
        line += f", {row['n']} pictures"
        lines.append(line + (f", {row['failed']} not counted" if row["failed"] else ""))
    return lines


def plot(groups: Sequence[Group], column: str) -> str:
    """Draw every count as a dot, beside the mean of its group with the interval, as SVG."""
    intervals = [mean_interval(group.counts) for group in groups]
    highest = [c for group in groups for c in group.counts] + [high for *_, high in intervals]
    top = float(np.nanmax([1.0, *highest]))
    step = 10 ** np.floor(np.log10(top)) / (2 if str(top)[0] in "12" else 1)

    def y(count: float) -> float:
        return round(MARGIN / 2 + HEIGHT * (1 - count / (1.05 * top)), 1)

    width = MARGIN + WIDTH * len(groups) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT + 2 * MARGIN}" '
        'font-family="sans-serif" font-size="13">',
        f"<title>Cells per picture by {escape(column)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for tick in np.arange(0, top * 1.02, step):
        parts.append(
            f'<line x1="{MARGIN}" x2="{width - 10}" y1="{y(tick)}" y2="{y(tick)}" stroke="#ddd"/>'
            f'<text x="{MARGIN - 8}" y="{y(tick) + 4}" text-anchor="end">{tick:g}</text>'
        )
    for number, (group, (mean, low, high)) in enumerate(zip(groups, intervals, strict=True)):
        middle = MARGIN + WIDTH * (number + 0.5)
        spread = np.random.default_rng(0).uniform(-0.15, 0.15, len(group.counts))
        parts += [
            f'<circle cx="{middle + WIDTH * aside:.1f}" cy="{y(count)}" r="4" fill="{DARK}" '
            'fill-opacity="0.5"/>'
            for count, aside in zip(group.counts, spread, strict=True)
        ]
        right = middle + 0.3 * WIDTH
        if np.isfinite(mean):
            parts.append(f'<circle cx="{right}" cy="{y(mean)}" r="6"/>')
        if np.isfinite(low):
            parts.append(
                f'<line x1="{right}" x2="{right}" y1="{y(low)}" y2="{y(high)}" stroke="black" '
                'stroke-width="2"/>'
            )
        parts.append(
            f'<text x="{middle}" y="{HEIGHT + MARGIN}" text-anchor="middle">{escape(group.name)}, '
            f"n = {len(group.counts)}</text>"
        )
    parts.append(
        f'<text x="10" y="{HEIGHT + 1.6 * MARGIN}" fill="#555">Cells per picture; mean with 95% '
        "interval</text></svg>"
    )
    return "\n".join(parts) + "\n"
