"""The losses of the study S1, on logits, by name; and the one of S3.

>>> import torch
>>> loss = build("dice")
>>> loss(torch.zeros(2, 1, 8, 8), torch.ones(2, 8, 8))  # 1 - 2 * 32 / (64 + 32)
tensor(0.3333)

`LOSSES` are the formulas, `PRESETS` their settings in the published experiments. **A preset has the
value that S1 prints; where S1 gives none, that of the released code R23.** Where the two differ,
R23's value has a preset of its own whose name ends in "-r23":

========================  =========================  ======================
\\                         S1 (preset)                R23 (preset "-r23")
========================  =========================  ======================
Focal Tversky, exponent   2                          4/3
CellViT weights           0.5, 0.3, 0.5              0.5, 0.2, 0.5
========================  =========================  ======================

S1 contradicts itself on Dice: its formula has smooth = 1 ("dice-smooth-1"), its table of settings,
and R23, 1e-6 ("dice").

The constants are not all: R23 applies an activation twice, and more (`historical`). What it trained
with, as a whole, has the presets "released-...", one for each of the twelve. Its Focal Tversky, the
best of the published table, is of two classes, twice activated, with the exponent 4/3.

Taught in: 05_losses.
"""

import inspect
from typing import Any

from cellcount_lib.errors import unknown_name
from cellcount_lib.losses.base import Loss, cell_logit
from cellcount_lib.losses.combined import Combined, CombinedFT
from cellcount_lib.losses.formulated import (
    Bell,
    DistanceMap,
    Flow,
    Instances,
    StarConvex,
    ThreeClass,
)
from cellcount_lib.losses.historical import (
    DoubleActivation,
    ReleasedCombined,
    ReleasedCombinedFT,
    TwoClassDice,
    TwoClassFocalTversky,
)
from cellcount_lib.losses.pixel import Focal, WeightedBCE
from cellcount_lib.losses.region import Dice, FocalTversky, Tversky
from cellcount_lib.registry import Registry

__all__ = ["LOSSES", "PRESETS", "STUDY", "Loss", "build", "cell_logit", "made_of", "names"]

LOSSES: Registry[type[Loss]] = Registry(
    "formula of a loss",
    {
        "bce": WeightedBCE,
        "dice": Dice,
        "focal": Focal,
        "tversky": Tversky,
        "focal-tversky": FocalTversky,
        "combined": Combined,
        "combinedft": CombinedFT,
        "three-class": ThreeClass,
        "boundary-bell": Bell,
        "distance": DistanceMap,
        "instances": Instances,
        "stars": StarConvex,
        "flows": Flow,
        "historical.double-activation": DoubleActivation,
        "historical.two-class-dice": TwoClassDice,
        "historical.two-class-focal-tversky": TwoClassFocalTversky,
        "historical.combined": ReleasedCombined,
        "historical.combinedft": ReleasedCombinedFT,
    },
)

TWICE = "historical.double-activation"
# weights of the three terms of the Combined losses
BALANCED = {"bce": 0.3, "dice": 0.3, "focal": 0.4}
OVERCROWD = {"bce": 0.2, "dice": 0.5, "focal": 0.3}
CELLVIT = {"bce": 0.5, "dice": 0.3, "focal": 0.5}
CELLVIT_R23 = {"bce": 0.5, "dice": 0.2, "focal": 0.5}

