"""Put live parts into the built book: their scripts, and elements for them into chapters.

The scripts do not lie in ``_static``: Jupyter Book would put every script of that folder on every
page. A chapter's notebook does not have the live part; `LIVE` says below which of its sections the
built page has one.
"""

from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes

SCRIPTS = "_static/count"


class Live(NamedTuple):
    """What runs in a page of the book."""

    section: str  # its id; it ends with the live part
    words: str
    element: str  # class of the element that the script fills
    script: str


LIVE = {
    "chapters/02_architectures": Live(
        section="what-the-levels-see",
        words="On a picture of your own, or an example: what each block of the network for neurons "
        "makes of it, and which pixels each unit depends on.",
        element="cellcount-blocks",
        script="blocks.js",
    ),
    "chapters/06_threshold_and_ruler": Live(
        section="move-the-cutoff",
        words="On a picture of your own, or an example: a network that runs in this page. "
        "Move its cutoff, and let it count at every cutoff.",
        element="cellcount-count",
        script="count.js",
    ),
}
NO_SCRIPT = "<noscript>This part needs JavaScript, which your browser does not run here.</noscript>"


def add_live_part(app: Any, doctree: nodes.document, page: str) -> None:
    """Add it to the end of its section."""
    live = LIVE.get(page)
    if live is None or app.builder.format != "html":
        return
    (section,) = (s for s in doctree.findall(nodes.section) if live.section in s["ids"])
    up = "../" * page.count("/") + SCRIPTS
    html = f"""<div class="cellcount-live"><p>{live.words}</p>
<link rel="stylesheet" href="{up}/count.css">
<div class="{live.element}">{NO_SCRIPT}</div>
<script defer src="{up}/{live.script}"></script></div>"""
    section += nodes.raw("", html, format="html")


def write_scripts(app: Any, error: Exception | None) -> None:
    """Write them into the built book; see ``cellcount_lib/live``."""
    if error is None and app.builder.format == "html":
        from cellcount_lib.live.assets import write_page

        write_page(Path(app.outdir) / SCRIPTS)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", add_live_part)
    app.connect("build-finished", write_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
