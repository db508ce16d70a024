"""Keep the pages off the network: MathJax from the book's own folder, no scripts of thebe.

Jupyter Book puts every script of ``_static`` on every page, so MathJax lies in ``_vendor``.
"""

from pathlib import Path
from typing import Any

VENDOR = Path(__file__).resolve().parents[1] / "_vendor"


def use_vendor(app: Any, config: Any) -> None:
    """Serve what lies in ``_vendor`` beside the static files."""
    config.html_static_path = [*config.html_static_path, str(VENDOR)]
    config.mathjax_path = "mathjax/tex-mml-chtml.js"


def leave_out_thebe(
    app: Any, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Drop every script and style of thebe from a page: there is no live kernel."""
    for kind in ("script_files", "css_files"):
        kept = [f for f in context.get(kind, []) if "thebe" not in _text(f)]
        context[kind] = kept


def _text(file: Any) -> str:
    attributes = getattr(file, "attributes", {})
    return f"{getattr(file, 'filename', file)} {attributes.get('body', '')}".lower()


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx, after the theme and its extensions."""
    app.connect("config-inited", use_vendor)
    app.connect("html-page-context", leave_out_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
