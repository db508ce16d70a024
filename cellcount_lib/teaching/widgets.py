"""Quizzes and sliders of the chapters, in a notebook and in the built page, without a kernel.

A quiz is plain HTML and CSS: its reply appears when a radio button is checked, so it works from the
keyboard and without a script. A slider shows one of several pictures drawn beforehand.
"""

import base64
import hashlib
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cellcount_lib.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent  # of quiz.css and slider.js


@dataclass(frozen=True)
class Question:
    """A question with one right answer; every answer has a reply, a wrong one's says why."""

    text: str
    right: Mapping[str, str]  # answer: reply
    wrong: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(self.right) != 1 or len(self.wrong) < 2 or set(self.right) & set(self.wrong):
            raise InputError(
                f"{self.text!r}: expected one right answer and at least two others, found "
                f"{list(self.right)} and {list(self.wrong)}"
            )
        for answer, reply in {**self.right, **self.wrong}.items():
            if not reply.strip():
                raise InputError(f"{self.text!r}: the answer {answer!r} has no reply")

    @property
    def answers(self) -> list[tuple[str, str, bool]]:
        """Answer, reply, and whether it is right, in an order that the wording decides."""
        every = [(*pair, True) for pair in self.right.items()]
        every += [(*pair, False) for pair in self.wrong.items()]
        return sorted(every, key=lambda answer: _hash(self.text, answer[0]))


@dataclass(frozen=True)
class Quiz:
    """Questions, shown as a form that replies by itself."""

    questions: tuple[Question, ...]

    def __repr__(self) -> str:
        return f"Quiz({len(self.questions)} questions)"

    def _repr_html_(self) -> str:
        parts = [_question(n, question) for n, question in enumerate(self.questions, start=1)]
        style = (HERE / "quiz.css").read_text()
        return f'<style>{style}</style><div class="cellcount-quiz">{"".join(parts)}</div>'


def quiz(*questions: Question) -> Quiz:
    """Make a quiz.

    Examples
    --------
    >>> quiz(Question("2 + 2?", {"4": "Yes."}, {"3": "One more.", "5": "One less."}))
    Quiz(1 questions)
    """
    return Quiz(questions)


def _question(number: int, question: Question) -> str:
    name = f"q{_hash(question.text)[:10]}"
    parts = []
    for place, (answer, reply, right) in enumerate(question.answers):
        verdict = "Right." if right else "Not quite."
        parts.append(
            f'<div><input type="radio" name="{name}" id="{name}-{place}">'
            f'<label for="{name}-{place}">{html.escape(answer)}</label>'
            f'<p class="reply" data-right="{str(right).lower()}"><strong>{verdict}</strong> '
            f"{html.escape(reply)}</p></div>"
        )
    text = html.escape(question.text)
    return f"<fieldset><legend>{number}. {text}</legend>{''.join(parts)}</fieldset>"


@dataclass(frozen=True)
class Slider:
    """Pictures drawn beforehand, of which a slider shows one."""

    title: str  # what the slider changes
    frames: tuple[tuple[str, str, bytes], ...]  # value in words, what the picture shows, its PNG
    start: int = 0  # position shown first

    def __repr__(self) -> str:
        return f"Slider({self.title!r}, {len(self.frames)} positions)"

    def _repr_html_(self) -> str:
        name = f"s{_hash(self.title, *(label for label, _, _ in self.frames))[:10]}"
        images = "".join(
            f'<img src="data:image/png;base64,{base64.b64encode(data).decode()}" '
            f'alt="{html.escape(alt)}" data-label="{html.escape(label)}" '
            f'style="max-width:100%;{"" if place == self.start else "display:none"}">'
            for place, (label, alt, data) in enumerate(self.frames)
        )
        shown = html.escape(self.frames[self.start][0])
        script = (HERE / "slider.js").read_text().strip()
        return (
            f'<div class="cellcount-slider" id="{name}">{images}'
            f'<div><label for="{name}-at">{html.escape(self.title)}: </label>'
            f'<input type="range" id="{name}-at" min="0" max="{len(self.frames) - 1}" step="1" '
            f'value="{self.start}" style="width:min(24em,70%);vertical-align:middle"> '
            f'<output for="{name}-at">{shown}</output></div></div>'
            f"<script>{script.replace('NAME', name)}</script>"
        )


def slider(
    title: str,
    figures: "Sequence[Figure]",
    *,
    labels: Sequence[str],
    alts: Sequence[str],
    start: int = 0,
    dpi: float = 80,
    colours: int = 128,
) -> Slider:
    """Draw figures into the positions of a slider, and close them.

    The title says what the slider changes, a label which value a position has, and an alt what its
    figure shows, for readers who cannot see it. Position `start` is shown first. Resolution and
    palette are small, so that a page with twenty pictures stays small.
    """
    if not len(figures) == len(labels) == len(alts) or not 0 <= start < len(figures):
        raise InputError(
            f"expected as many labels and alts as figures and a start among them, found "
            f"{len(figures)} figures, {len(labels)} labels, {len(alts)} alts, start {start}"
        )
    pictures = [_png(figure, dpi=dpi, colours=colours) for figure in figures]
    return Slider(title, tuple(zip(labels, alts, pictures, strict=True)), start)


def _png(figure: "Figure", *, dpi: float, colours: int) -> bytes:
    import matplotlib.pyplot as plt
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi, metadata={"Software": None})
    plt.close(figure)
    image = Image.open(drawn).convert("RGB")
    # the default, a median cut, spends all colours on the picture and none on thin outlines
    few = image.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(small, format="png", optimize=True)
    return small.getvalue()


def _hash(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()
