"""Quizzes and sliders: what they hold, and what they look like to a parser of HTML."""

import base64
import io

import pytest
from bs4 import BeautifulSoup

from cellcount_lib.errors import InputError
from cellcount_lib.plots import FALSE, FOUND, MISSED
from cellcount_lib.teaching.widgets import Question, quiz, slider

GOOD = Question(
    "How many are < 3?", {"two": "0 & 1 or so"}, {"three": "No.", "none": "No.", "all": "No."}
)


def test_a_quiz_has_a_labelled_button_for_every_answer_and_one_right_reply_each():
    page = BeautifulSoup(
        quiz(GOOD, Question("b", {"x": "r"}, {"y": "w", "z": "w"}))._repr_html_(), "html.parser"
    )
    fields = page.find_all("fieldset")
    assert [f.legend.text for f in fields] == ["1. How many are < 3?", "2. b"]
    for field, answers in zip(fields, (4, 3), strict=True):
        buttons = field.find_all("input", type="radio")
        assert len(buttons) == answers
        assert len({b["name"] for b in buttons}) == 1, "one group: the arrow keys move in it"
        for button in buttons:
            assert field.find("label", attrs={"for": button["id"]}).text
            assert button.find_next_siblings(class_="reply"), "the style shows a later sibling"
        replies = field.find_all(class_="reply")
        assert [r["data-right"] for r in replies].count("true") == 1
        for reply in replies:
            assert reply.text.startswith("Right." if reply["data-right"] == "true" else "Not quite")
    assert len({b["id"] for b in page.find_all("input")}) == 7


def test_the_order_of_answers_is_of_the_wording_and_not_always_right_first():
    questions = [Question(f"q{n}", {"a": "r"}, {"b": "w", "c": "w"}) for n in range(30)]
    places = [[right for _, _, right in q.answers].index(True) for q in questions]
    assert set(places) == {0, 1, 2}
    turned = Question("q3", {"a": "r"}, {"c": "w", "b": "w"})
    assert turned.answers == questions[3].answers, "the order in which they were written is nothing"


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ({"a": "r", "b": "r"}, {"c": "w", "d": "w"}, "expected one right answer"),
        ({"a": "r"}, {"c": "w"}, "at least two others"),
        ({"a": "r"}, {"a": "w", "c": "w"}, "expected one right answer"),
        ({"a": "r"}, {"b": " ", "c": "w"}, "the answer 'b' has no reply"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(right, wrong, said):
    with pytest.raises(InputError, match=said):
        Question("?", right, wrong)


def figures(number):
    import matplotlib.pyplot as plt

    made = []
    for n in range(number):
        figure, ax = plt.subplots(figsize=(2, 1))
        ax.bar([0], [n + 1])
        made.append(figure)
    return made


def test_a_slider_holds_every_picture_with_its_words_and_shows_one():
    import matplotlib.pyplot as plt
    from PIL import Image

    before = plt.get_fignums()  # another test in this process may have left figures open
    made = slider("cutoff", figures(3), labels=["a", "b", '"c"'], alts=["x", "y", "z"], start=1)
    assert repr(made) == "Slider('cutoff', 3 positions)"
    page = BeautifulSoup(made._repr_html_(), "html.parser")
    images = page.find_all("img")
    assert [i["alt"] for i in images] == ["x", "y", "z"]
    assert [i["data-label"] for i in images] == ["a", "b", '"c"']
    assert ["display:none" in i["style"] for i in images] == [True, False, True]
    sizes = [Image.open(io.BytesIO(base64.b64decode(i["src"].split(",")[1]))).size for i in images]
    assert sizes == [(160, 80)] * 3
    range_ = page.find("input", type="range")
    assert (range_["min"], range_["max"], range_["value"]) == ("0", "2", "1")
    assert page.find("label", attrs={"for": range_["id"]}).text == "cutoff: "
    assert plt.get_fignums() == before, "what was drawn for the slider is closed"


def test_thin_outlines_keep_their_colours_on_a_picture_of_many_shades():
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib.colors import to_rgb
    from PIL import Image

    shades = np.random.default_rng(0).integers(0, 256, (200, 300, 1)) * np.array([1, 0.9, 0.1])
    figure, ax = plt.subplots(figsize=(4, 3))
    ax.imshow(shades.astype(np.uint8))
    for place, colour in enumerate((FOUND, FALSE, MISSED)):
        ax.plot([20, 280], [50 + 50 * place] * 2, color=colour, linewidth=1.5)
    ((_, _, data),) = slider("t", [figure], labels=["a"], alts=["b"], colours=64).frames
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)
    for colour in (FOUND, FALSE, MISSED):
        off = np.abs(shown - 255 * np.array(to_rgb(colour))).max(axis=-1)
        assert (off < 40).sum() > 100, colour


@pytest.mark.parametrize(
    "change", [{"labels": ["a"]}, {"alts": ["a"]}, {"start": 2}, {"start": -1}]
)
def test_a_slider_whose_parts_do_not_fit_is_refused(change):
    good = {"labels": ["a", "b"], "alts": ["x", "y"]}
    with pytest.raises(InputError, match="2 figures"):
        slider("t", figures(2), **{**good, **change})
    import matplotlib.pyplot as plt

    plt.close("all")
