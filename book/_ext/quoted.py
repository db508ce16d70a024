"""Let the numbers that prose quotes from a table lead to what they were made of.

``[0.35](result:losses/dice/f1_iou/seed0)`` leads to the page of that run, a mean to its table in
the chapter of all tables; a published value is a number like any other. See
``cellcount_lib/tables/quoted.py``.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util import logging

TABLES = "chapters/10_results"


def lead_to_runs(app: Any, doctree: nodes.document, page: str) -> None:
    """Resolve the addresses on a page; a number that is not what stands there is a warning."""
    from cellcount_lib.errors import CellcountError
    from cellcount_lib.runs.status import RUNS
    from cellcount_lib.tables.quoted import SCHEMES, resolve

    results = (Path(app.srcdir) / app.config.run_results).resolve()
    for link in list(doctree.findall(nodes.reference)):
        address, text = str(link.get("refuri", "")), link.astext()
        if not address.startswith(SCHEMES):
            continue
        try:
            quoted = resolve(address, results)
        except CellcountError as error:
            logging.getLogger(__name__).warning("%s", error, location=link)
            continue
        if (expected := quoted.typed_like(text)) != text:
            logging.getLogger(__name__).warning(
                "%s is %s, the text says %s", address, expected, text, location=link
            )
        if not quoted.runs:
            link.replace_self(link.children)
            continue
        table = re.split("[:/@]", address)[1]
        place = f"{TABLES}.html#table-{table}"
        if len(quoted.runs) == 1:
            run = f"{quoted.profile}/{RUNS}/{quoted.runs[0]}"
            if (results / f"{run}.ipynb").exists():
                place = f"results/{run}.html"
        link["refuri"] = "../" * page.count("/") + place
        link["reftitle"] = address.partition(":")[2]
        link["internal"] = True


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", lead_to_runs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
