"""A page for every executed notebook that a table links to: ``results/*/runs/*.ipynb``.

They are pages of the theme, outside the table of contents and the search: a reader comes by a link.
A run that was made by other code than there is now is marked, in its tables and on its page.
"""

import csv
import html
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

MARKDOWN = MarkdownIt("commonmark").enable("table")
CODE = HtmlFormatter(nowrap=False, cssclass="highlight")
RUN = re.compile(r'<a [^>]*href="[^"]*results/[^"/]+/runs/([^"/]+)\.html"[^>]*>.*?</a>')
TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
KEPT = re.compile(r'href="((?:\.\./)*results/[^"/]+/runs/[^"]+)\.ipynb"')
SHOWN = ("text/html", "text/plain")
# a link of a chapter to a page of the book, or to another chapter
PAGE = re.compile(r'href="(\.\./)?([^"/:]+)\.(?:md|ipynb)')


def find_stale(app: Any) -> None:
    """Ask the library once which runs are stale: by run, what has changed since."""
    from cellcount_lib.tables.stale import stale

    folder = (Path(app.srcdir) / app.config.run_results).resolve()
    app.stale_runs = {
        run: changed
        for place in sorted(folder.glob("*/runs"))
        for run, changed in stale(place.parent).items()
        if changed
    }


def marked(body: str, stale: Mapping[str, Sequence[str]]) -> str:
    """Put a word behind every link to a stale run, and a note below its table."""

    def link(found: re.Match[str]) -> str:
        return found[0] + ("<sup>old</sup>" if found[1] in stale else "")

    def table(found: re.Match[str]) -> str:
        text = RUN.sub(link, found[0])
        return text + (NOTE if text != found[0] else "")

    return TABLE.sub(table, body)


NOTE = (
    '<p class="stale">old: made by an earlier version of the code; the page of the run says what '
    "has changed since.</p>"
)


def pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Give Sphinx name, context and template of each page, and lay the notebook beside it."""
    folder = (Path(app.srcdir) / app.config.run_results).resolve()
    for path in sorted(folder.glob("*/runs/*.ipynb")):
        name = str(Path("results", path.relative_to(folder))).removesuffix(".ipynb")
        beside = Path(app.outdir, f"{name}.ipynb")  # a name may hold dots
        beside.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        beside.write_text(text)
        body = run_page(json.loads(text), path)
        if changed := app.stale_runs.get(path.stem):
            body = body.replace("</h1>", f"</h1>{_since(changed)}", 1)
        yield name, {"title": path.stem, "body": body, "parents": []}, "page.html"


def _since(changed: Sequence[str]) -> str:
    some = ", ".join(f"<code>{html.escape(name)}</code>" for name in changed[:8])
    more = f" and {len(changed) - 8} more" if len(changed) > 8 else ""
    return (
        f'<p class="stale">Made by an earlier version of the code. Changed since: {some}{more}.</p>'
    )


def lead_to_pages(
    app: Any, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let the links of tables, which lead to kept notebooks, lead to their pages here."""
    if "body" in context:
        body = KEPT.sub(r'href="\1.html"', context["body"])
        context["body"] = marked(body, app.stale_runs)


def run_page(notebook: Mapping[str, Any], path: Path) -> str:
    """Return the body of a page: what the notebook said when it was executed."""
    shown = ", ".join(f"<code>{name}</code>" for name in _tables(path.parents[1])[path.stem])
    parts = [
        f"<h1>{html.escape(path.stem)}</h1>",
        f"<p>One run of profile <code>{path.parts[-3]}</code>, as it was executed; in the tables: "
        f'{shown or "none, another run needed it"}. <a href="{path.name}" download>Download the '
        "notebook</a>; its figures are left out. The cell of parameters below says what this run "
        "was.</p>",
    ]
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            # the page has a title of its own: a step down for every heading of the notebook
            text = "\n".join("#" + line if line[:1] == "#" else line for line in source.split("\n"))
            parts.append(PAGE.sub(_from_here, MARKDOWN.render(text)))
        else:
            parts.append(_code(cell, source))
    return "\n".join(parts)


def _from_here(link: re.Match[str]) -> str:
    """Lead a link of chapters/ to the same page from results/PROFILE/runs/, three steps down."""
    up, page = link.groups()
    return f'href="../../../{"" if up else "chapters/"}{page}.html'


@cache
def _tables(folder: Path) -> Mapping[str, list[str]]:
    """Return the names of the tables that each run stands in."""
    found = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        for row in csv.DictReader(path.with_suffix(".csv").read_text().splitlines()):
            found[row["run"]].append(path.stem)
    return found


def _code(cell: Mapping[str, Any], source: str) -> str:
    parts = [highlight(source, PythonLexer(), CODE)]
    for output in cell["outputs"]:
        data = output.get("data", {})
        kind = next((kind for kind in SHOWN if kind in data), None)
        if kind == "text/html":
            parts.append("".join(data[kind]))
            continue
        text = data[kind] if kind else output.get("text", output.get("evalue", ""))
        if text:
            parts.append(f"<pre>{html.escape(''.join(text))}</pre>")
    if "injected-parameters" in cell["metadata"].get("tags", ()):
        return f'<div class="run-parameters">{"".join(parts)}</div>'
    return "\n".join(parts)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_config_value("run_results", "../results", "env")
    app.connect("builder-inited", find_stale)
    app.connect("html-collect-pages", pages)
    app.connect("html-page-context", lead_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
