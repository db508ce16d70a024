"""What is known of the network of a run and its training, item by item of the checklist."""

from collections.abc import Callable
from functools import wraps

from cellcount_lib import losses
from cellcount_lib.methods.score import METHODS
from cellcount_lib.reporting.evidence import Evidence, sentence, settings
from cellcount_lib.reporting.known import named


def of_trained(answer: Callable[[Evidence], str]) -> Callable[[Evidence], str]:
    """Answer for a trained network; of other methods say that nothing was trained."""

    @wraps(answer)
    def either(evidence: Evidence) -> str:
        if evidence.run.recipe:
            return answer(evidence)
        name = evidence.run.parameters.get("method", "")
        return f"Not trained: `{name}`, {METHODS[name].description}."

    return either


def preprocessing(evidence: Evidence) -> str:
    """Say what becomes of a picture before the network sees it."""
    run = evidence.run
    width, asked = run.profile.get("cell_px"), run.parameters
    if run.scale:
        size = f"pictures are resized by {run.scale:g}"
    elif width:
        size = f"pictures are reduced until the median cell is {width:g} pixels wide"
    else:
        size = "pictures keep their size" if run.profile else ""
    stretch = "intensities are stretched" if asked.get("stretch") else ""
    steps = asked.get("harmonise")
    harmonised = f"harmonised: {str(steps).replace('+', ', ')}" if steps else ""
    return sentence(size, stretch, harmonised)


@of_trained
def augmentation(evidence: Evidence) -> str:
    """Say how crops are changed and which are drawn more often."""
    run = evidence.run
    copies = "crops with artifacts are drawn more often"
    often = copies if run.parameters.get("oversample_artifacts") else ""
    places = f"crops of {run.profile['crop']} pixels, sampling `{run.recipe['sampling']}`"
    return sentence(places, settings(run.recipe["augmentation"]), often)


@of_trained
def architecture(evidence: Evidence) -> str:
    """Name the network and count its parameters."""
    from cellcount_lib.inference.formulations import formulation
    from cellcount_lib.models import build
    from cellcount_lib.models.measure import count_parameters

    run = evidence.run
    name = run.parameters["arch"]
    size = count_parameters(build(name, out_channels=formulation(run.recipe["loss"]).channels))
    return f"`{name}`, {size:,} trainable parameters."


@of_trained
def initialisation(evidence: Evidence) -> str:
    """Say from which weights the training started."""
    init = evidence.run.parameters.get("init")
    return f"The weights of `{named(init)}`." if init else "Random weights, drawn from the seed."


@of_trained
def loss(evidence: Evidence) -> str:
    """Name the loss with its settings."""
    name = str(evidence.run.recipe["loss"])
    formula, values = losses.PRESETS.get(name, (name, {}))
    weighted = "weighted by the map of 2021" if evidence.run.recipe["weight_map"] else ""
    same = "" if formula == name and not values else f"formula `{formula}`"
    return sentence(f"`{name}`", same, settings(values), weighted)


@of_trained
def optimiser(evidence: Evidence) -> str:
    """Say how the weights were found."""
    run = evidence.run
    recipe, steps = run.recipe, run.profile.get("steps")
    rate = "" if run.lr is None else f", learning rate {run.lr:g}"
    length = f"{steps} steps of {recipe['batch']} crops" if steps else "every crop once"
    done = f"{run.epochs} of at most" if run.epochs else "at most"
    return sentence(
        f"recipe `{recipe['name']}` ({recipe['source']}): {recipe['optimizer']}{rate}, schedule "
        f"{recipe['schedule']}",
        settings({"weight decay": recipe["weight_decay"], "eps": recipe["eps"]}),
        f"{done} {recipe['epochs']} epochs, each of {length}",
    )


@of_trained
def selection(evidence: Evidence) -> str:
    """Say which epoch is kept, and on which pictures it was chosen."""
    stop = evidence.run.recipe["stop_after"]
    early = f"training ends after {stop} epochs without improvement" if stop else ""
    best = f"the weights of the best epoch by {evidence.run.recipe['monitor']}"
    return sentence(f"{best}, on validation pictures", early)


def seeds(evidence: Evidence) -> str:
    """List the seeds."""
    found = [str(run.parameters["seed"]) for run in evidence.runs]
    trainings = "one training" if len(found) == 1 else f"{len(found)} trainings"
    return f"{', '.join(found)} ({trainings if evidence.run.recipe else 'no training'})."
