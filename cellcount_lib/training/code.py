"""Which code decides what a training gives: what makes its checkpoint or its record stale."""

from cellcount_lib.data.datasets import entries_of
from cellcount_lib.fingerprint import Chosen, closure
from cellcount_lib.losses import made_of
from cellcount_lib.training.spec import Training

ENTRIES = ("Training", "read_data", "prepare", "evaluate")


def training_code(training: Training) -> dict[str, str]:
    """Return a hash for every definition that this training can reach; see `fingerprint`."""
    return closure(ENTRIES, chosen_by(training))


def chosen_by(training: Training) -> Chosen:
    """Return the names that a training asks for, by the kind of their registry."""
    plan, _ = training.resolved()
    presets, formulas = made_of(plan.loss)
    return entries_of(training.dataset) | {
        "recipe": {training.recipe},
        "profile": {training.profile},
        "crop sampling": {plan.sampling},
        "labelling": {training.labels} if training.labels else set(),
        "protocol": {training.protocol},
        "model": {training.arch},
        "loss": presets,
        "formula of a loss": formulas,
        "formulation": {plan.loss},
    }
