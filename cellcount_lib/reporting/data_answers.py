"""What is known of the pictures of a run, item by item of the checklist."""

from collections.abc import Callable
from pathlib import Path

from cellcount_lib.reporting.evidence import Evidence, sentence
from cellcount_lib.reporting.known import named
from cellcount_lib.reporting.leakage import across, same_files, units


def data_source(evidence: Evidence) -> str:
    """Say which pictures these are, and from where."""
    known, run = evidence.manifest, evidence.run
    about = (known.title, known.citation, known.homepage) if known else ()
    mark = f"fingerprint of pictures, labels and split: `{run.data}`" if run.data else ""
    other = evidence.here is not None and evidence.dataset is None
    changed = "what has this name on this machine now is not what the run saw" if other else ""
    return sentence(f"`{named(run.dataset)}`", *(text for text in about if text), mark, changed)


def licence(evidence: Evidence) -> str:
    """Say under which licence the data are."""
    return sentence(evidence.manifest.licence) if evidence.manifest else ""


def sizes(evidence: Evidence) -> str:
    """Count pictures and cells, as far as they are known."""
    run, data = evidence.run, evidence.dataset
    said = []
    if data is not None:
        parts = [source.split for source in data.sources]
        counted = (f"{parts.count(part)} {part}" for part in ("train", "val", "test"))
        said.append(f"pictures in the dataset: {', '.join(counted)}")
    limits = {part: run.profile.get(f"{part}_images") for part in ("train", "val", "test")}
    if most := [f"{limit} {part}" for part, limit in limits.items() if limit]:
        said.append(f"the profile `{run.profile['name']}` takes at most {', '.join(most)}")
    if len(run.images):
        cells = int(run.images["n_true"].sum())
        said.append(f"scored: {len(run.images)} test pictures with {cells} cells")
    return sentence(*said)


def split_rule(evidence: Evidence) -> str:
    """Say how pictures were dealt out."""
    known = evidence.manifest
    return sentence(known.split.rule, f"its seed is {known.split.seed}") if known else ""


def copies(evidence: Evidence) -> str:
    """Say whether the file of a picture stands in two parts of the split."""
    data = evidence.dataset
    if data is None or data.manifest.layout not in ("simulated", "folder"):
        return ""
    if data.manifest.layout == "simulated":
        return "None: every picture is drawn by itself, from a seed of its own."
    twice = across(same_files(data, Path(evidence.run.dataset.partition(":")[2]).expanduser()))
    return sentence(f"**Leakage**: {', '.join(twice[:5])}" if twice else "none, byte by byte")


def shared_units(evidence: Evidence) -> str:
    """Say whether an animal, a slide or a day stands in two parts of the split."""
    data = evidence.dataset
    if data is None or evidence.unit is None:
        return drawn("None: no two pictures share a specimen.")(evidence)
    parts = units(data, evidence.unit)
    shared = across(parts)
    found = f"**leakage**: {', '.join(shared[:5])} in two parts" if shared else "none is in two"
    return sentence(f"column `{evidence.unit}` has {len(parts)} values; {found}")


def drawn(words: str) -> Callable[[Evidence], str]:
    """Return what answers for drawn pictures only."""

    def answer(evidence: Evidence) -> str:
        simulated = evidence.run.dataset.partition(":")[0] == "simulated"
        return words if simulated and "+" not in evidence.run.dataset else ""

    return answer


def labels(evidence: Evidence) -> str:
    """Say what the labels of training pictures are."""
    name = evidence.run.parameters.get("labels")
    return f"Made by the labelling `{name}`." if name else "As the dataset gives them."