PRESETS: Registry[tuple[str, dict[str, Any]]] = Registry(
    "loss",
    {
        # The twelve configurations of S1, five seeds each.
        "bce-low": ("bce", {"cell_weight": 50.0, "mean_over": "weights"}),
        "bce-medium": ("bce", {"cell_weight": 100.0, "mean_over": "weights"}),
        "bce-high": ("bce", {"cell_weight": 200.0, "mean_over": "weights"}),
        "dice": ("dice", {"smooth": 1e-6}),
        "focal": ("focal", {"gamma": 2.0}),
        "focal-tversky": ("focal-tversky", {"gamma": 2.0, "alpha": 0.7, "beta": 0.3}),
        "combined-balanced": ("combined", BALANCED),
        "combined-overcrowd": ("combined", OVERCROWD),
        "combined-cellvit": ("combined", CELLVIT),
        "combinedft-balanced": ("combinedft", BALANCED),
        "combinedft-overcrowd": ("combinedft", OVERCROWD),
        "combinedft-cellvit": ("combinedft", CELLVIT),
        # The same where S1 and R23 differ.
        "dice-smooth-1": ("dice", {"smooth": 1.0}),
        "focal-tversky-r23": ("focal-tversky", {"gamma": 4 / 3, "alpha": 0.7, "beta": 0.3}),
        "combined-cellvit-r23": ("combined", CELLVIT_R23),
        "combinedft-cellvit-r23": ("combinedft", CELLVIT_R23),
        # What R23 trained with.
        "released-bce-low": (TWICE, {"of": "bce-low"}),
        "released-bce-medium": (TWICE, {"of": "bce-medium"}),
        "released-bce-high": (TWICE, {"of": "bce-high"}),
        "released-dice": (TWICE, {"of": "historical.two-class-dice"}),
        "released-focal": (TWICE, {"of": "focal"}),
        "released-focal-tversky": (TWICE, {"of": "historical.two-class-focal-tversky"}),
        "released-combined-balanced": (TWICE, {"of": "historical.combined"} | BALANCED),
        "released-combined-overcrowd": (TWICE, {"of": "historical.combined"} | OVERCROWD),
        "released-combined-cellvit": (TWICE, {"of": "historical.combined"} | CELLVIT_R23),
        "released-combinedft-balanced": (TWICE, {"of": "historical.combinedft"} | BALANCED),
        "released-combinedft-overcrowd": (TWICE, {"of": "historical.combinedft"} | OVERCROWD),
        "released-combinedft-cellvit": (TWICE, {"of": "historical.combinedft"} | CELLVIT_R23),
        # S3: cells 1.5, background 1, as in S0 and R21 (S3 swaps them). The weight map, where there
        # is one, gives cells another 1.5: 2.25 together, as in R21.
        "wbce-2021": ("bce", {"cell_weight": 1.5, "mean_over": "pixels"}),
        # Other questions than "cell or not" (`formulations`): outlines of so many pixels.
        "three-class-2": ("three-class", {"boundary_weight": 4.0}),
        "three-class-4": ("three-class", {"boundary_weight": 4.0}),
        "three-class-6": ("three-class", {"boundary_weight": 4.0}),
        "three-class-8": ("three-class", {"boundary_weight": 4.0}),
        "boundary-2": ("combined", BALANCED),
        "boundary-4": ("combined", BALANCED),
        "boundary-6": ("combined", BALANCED),
        "boundary-8": ("combined", BALANCED),
    },
)

STUDY: tuple[str, ...] = tuple(PRESETS)[:12]


def names() -> list[str]:
    """Return every name that `build` knows: presets first, then formulas."""
    return list(dict.fromkeys([*PRESETS, *LOSSES]))


def made_of(name: str) -> tuple[set[str], set[str]]:
    """Return the names that `build` looks up for a loss, in `PRESETS` and in `LOSSES`.

    Examples
    --------
    >>> presets, formulas = made_of("released-bce-low")
    >>> sorted(presets), sorted(formulas)
    (['bce-low', 'released-bce-low'], ['bce', 'historical.double-activation'])
    """
    formula, settings = PRESETS.get(name, (name, {}))
    presets, formulas = ({name} & {*PRESETS}, {formula})
    if formula == TWICE:
        more = made_of(settings.get("of", "dice"))
        presets, formulas = presets | more[0], formulas | more[1]
    return presets, formulas


def build(name: str, **settings: Any) -> Loss:
    """Build a loss from its name; settings override those of the preset.

    Parameters
    ----------
    name : str
        A name of `PRESETS` or `LOSSES`; see `names`.
    **settings
        Arguments of the class in `LOSSES`. For "historical.double-activation", ``of`` is the name
        of the misled loss ("dice" unless given), to which all other settings go.

    Examples
    --------
    >>> build("bce-low").cell_weight, build("bce-low", cell_weight=60.0).cell_weight
    (50.0, 60.0)
    """
    if name not in PRESETS and name not in LOSSES:
        raise unknown_name("loss", name, names())
    formula, preset = PRESETS.get(name, (name, {}))
    settings = preset | settings
    if formula == TWICE:
        return DoubleActivation(build(settings.pop("of", "dice"), **settings))
    known = inspect.signature(LOSSES[formula]).parameters
    for setting in settings:
        if setting not in known:
            raise unknown_name(f"setting of the loss {name!r}:", setting, known)
    return LOSSES[formula](**settings)
