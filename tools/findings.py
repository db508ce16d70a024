"""Write the pages "What we found" and "Which one should I use?" from book/findings.yml.

The file holds sentences, and under each the claims that carry it, with the strength of their
evidence when the sentence was written. The evidence is computed from the committed results
(`cellcount_lib/tables/findings.py`). Where it has changed, this is an error: the sentence is to be
read again, and the strength typed again.

    python -m tools.findings      prints every claim with its evidence
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cellcount_lib.errors import DataError
from cellcount_lib.scoring.letters import ALPHA
from cellcount_lib.tables.findings import (
    AGAINST,
    OPEN,
    SEEN,
    SHOWN,
    Claim,
    Evidence,
    evidence,
    of_several,
    tabled,
)
from cellcount_lib.tables.quoted import slug
from cellcount_lib.tables.render import DIGITS
from tools.book_pages import markdown

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "book" / "findings.yml"
STRENGTHS = (SHOWN, SEEN, OPEN, AGAINST + SHOWN, AGAINST + SEEN)
HEADER = ("row", "against", "difference", "evidence", "trainings; pictures", "published difference")


@dataclass(frozen=True)
class Finding:
    """A sentence, what it says in full, where it is taught, and the evidence for it."""

    title: str
    text: str
    chapter: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Choice:
    """What to take in a situation, and the evidence for it."""

    when: str
    take: str
    evidence: tuple[Evidence, ...]


def read(source: Path = SOURCE, results: Path = ROOT / "results") -> tuple[list[Any], list[Any]]:
    """Return the findings and the choices, their evidence computed and compared with the text."""
    given = yaml.safe_load(source.read_text())
    parts = [*given["found"], *given["which"]]
    asked = [claim for part in parts for claim in part["claims"]]
    found = evidence([_claim(claim) for claim in asked], tabled(results))
    changed = [
        f"  {e.claim.table}: {e.claim.row!r} over {e.claim.than!r}: the text says "
        f"{claim['strength']!r}, the results say {e.strength!r}"
        for claim, e in zip(asked, found, strict=True)
        if claim["strength"] != e.strength
    ]
    if changed:
        few = "\n".join(changed)
        raise DataError(
            f"{source.name}: the evidence is not what the text was written from:\n{few}\n"
            "read these sentences again, change them, and type the new strength"
        )
    by_part = iter(found)
    made: list[Any] = []
    for part in parts:
        mine = tuple(next(by_part) for _ in part["claims"])
        words = {key: str(value).strip() for key, value in part.items() if key != "claims"}
        made.append((Choice if "when" in part else Finding)(**words, evidence=mine))
    n = len(given["found"])
    return made[:n], made[n:]


def _claim(given: Mapping[str, Any]) -> Claim:
    if given.get("strength") not in STRENGTHS:
        raise DataError(
            f"{given}: strength: expected one of {', '.join(STRENGTHS)}, found "
            f"{given.get('strength')!r}"
        )
    return Claim(**{key: value for key, value in given.items() if key != "strength"})


def found_page(findings: Sequence[Finding]) -> str:
    """Every finding with its evidence."""
    parts = []
    for number, finding in enumerate(findings, 1):
        parts += [f"## {number}. {finding.title}", "", f"{finding.text} {_taught(finding.chapter)}"]
        parts += ["", _table(finding.evidence), ""]
    return "\n".join(parts)


def published_claims(findings: Sequence[Finding]) -> str:
    """Every claim that was published, with what has become of it here."""
    rows = []
    for e in (e for finding in findings for e in finding.evidence if e.published is not None):
        rows.append((f"{e.claim.row} over {e.claim.than}", _signed(e, e.published), _here(e)))
    return markdown(("claim", "published difference", "here"), rows)


def _here(e: Evidence) -> str:
    """What has become of a published difference."""
    if e.strength == OPEN:
        return "not decided"
    same = (e.published or 0) * (e.values[0] - e.values[1]) > 0
    return f"{'the same' if same else 'the other way round'}, {e.strength.removeprefix(AGAINST)}"


def which_page(choices: Sequence[Choice]) -> str:
    """What to take when, and the evidence."""
    parts = []
    for choice in choices:
        parts += [f"## {choice.when}", "", choice.take, "", _table(choice.evidence), ""]
    return "\n".join(parts)


def _taught(chapter: str) -> str:
    return f"More in [chapter {int(chapter[:2])}](chapters/{chapter}.ipynb)."


def _table(found: Sequence[Evidence]) -> str:
    return markdown(HEADER, [_row(e) for e in found])


def _row(e: Evidence) -> Iterator[str]:
    labels = (e.claim.row, e.claim.than)
    for label, value, parts in zip(labels, e.values, e.parts, strict=True):
        title = f", {e.title}" if label == e.claim.row else ""
        links = ", ".join(_link(e, *part) for part in parts.items())
        if of_several(label):
            together = f"{label.replace('?', '1, 2, …')}, together{title}"
            yield f"{together}: {_number(e, value)} ({links})"
        else:
            yield f"{label}{title}: {links}"
    less = e.difference
    if less is None:
        yield _signed(e, e.values[0] - e.values[1])
    else:
        yield f"{_signed(e, less.value)} ({_signed(e, less.low)} to {_signed(e, less.high)})"
    yield e.strength + _decided_by(e)
    kind = "simulated" if e.simulated else "real"
    trainings = " and ".join(str(len(r.seeds)) if r.trained else "none" for r in (e.row, e.than))
    yield f"{trainings}, `{e.profile}`; {len(e.row.pictures)} {kind}"
    yield "–" if e.published is None else _signed(e, e.published)


def _decided_by(e: Evidence) -> str:
    if e.strength != OPEN:
        return ""
    if e.difference is None:
        return ": too few trainings"
    if e.difference.p <= ALPHA:
        return ": shown alone, not among so many claims"
    if e.trainings is None:
        return ": more pictures are needed"
    return f": {e.trainings} trainings would decide"


def _link(e: Evidence, label: str, value: float) -> str:
    place = f"{e.claim.table}@{e.profile}/{slug(label)}/{e.claim.score}"
    return f"[{_number(e, value)}](result:{place})"


def _number(e: Evidence, value: float) -> str:
    return f"{value:.{DIGITS.get(e.claim.score, 3)}f}"


def _signed(e: Evidence, value: float) -> str:
    return f"{value:+.{DIGITS.get(e.claim.score, 3)}f}"


def pages() -> dict[str, str]:
    """Return the generated parts of both pages, by name."""
    findings, choices = read()
    return {
        "found": found_page(findings),
        "published_claims": published_claims(findings),
        "which": which_page(choices),
    }


if __name__ == "__main__":
    for part in pages().values():
        print(part)
