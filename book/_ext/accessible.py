"""What the theme leaves undone for who cannot see or does not use a mouse.

A wide table scrolls inside its own box, so the tab key must reach it; and a bibliography is no list
of list items.
"""

import re
from typing import Any

TABLE = re.compile(r"<table(?![^>]*\btabindex)")


def reachable(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Put tables into the order of the tab key, and mend the role of citations."""
    if "body" in context:
        body = TABLE.sub('<table tabindex="0"', context["body"])
        context["body"] = body.replace('role="list" class="citation-list"', 'class="citation-list"')


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", reachable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
