"""Rows of a long benchmark that goes on where it stopped: a CSV file, a summary beside it."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from cellcount_lib.files import write_whole

Row = dict[str, str]


def read(path: Path) -> list[Row]:
    """Rows of a table; none where there is no file."""
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def write(path: Path, rows: Sequence[Row], columns: Sequence[str], summary: str) -> None:
    """Write the table, and beside it its summary in Markdown."""
    text = io.StringIO()
    lines = csv.DictWriter(text, columns, lineterminator="\n")
    lines.writeheader()
    lines.writerows(rows)
    write_whole(path, text.getvalue())
    write_whole(path.with_suffix(".md"), f"{summary}\n")
