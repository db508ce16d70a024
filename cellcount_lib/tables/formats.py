"""A table as Markdown, HTML and LaTeX, from one description of its cells."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and the links to the executed notebooks that made it."""

    text: str
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Table:
    """Title, header, rows of cells, and notes below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def to_markdown(of_grid: Sequence[Table]) -> str:
    """Return tables as Markdown that MyST reads, too."""
    parts = []
    for table in of_grid:
        lines = ["| " + " | ".join(table.header) + " |", "|" + " --- |" * len(table.header)]
        lines += ["| " + " | ".join(_markdown(cell) for cell in row) + " |" for row in table.rows]
        notes = ["", *(f"{note}\n" for note in table.notes)] if table.notes else []
        parts.append("\n".join([f"**{table.title}**", "", *lines, *notes]))
    return "\n\n".join(parts) + "\n"


def _markdown(cell: Cell) -> str:
    text = cell.text.replace("|", "\\|")
    if not cell.links:
        return text
    return f"{text} (seed {', '.join(f'[{name}]({place})' for name, place in cell.links)})"


def to_html(of_grid: Sequence[Table]) -> str:
    """Return tables as HTML."""
    parts = []
    for table in of_grid:
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.header)
        rows = []
        for first, *rest in table.rows:
            links = ", ".join(
                f'<a href="{html.escape(place)}">{html.escape(name)}</a>'
                for name, place in first.links
            )
            label = html.escape(first.text) + (f" (seed {links})" if links else "")
            cells = "".join(f"<td>{html.escape(cell.text)}</td>" for cell in rest)
            rows.append(f'<tr><th scope="row">{label}</th>{cells}</tr>')
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in table.notes)
        parts.append(
            f'<table class="table"><caption>{html.escape(table.title)}</caption>'
            f"<thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table>{notes}"
        )
    return "\n".join(parts) + "\n"


_TEX = str.maketrans(
    {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "±": r"$\pm$", "–": "--"}
    | {"†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}"}  # the marks of `render`
)


def to_latex(of_grid: Sequence[Table]) -> str:
    """Return tables as LaTeX (package booktabs)."""
    parts = []
    for table in of_grid:
        lines = [
            r"\begin{table}",
            rf"\caption{{{table.title.translate(_TEX)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            " & ".join(name.translate(_TEX) for name in table.header) + r" \\",
            r"\midrule",
            *(" & ".join(c.text.translate(_TEX) for c in row) + r" \\" for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par {note.translate(_TEX)}" for note in table.notes),
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Table]], str]] = {
    "md": to_markdown,
    "html": to_html,
    "tex": to_latex,
}
