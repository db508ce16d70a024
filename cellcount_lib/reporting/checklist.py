"""A reporting checklist that is filled from a run: ``cellcount report checklist``.

The items are those of three guidelines that matter for a count by segmentation: Metrics Reloaded
(Maier-Hein et al. 2024), CLAIM (Mongan et al. 2020) and REFORMS (Kapoor et al. 2024). An answer is
what the run's files say, or what the library knows of the names in them; what no file can know is
asked of the author, and nothing is guessed.

References
----------
Maier-Hein et al. (2024), "Metrics reloaded: recommendations for image analysis validation", Nature
Methods 21:195.
Mongan, Moy, Kahn (2020), "Checklist for Artificial Intelligence in Medical Imaging (CLAIM)",
Radiology: Artificial Intelligence 2(2):e200029.
Kapoor et al. (2024), "REFORMS: consensus-based recommendations for machine-learning-based science",
Science Advances 10(18):eadk3452.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cellcount_lib.reporting import data_answers as of_data
from cellcount_lib.reporting import score_answers as of_scores
from cellcount_lib.reporting import training_answers as of_training
from cellcount_lib.reporting.evidence import Evidence

ASKED = "*To be filled in by you:*"
COMMIT = "the commit of `cellcount-book`, and your own scripts."


class Item(NamedTuple):
    """An item: where guidelines ask for it, what the files say, what is left to the author."""

    name: str
    asked_by: str  # guidelines, with the part of theirs
    answer: Callable[[Evidence], str]  # empty: nothing is known
    ask: str = ""  # asked of the author, always, also beside an answer
    missing: str = ""  # asked of the author where the answer is empty


def nothing(evidence: Evidence) -> str:
    """Know nothing."""
    return ""


SECTIONS: Mapping[str, Sequence[Item]] = {
    "The question": [
        Item(
            "Aim",
            "REFORMS: study goals; CLAIM: study design",
            nothing,
            "what is counted, in which tissue or culture, and which statement the counts support.",
        ),
        Item(
            "Kind of problem",
            "Metrics Reloaded: problem fingerprint",
            lambda evidence: "Objects are found one by one (instance segmentation), then counted.",
            "which error costs more in your study, a missed cell or a false one, and whether the "
            "outline matters or the count alone.",
        ),
        Item(
            "Why a network",
            "REFORMS: study goals",
            nothing,
            "what Otsu's threshold gives on the same test pictures, and what an always equal count "
            "would.",
        ),
    ],
    "Data": [
        Item("Source", "CLAIM: data; REFORMS: data quality", of_data.data_source),
        Item(
            "Licence and consent",
            "REFORMS: reproducibility",
            of_data.licence,
            missing="under which licence the pictures can be had, or why they cannot; approval of "
            "the experiments.",
        ),
        Item(
            "Acquisition",
            "CLAIM: data",
            of_data.drawn("Drawn by the simulator; no microscope took part."),
            missing="microscope, objective, stain, exposure, pixel size, dates, and who prepared "
            "the specimens.",
        ),
        Item(
            "Sample size",
            "CLAIM: data partitions; REFORMS: data quality",
            of_data.sizes,
            "how many animals, slides or wells the pictures come from, and why so many.",
        ),
        Item(
            "Exclusions",
            "CLAIM: data",
            of_data.drawn("None: all pictures that were drawn are in one part of the split."),
            missing="which pictures were left out, by which rule, before or after a count was "
            "seen.",
        ),
    ],
    "Reference": [
        Item(
            "Annotators",
            "CLAIM: reference standard",
            of_data.drawn(
                "Nobody: the simulator wrote the labels, those of neurons mostly with the errors "
                "of half-automatic labelling."
            ),
            missing="how many people labelled, their training, the program, and whether they saw "
            "the output of a network first.",
        ),
        Item(
            "Labels in training",
            "CLAIM: reference standard",
            of_data.labels,
        ),
        Item(
            "Agreement between people",
            "CLAIM: reference standard; Metrics Reloaded",
            of_data.drawn("Nobody labelled a second time."),
            missing="F1 and difference of counts of two people on the same pictures.",
        ),
    ],
    "Split and leakage": [
        Item(
            "Split",
            "CLAIM: data partitions; REFORMS: data leakage",
            of_data.split_rule,
            missing="how pictures were dealt out to training, validation and test.",
        ),
        Item(
            "Pictures in two parts",
            "REFORMS: data leakage",
            of_data.copies,
            missing="whether a picture, or a piece of it, stands in two parts.",
        ),
        Item(
            "Animals, slides or days in two parts",
            "CLAIM: data partitions; REFORMS: data leakage",
            of_data.shared_units,
            missing="by which unit (animal, slide, day) the parts are apart; `--unit COLUMN` looks "
            "it up in index.csv.",
        ),
        Item(
            "Use of the test pictures",
            "REFORMS: data leakage",
            of_scores.use_of_test,
            "how often you looked at test scores and then changed something.",
        ),
    ],
    "Pictures before the network": [
        Item("Preprocessing", "CLAIM: data; REFORMS: preprocessing", of_training.preprocessing),
        Item("Augmentation", "CLAIM: training", of_training.augmentation),
    ],
    "Model and training": [
        Item(
            "Architecture",
            "CLAIM: model; REFORMS: modeling",
            of_training.architecture,
        ),
        Item("Initial weights", "CLAIM: model", of_training.initialisation),
        Item("Loss", "CLAIM: training", of_training.loss),
        Item("Optimiser and steps", "CLAIM: training", of_training.optimiser),
        Item(
            "Selection of the model",
            "CLAIM: training",
            of_training.selection,
        ),
        Item(
            "Alternatives that were tried",
            "REFORMS: modeling",
            nothing,
            "which other networks, losses and settings you trained, and on what you chose.",
        ),
        Item("Seeds", "REFORMS: metrics and uncertainty", of_training.seeds),
    ],
    "Evaluation": [
        Item("Protocol", "Metrics Reloaded; CLAIM: evaluation", of_scores.ruler),
        Item("Cutoff", "Metrics Reloaded; REFORMS: data leakage", of_scores.cutoff),
        Item(
            "Scores with intervals",
            "Metrics Reloaded; CLAIM: results; REFORMS: metrics and uncertainty",
            of_scores.scores,
            missing="scores on labelled test pictures; there were none.",
        ),
        Item("Failures", "CLAIM: results", of_scores.failures),
        Item(
            "Groups of pictures",
            "CLAIM: evaluation; REFORMS: generalizability",
            nothing,
            "the same scores by condition, day and density: an error that differs between "
            "conditions looks like an effect.",
        ),
        Item(
            "Pictures from elsewhere",
            "CLAIM: evaluation; REFORMS: generalizability",
            nothing,
            "scores on pictures of another laboratory, or that there are none.",
        ),
    ],
    "The counts": [
        Item(
            "Counting",
            "CLAIM: results",
            of_scores.counted,
            missing="how other pictures were counted; `--counts counts.csv` fills it in.",
        ),
        Item(
            "Agreement with hand counts",
            "Metrics Reloaded; CLAIM: results",
            of_scores.calibration,
            missing="hand counts of at least nine pictures; `--intervals intervals.csv` of "
            "`cellcount calibrate` fills it in.",
        ),
    ],
    "To do it again": [
        Item("Machine and time", "REFORMS: reproducibility", of_scores.hardware),
        Item(
            "Software",
            "CLAIM: model; REFORMS: reproducibility",
            of_scores.software,
            missing="the versions; `cellcount doctor` prints those of this machine.",
        ),
        Item("Code", "REFORMS: reproducibility", of_scores.code, missing=COMMIT),
        Item(
            "Availability",
            "CLAIM: other information; REFORMS: reproducibility",
            lambda evidence: "`cellcount-book` is under Apache-2.0.",
            "where pictures, labels, split, weights and this checklist can be had.",
        ),
        Item(
            "Limits",
            "REFORMS: generalizability",
            nothing,
            "for which pictures the counts should not be trusted.",
        ),
    ],
}


def to_markdown(evidence: Evidence) -> str:
    """Write the checklist; nothing in it but the items' answers depends on the run."""
    run, body, known, asked = evidence.run, [], 0, 0
    for title, items in SECTIONS.items():
        body += ["", f"## {title}", ""]
        for item in items:
            answer = item.answer(evidence)
            ask = item.ask if answer else " ".join(filter(None, [item.missing, item.ask]))
            known, asked = known + bool(answer), asked + bool(ask)
            left = f"{ASKED} {ask}" if ask else ""
            said = " ".join(filter(None, [answer, left]))
            body.append(f"- **{item.name}** ({item.asked_by}). {said}")
    names = ", ".join(f"`{one.name}`" for one in evidence.runs)
    head = (
        f"Of {sum(map(len, SECTIONS.values()))} items, {known} are answered from the files of "
        f"{names}, and {asked} ask you for something that no file can know. What those files do "
        "not say is not guessed."
    )
    what = "trained" if run.recipe else "scored without training"
    return "\n".join([f"# Reporting checklist of a run, {what}", "", head, *body, ""])
