"""How sure is it that a row is better: by made results, and in the words of the book."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.runs.grid import NETWORK, WITHOUT, Grid, Row, Run
from cellcount_lib.tables.collect import Results
from cellcount_lib.tables.findings import Claim, Tabled, evidence, tabled
from tests.tables.made_results import BAD, GOOD, results
from tools import findings as pages

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Made:
    """Stands where `findings.Tabled` would: results that no run has made."""

    results: Results
    profile: str = "laptop"
    untrained: tuple[str, ...] = ()
    published: dict | None = None

    @property
    def grid(self):
        rows = tuple(
            Row(
                label,
                {"f1": self.published[label]} if self.published else {},
                (Run(WITHOUT if label in self.untrained else NETWORK, {"dataset": "simulated"}),),
            )
            for label in dict.fromkeys(self.results.runs["label"])
        )
        return Grid("made", "", "", "", {"f1": "F1"}, rows)

    rows, counts, scores = Tabled.rows, Tabled.counts, Tabled.scores


def less(tp, by):
    return [t - by for t in tp]


def found(*tables, row="a", than="b", score="f1"):
    (one,) = evidence([Claim("made", score, row, than)], tables)
    return one


def test_three_trainings_show_a_difference_that_pictures_and_seeds_share():
    made = found(Made(results(a=[GOOD, less(GOOD, 1), GOOD], b=[BAD, less(BAD, 1), BAD])))
    assert made.strength == "shown"
    assert made.difference.low > 0
    f1 = [[2 * sum(s) / (sum(s) + 80) for s in seeds] for seeds in (
        [GOOD, less(GOOD, 1), GOOD], [BAD, less(BAD, 1), BAD]
    )]  # fmt: skip
    assert made.values == pytest.approx([np.mean(f1[0]), np.mean(f1[1])])
    assert made.difference.value == pytest.approx(np.mean(f1[0]) - np.mean(f1[1]))
    turned = Made(results(a=[BAD, less(BAD, 1), BAD], b=[GOOD, less(GOOD, 1), GOOD]))
    assert found(turned).strength == "against: shown"


def test_a_lower_error_is_better():
    made = Made(results(a=[GOOD, less(GOOD, 1), GOOD], b=[BAD, less(BAD, 1), BAD]))
    assert found(made, score="mae").strength == "shown"
    assert found(made, score="mae").difference.high < 0


def test_two_trainings_are_seen_where_all_are_apart_on_most_pictures():
    assert found(Made(results(a=[GOOD, less(GOOD, 1)], b=[BAD, less(BAD, 1)]))).strength == "seen"
    assert found(Made(results(a=[GOOD, BAD], b=[BAD, BAD]))).strength == "open"
    assert found(Made(results(a=[GOOD], b=[BAD]))).strength == "open"
    # apart, but all of it in one of eight pictures
    one_picture = [*BAD[:7], 10]
    assert found(Made(results(a=[one_picture] * 2, b=[BAD, BAD]))).strength == "open"


def test_folds_are_one_row_of_all_their_pictures():
    made = results(
        **{"fold 1": [GOOD, less(GOOD, 1), GOOD], "fold 2": [BAD] * 3},
        **{"fold 1, Otsu": [BAD], "fold 2, Otsu": [BAD]},
    )
    second = made.images["run"].str.startswith("fold 2")
    made.images.loc[second, "image"] = "q" + made.images.loc[second, "image"]
    otsu = ("fold 1, Otsu", "fold 2, Otsu")
    both = found(Made(made, untrained=otsu), row="fold ?", than="fold ?, Otsu")
    assert len(both.row.pictures) == len(both.than.pictures) == 16
    assert (both.row.seeds, both.row.trained, both.than.trained) == ([0, 1, 2], True, False)
    # of 160 cells: F1 of each seed from its sixteen pictures
    tp = [sum(first) + sum(BAD) for first in (GOOD, less(GOOD, 1), GOOD)]
    assert both.values == pytest.approx(
        [np.mean([2 * t / (t + 160) for t in tp]), 4 * sum(BAD) / (2 * sum(BAD) + 160)]
    )
    assert both.published is None
    first, second, *_ = pages._row(both)
    # and where each of them comes from: of 80 cells, the mean of three seeds, or one run
    good, bad = (sum(seed) for seed in (GOOD, BAD))
    one = np.mean([2 * t / (t + 80) for t in (good, sum(less(GOOD, 1)), good)])
    other = 2 * bad / (bad + 80)
    assert first == (
        f"fold 1, 2, …, together, F1: {both.values[0]:.3f} "
        f"([{one:.3f}](result:made@laptop/fold-1/f1), [{other:.3f}](result:made@laptop/fold-2/f1))"
    )
    assert second == (
        f"fold 1, 2, …, Otsu, together: {both.values[1]:.3f} "
        f"([{other:.3f}](result:made@laptop/fold-1-otsu/f1), "
        f"[{other:.3f}](result:made@laptop/fold-2-otsu/f1))"
    )
    repeated = results(**{"fold 1": [GOOD], "fold 2": [GOOD], "b": [BAD]})
    with pytest.raises(InputError, match="expected every picture once"):
        found(Made(repeated), row="fold ?")


def test_what_is_not_trained_needs_no_second_training():
    made = results(a=[GOOD], b=[BAD, less(BAD, 1)])
    assert found(Made(made, untrained=("a",))).strength == "seen"
    assert found(Made(made)).strength == "open"
    both = results(a=[GOOD], b=[BAD])
    assert found(Made(both, untrained=("a", "b"))).strength == "shown"


def test_one_picture_shows_nothing():
    one, other = [GOOD[:1], less(GOOD[:1], 1)], [BAD[:1], less(BAD[:1], 1)]
    assert min(one) > max(other)
    assert found(Made(results(a=one, b=other))).strength == "open"


def test_a_score_with_a_sign_is_no_claim():
    with pytest.raises(InputError, match="mpe_percent has a sign, take mae"):
        Claim("made", "mpe_percent", "a", "b")


def test_more_claims_ask_for_more():
    """Holm: of three with p in (0.0167, 0.05), none is shown; alone, each is."""
    seeds = np.random.default_rng(39).integers(3, 10, (6, 8)).tolist()
    made = Made(results(a=seeds[:3], b=seeds[3:]))
    assert 0.0167 < found(made).difference.p < 0.05
    claim = Claim("made", "f1", "a", "b")
    assert evidence([claim], [made])[0].strength.endswith("shown")
    assert [e.strength for e in evidence([claim] * 3, [made])] == ["open"] * 3


def test_the_longest_training_that_has_an_interval_is_taken():
    short = Made(results(a=[GOOD] * 3, b=[BAD] * 3), "laptop")
    long = Made(results(a=[BAD] * 2, b=[GOOD] * 2), "study")
    assert found(long, short).profile == "laptop"
    assert found(long, Made(results(a=[GOOD] * 2, b=[BAD] * 2))).profile == "study"
    longer = Made(results(a=[BAD] * 3, b=[GOOD] * 3), "study")
    assert found(longer, short).strength == "against: shown"


def test_the_published_difference_stands_beside():
    made = Made(results(a=[GOOD], b=[BAD]), published={"a": 0.7, "b": 0.8})
    assert found(made).published == pytest.approx(-0.1)
    assert found(Made(results(a=[GOOD], b=[BAD]))).published is None


def test_a_published_difference_is_found_again_or_the_other_way_round():
    seeds = {"a": [GOOD, less(GOOD, 1)], "b": [BAD, less(BAD, 1)]}
    said = {
        (0.8, 0.7): "the same, seen",
        (0.7, 0.8): "the other way round, seen",
    }
    for (a, b), here in said.items():
        assert pages._here(found(Made(results(**seeds), published={"a": a, "b": b}))) == here
    turned = Made(results(a=seeds["b"], b=seeds["a"]), published={"a": 0.8, "b": 0.7})
    assert pages._here(found(turned)) == "the other way round, seen"
    few = Made(results(a=[GOOD], b=[BAD]), published={"a": 0.8, "b": 0.7})
    assert pages._here(found(few)) == "not decided"


def test_names_that_are_not_there_are_named():
    made = Made(results(a=[GOOD], b=[BAD]))
    with pytest.raises(InputError, match="table 'other'"):
        evidence([Claim("other", "f1", "a", "b")], [made])
    with pytest.raises(InputError, match="row of made 'c'"):
        found(made, than="c")


@pytest.fixture(scope="module")
def source():
    return yaml.safe_load(pages.SOURCE.read_text())


def test_sentences_of_the_book_are_as_sure_as_their_evidence():
    findings, choices = pages.read()
    assert 10 <= len(findings) <= 12
    assert len({finding.title for finding in findings}) == len(findings)
    assert choices


def test_every_chapter_of_a_finding_is_there(source):
    for finding in source["found"]:
        assert (ROOT / "chapters" / f"{finding['chapter']}.ipynb").exists()


def test_a_sentence_from_other_evidence_stops_the_book(source, tmp_path):
    claim = source["found"][0]["claims"][0]
    assert claim["strength"] == "shown"
    claim["strength"] = "against: shown"
    (tmp_path / "changed.yml").write_text(yaml.safe_dump(source))
    with pytest.raises(DataError, match=rf"{claim['row']}.* the results say 'shown'"):
        pages.read(tmp_path / "changed.yml")
    claim["strength"] = "sure"
    (tmp_path / "changed.yml").write_text(yaml.safe_dump(source))
    with pytest.raises(DataError, match="expected one of shown, seen, open"):
        pages.read(tmp_path / "changed.yml")


def test_pages_say_how_many_trainings_would_decide():
    seeds = np.random.default_rng(1).integers(3, 10, (6, 8)).tolist()
    one = found(Made(results(a=seeds[:3], b=seeds[3:])))
    assert (one.strength, one.trainings) == ("open", 11)
    *_, sure, trainings, published = pages._row(one)
    assert sure == "open: 11 trainings would decide"
    assert (trainings, published) == ("3 and 3, `laptop`; 8 simulated", "–")


def test_what_is_shown_alone_and_not_among_all_claims_says_so():
    a, b = [less(GOOD, n) for n in (0, 1, 2)], [less(GOOD, n) for n in (2, 3, 5)]
    one = found(Made(results(a=a, b=b)))
    assert 0.001 < one.difference.p < 0.05
    many = [Claim("made", "f1", "a", "b")] * 60
    among = evidence(many, [Made(results(a=a, b=b))])[0]
    assert (one.strength, among.strength) == ("shown", "open")
    assert list(pages._row(among))[3] == "open: shown alone, not among so many claims"


def test_committed_tables_are_found_longest_first():
    profiles = [table.profile for table in tabled(ROOT / "results")]
    assert profiles == sorted(profiles, key=("study", "laptop").index)
