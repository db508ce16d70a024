"""A page for every executed notebook that a table links to: ``results/**/notebooks/**/*.ipynb``.

They are pages of the theme, outside the table of contents and the search: a reader comes by a link.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

MARKDOWN = MarkdownIt("commonmark").enable("table")
CODE = HtmlFormatter(nowrap=False, cssclass="highlight")
KEPT = re.compile(r'href="((?:\.\./)*results/[^"]+/notebooks/[^"]+)\.ipynb"')
SHOWN = ("text/html", "text/plain")
# a link of a chapter to a page of the book
PAGE = re.compile(r'href="\.\./([^"/:]+)\.(?:md|ipynb)')


def pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Give Sphinx name, context and template of each page, and lay the notebook beside it."""
    folder = (Path(app.srcdir) / app.config.run_results).resolve()
    for path in sorted(folder.glob("*/notebooks/*/*.ipynb")):
        name = str(Path("results", path.relative_to(folder))).removesuffix(".ipynb")
        beside = Path(app.outdir, f"{name}.ipynb")  # a name may hold dots
        beside.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        beside.write_text(text)
        body = run_page(json.loads(text), path)
        yield name, {"title": path.stem, "body": body, "parents": []}, "page.html"


def lead_to_pages(
    app: Any, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let the links of tables, which lead to kept notebooks, lead to their pages here."""
    if "body" in context:
        context["body"] = KEPT.sub(r'href="\1.html"', context["body"])


def run_page(notebook: Mapping[str, Any], path: Path) -> str:
    """Return the body of a page: what the notebook said when it was executed."""
    profile, grid = path.parts[-4], path.parts[-2]
    parts = [
        f"<h1>{html.escape(path.stem)}</h1>",
        f"<p>One run of the grid <code>{grid}</code>, profile <code>{profile}</code>, as it was "
        f'executed. <a href="{path.name}" download>Download the notebook</a>; its figures are left '
        "out. The cell of parameters below says what this run was.</p>",
    ]
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            # the page has a title of its own: a step down for every heading of the notebook
            text = "\n".join("#" + line if line[:1] == "#" else line for line in source.split("\n"))
            # from results/PROFILE/notebooks/GRID/ it is four steps up, not one
            parts.append(PAGE.sub(r'href="../../../../\1.html', MARKDOWN.render(text)))
        else:
            parts.append(_code(cell, source))
    return "\n".join(parts)


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
    app.connect("html-collect-pages", pages)
    app.connect("html-page-context", lead_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
