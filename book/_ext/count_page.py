"""Put the scripts of the page that counts beside the static files.

They do not lie in ``_static``: Jupyter Book would put every script of that folder on every page.
"""

from pathlib import Path
from typing import Any


def write_scripts(app: Any, error: Exception | None) -> None:
    """Write them into the built book; see ``cellcount_lib/live``."""
    if error is None and app.builder.format == "html":
        from cellcount_lib.live.assets import write_page

        write_page(Path(app.outdir) / "_static" / "count")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("build-finished", write_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
