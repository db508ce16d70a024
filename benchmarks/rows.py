"""Rows of a long benchmark that goes on where it stopped: a CSV file, a summary beside it."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from cellcount_lib.files import write_whole

Row = dict[str, str]
MARK = "made_with"  # the column with the digest of the settings, code and data of a row


def read(path: Path) -> list[Row]:
    """Rows of a table; none where there is no file."""
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([row[c] for c in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


class Kept:
    """The rows that a table has, each with the mark of what it was made with.

    `columns` are those of the file; `summarised` makes the lines of the summary from all rows.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        summarised: Callable[[Sequence[Row]], list[Row]],
    ) -> None:
        self.path, self.columns, self.summarised = path, columns, summarised
        self.rows = read(path)

    def summary(self) -> str:
        """Return a Markdown table that sums the rows up."""
        return table(self.summarised(self.rows))

    def has(self, about: Row, mark: str) -> bool:
        """Tell whether there are rows of this, made with the same."""
        return any(row.items() >= (about | {MARK: mark}).items() for row in self.rows)

    def put(self, about: Row, mark: str, *new: Row) -> None:
        """Put rows of this in the place of older ones, and write the table."""
        self.rows = [row for row in self.rows if not row.items() >= about.items()]
        self.rows += [about | row | {MARK: mark} for row in new]
        self.write()

    def write(self) -> None:
        """Write the table, and its summary beside it."""
        text = io.StringIO()
        lines = csv.DictWriter(text, self.columns, lineterminator="\n")
        lines.writeheader()
        lines.writerows(self.rows)
        write_whole(self.path, text.getvalue())
        write_whole(self.path.with_suffix(".md"), f"{self.summary()}\n")
