"""Leave out the scripts of thebe: the book has no live kernel, and they need another host."""

from typing import Any


def leave_out(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Drop every script and style of thebe from a page."""
    for kind in ("script_files", "css_files"):
        kept = [f for f in context.get(kind, []) if "thebe" not in _text(f)]
        context[kind] = kept


def _text(file: Any) -> str:
    attributes = getattr(file, "attributes", {})
    return f"{getattr(file, 'filename', file)} {attributes.get('body', '')}".lower()


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx, after the theme and its extensions."""
    app.connect("html-page-context", leave_out, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
