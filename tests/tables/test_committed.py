"""The committed results, computed again."""

import json
import tempfile
from pathlib import Path

import pytest

from cellcount_lib.tables.verify import differences, planned

ROOT = Path(__file__).resolve().parents[2]
TABLES = sorted((ROOT / "results").glob("*/*.json"))


@pytest.mark.parametrize("path", TABLES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_committed_table_is_what_its_sources_say(path):
    plan = json.loads(path.read_text())
    grid = planned(plan, path.parent.name)
    assert list(differences(grid, path.parent, missing=plan["missing"])) == []


def test_no_place_of_a_machine_is_in_the_results():
    for path in (ROOT / "results").rglob("*"):
        if path.is_file():
            text = path.read_text(errors="ignore")
            for place in (ROOT, Path.home(), tempfile.gettempdir()):
                assert f"{place}/" not in text, path
