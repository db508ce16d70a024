"""Which slides a chapter gives, on a chapter that is written here."""

import doctest
import importlib.util
from pathlib import Path

import pytest

EXTENSION = Path(__file__).parents[2] / "book" / "_ext" / "slides.py"


@pytest.fixture(scope="module")
def slides():
    about = importlib.util.spec_from_file_location("slides", EXTENSION)
    module = importlib.util.module_from_spec(about)
    about.loader.exec_module(module)
    return module


def words(source):
    return {"cell_type": "markdown", "metadata": {}, "source": [source]}


def picture(caption, *, kind="image/png"):
    about = {"figure": {"caption": caption}, "image": {"alt": 'a "disc"'}}
    output = {"output_type": "display_data", "data": {"text/plain": "<Figure>", kind: "QUJD\n"}}
    return {
        "cell_type": "code",
        "metadata": {"mystnb": about},
        "source": ["draw()"],
        "outputs": [output],
    }


CHAPTER = {
    "cells": [
        words("# 1. Cells\n\nA cell is [small](b.md) {cite}`otsu1979`. It is counted.\n\nMore."),
        words("Words between headings."),
        words("## Light\n\nIs $x$ dark? Yes.\n\n### Deeper\n\n- a list"),
        picture("One **disc**."),
        words("## Quiz\n\nGuess."),
        picture("a picture of the quiz"),
        words("### Inside the quiz\n\nNo."),
        words("## Summary\n\n- One.\n- Two.\n\n## Further reading\n\nBooks."),
    ]
}


def test_headings_first_sentences_figures_and_the_summary(slides):
    found = [(slide.depth, slide.body.strip()) for slide in slides.slides(CHAPTER)]
    depths, bodies = zip(*found, strict=True)
    assert depths == (1, 2, 3, 4, 2)
    assert bodies[0] == "<h1>1. Cells</h1><p>A cell is small.</p>"
    assert bodies[1] == "<h2>Light</h2>", "a formula would be shown as its source"
    assert bodies[2] == "<h3>Deeper</h3>"
    assert 'alt="a &quot;disc&quot;" src="data:image/png;base64,QUJD"' in bodies[3]
    assert "<figcaption>One <strong>disc</strong>.</figcaption>" in bodies[3]
    assert bodies[4].count("<li>") == 2


def test_the_examples_of_the_rule(slides):
    tried = doctest.testmod(slides)
    assert tried.attempted == 2
    assert tried.failed == 0


def test_a_deck_has_a_stack_for_every_part_and_needs_nothing_else(slides):
    made = slides.deck(CHAPTER, "../chapters/01.html")
    assert "<title>1. Cells</title>" in made
    assert made.count("<section><section>") == 3
    assert made.count('<a href="../chapters/01.html">') == 1
    shown = made.partition("</style>")[2].partition("<script>")[0]
    assert "http" not in shown
    assert "<script src" not in made
    assert "<link" not in made
    assert made.count("</script>") == 2, "reveal.js may not end its own script"
