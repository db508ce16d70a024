"""Definitions that were mended without changing any number that a table holds.

A mended definition makes every run stale that can reach it, also those that never met the mistake.
To train them again would cost days and change no digit. So a mend is listed here: from which hash
to which, which runs it spares, and how that is known. All others are stale, and are run again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Parameters = Mapping[str, Any]


def _every(parameters: Parameters) -> bool:
    return True


@dataclass(frozen=True)
class Mend:
    """One definition before and after (`fingerprint`)."""

    name: str
    before: str
    after: str
    why: str  # the runs that it spares keep their numbers
    spares: Callable[[Parameters], bool] = _every  # runs with these parameters


def _dataset(pattern: str) -> Callable[[Parameters], bool]:
    """Spare runs on other datasets."""
    return lambda parameters: re.match(pattern, parameters["dataset"]) is None


def _of_a_mask(parameters: Parameters) -> bool:
    """Spare what scores a network that draws a mask; the name of its run says no other drawing."""
    drawn = "-(three-class|boundary|distance|stars|flows)-"
    return re.search(drawn, parameters["run"] or "") is None


def _went_to_its_end(parameters: Parameters) -> bool:
    """Spare trainings that no stop ended: of other recipes, and those that had all their epochs.

    Of four epochs all had all; of sixteen, four trainings of Table 1.
    """
    if not str(parameters.get("recipe")).startswith("morelli2021"):
        return True
    if parameters["profile"] == "laptop" and parameters["epochs"] in (None, 4):
        return True
    whole = (
        ("unet", None, 3),
        ("unet", False, 1),
        ("small-unet", None, 4),
        ("small-unet", False, 3),
    )
    return parameters["profile"] == "study" and (
        tuple(parameters[name] for name in ("arch", "weight_map", "seed")) in whole
    )


def _mends(
    why: str, *changes: tuple[str, str, str], spares: Callable[[Parameters], bool] = _every
) -> tuple[Mend, ...]:
    """Make the mends of one change: names of definitions, each before and after."""
    return tuple(Mend(*change, why, spares) for change in changes)


MENDED: tuple[Mend, ...] = (
    *_mends(
        "An epoch had fewer steps than it said where it had fewer crops than a batch. No "
        "committed run has a batch larger than 8, and only patches give fewer crops.",
        ("Batches", "dd91c94c", "0a482db3"),
        spares=_dataset("patches:[1-7]:"),
    ),
    *_mends(
        "A checkpoint knows the scale of the protocol, too. It decides whether a training goes "
        "on, not what it learns.",
        ("identity", "3f5babcb", "6b1a39d6"),
    ),
    *_mends(
        "Depths in a cell that fills the picture were not numbers, and would have been the end of "
        "a training. All others are what they were.",
        ("depths", "dc9b03da", "15b709c4"),
    ),
    *_mends(
        "Of two objects that touch at a corner and share a marker one vanished. In 3122 pictures "
        "of 55 networks, all whose heatmaps were still there, it never happened; of the others it "
        "is taken for granted.",
        ("flood_with_line", "633ccdcd", "08912803"),
    ),
    *_mends(
        "The largest number of a patch was taken for its count. In whole pictures it is the count.",
        ("_predict_mean", "d7718697", "98f8b242"),
        spares=_dataset("patches:"),
    ),
    *_mends(
        "Numbers below 1e-38 count as zero in a training. Where a network learns, every weight is "
        "the same to the last bit; where it has collapsed, biases that were zero moved by 1e-34.",
        ("prepare", "102de9c3", "a20b1426"),
        ("Prepared", "8f62f330", "b1712700"),
    ),
    *_mends(
        "Lengths that a network draws were those of its home where sizes are not harmonised; a "
        "mask has no lengths.",
        ("apply", "2de3258d", "46305345"),
        ("_home", "5002ade8", "d4ed056e"),
        spares=_of_a_mask,
    ),
    *_mends(
        "A cutoff was swept again from the heatmaps that the record of a run has it from.",
        ("_again", "faad97e9", "e2313271"),
        ("_home", "d4ed056e", "28072d91"),
    ),
    *_mends(
        "Schedule-Free AdamW came to the optimisers, which stay as they were.",
        ("Optimizer", "d98b27cc", "ee47e501"),
        ("Training", "c5150319", "269b6b7d"),
        ("fit", "76740882", "faf60fa3"),
        ("make_learner", "097e4194", "cf032625"),
        ("optimizer", "bd966223", "9aa0869d"),
    ),
    *_mends(
        "The same pixels, found in less time.",
        ("Cleaning", "678a7da2", "2b9e0a2e"),
        ("drop_small", "372f15fa", "f1942fa6"),
        ("listed", "6112a6fb", "4f5e753f"),
    ),
    *_mends(
        "A name was mended.",
        ("_again", "e2313271", "55d0b590"),
    ),
    *_mends(
        "To score anew failed where a training had ended in NaN.",
        ("_again", "55d0b590", "a27f0db2"),
        ("load_model", "5ac67455", "324262dc"),
        ("restore", "afcb2299", "886680df"),
    ),
    *_mends(
        "A shortened recipe of 2021 stopped after two epochs without a gain, at a patience of one; "
        "its stop is five times the patience now, as published. No other recipe stops.",
        ("Recipe", "93b5f88c", "496acc6c"),
        spares=_went_to_its_end,
    ),
    *_mends(
        "A recipe that stops and never lowers its rate could not be shortened. There is none.",
        ("Recipe", "496acc6c", "00265491"),
    ),
)


def as_now(name: str, old: str, parameters: Parameters, mends: tuple[Mend, ...] = MENDED) -> str:
    """Return the hash that a definition has now if only mends lie between; else an earlier one.

    Examples
    --------
    >>> mends = (Mend("f", "1", "2", "said louder"), Mend("f", "2", "3", "said again"))
    >>> as_now("f", "1", {}, mends), as_now("f", "0", {}, mends)
    ('3', '0')
    """
    for mend in mends:
        if (mend.name, mend.before) == (name, old) and mend.spares(parameters):
            old = mend.after
    return old
