"""Marks of stale runs on the pages of the book."""

import importlib.util
from pathlib import Path

PLACE = Path(__file__).resolve().parents[2] / "book" / "_ext" / "run_pages.py"
spec = importlib.util.spec_from_file_location("run_pages", PLACE)
assert spec is not None
assert spec.loader is not None
run_pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run_pages)

ROW = '<tr><th>{0} (seed <a href="../results/laptop/runs/{1}.html">0</a>)</th></tr>'
BODY = f"<p>Words</p><table>{ROW.format('one', 'r1')}{ROW.format('two', 'r2')}</table><p>Note.</p>"


def test_a_stale_run_is_marked_and_its_table_has_a_note():
    marked = run_pages.marked(BODY, {"r2": ["Dice"]})
    one, two = marked.split("<tr>")[1:]
    assert "old" not in one
    assert '.html">0</a><sup>old</sup>)' in two
    assert '<p class="stale">old: made by' in two
    assert marked.index("</table>") < marked.index('<p class="stale">') < marked.index("<p>Note.")


def test_a_current_table_and_that_of_other_runs_stay_as_they_are():
    assert run_pages.marked(BODY, {}) == BODY
    assert run_pages.marked(BODY, {"r3": ["Dice"]}) == BODY


def test_two_tables_have_a_note_each_where_they_need_one():
    other = f"<table>{ROW.format('three', 'r3')}</table>"
    marked = run_pages.marked(BODY + other, {"r1": ["Dice"]})
    assert marked.count('<p class="stale">') == 1
    assert marked.endswith(other)


def test_links_of_a_chapter_lead_to_pages_and_to_other_chapters(tmp_path):
    words = "[status](../status.md), [loss](05_losses.ipynb), [elsewhere](https://a.b/c.md)"
    notebook = {"cells": [{"cell_type": "markdown", "source": [words]}]}
    page = run_pages.run_page(notebook, tmp_path / "laptop" / "runs" / "r1.ipynb")
    assert 'href="../../../status.html"' in page
    assert 'href="../../../chapters/05_losses.html"' in page
    assert 'href="https://a.b/c.md"' in page
    assert '<a href="r1.ipynb" download>' in page
