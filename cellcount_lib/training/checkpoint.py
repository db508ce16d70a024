"""Checkpoints: everything a training needs to go on as if nothing had happened, in one file.

Weights, optimiser, best weights so far, the state of schedule and stopping, and the history, as
safetensors and JSON. No random state: every epoch is seeded by its number (`callbacks.EpochSeed`).
A checkpoint carries the identity of its training; one of another training is refused.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cellcount_lib.errors import DataError
from cellcount_lib.inference.model_file import read_tensors, tensor_digest, write_tensors
from cellcount_lib.training.fast import Callback

if TYPE_CHECKING:
    from cellcount_lib.training.learner import EpochLearner

FORMAT = "cellcount-checkpoint/1"


class Checkpoint(Callback):
    """Write a checkpoint after every epoch, and continue from the one that is there.

    The identity is all that decides the weights, as JSON values; the learning rate is the one in
    use, which may have been searched for.
    """

    order = 70

    def __init__(self, path: Path, identity: Mapping[str, Any], *, lr: float) -> None:
        self.file, self.identity, self.lr = path, dict(identity), lr

    def before_fit(self) -> None:
        """Continue where the checkpoint ends, if there is one."""
        if self.file.exists():
            tensors, about = read_checkpoint(self.file, self.identity)
            restore_state(self.learn, tensors, about)

    def after_epoch(self) -> None:
        """Write it: complete and flushed before it replaces the one before."""
        tensors, about = state(self.learn)
        write_checkpoint(self.file, tensors, about | {"settings": self.identity, "lr": self.lr})


def state(learn: "EpochLearner") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the numbers of a Learner between two epochs."""
    optimiser = learn.opt.opt.state_dict()
    tensors = {f"model.{k}": v for k, v in learn.model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in learn.watch.best.items()}
    numbers: dict[str, Any] = {}
    for index, entries in optimiser["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                numbers[f"{index}.{key}"] = value
    scaler = getattr(learn, "scaler", None)
    about = {
        "epoch": learn.epoch + 1,
        "stop_reason": learn.stop_reason,
        "watch": learn.watch.state,
        "history": learn.history.rows,
        "groups": optimiser["param_groups"],
        "numbers": numbers,
        "scaler": scaler.state_dict() if scaler is not None else None,
    }
    return tensors, about


def restore_state(
    learn: "EpochLearner", tensors: Mapping[str, Tensor], about: Mapping[str, Any]
) -> None:
    """Put a Learner in the state that `state` saw."""
    learn.model.load_state_dict(_under("model.", tensors))
    entries: dict[int, dict[str, Any]] = {}
    for name, value in [*_under("optimizer.", tensors).items(), *about["numbers"].items()]:
        index, _, key = name.partition(".")
        entries.setdefault(int(index), {})[key] = value
    learn.opt.opt.load_state_dict({"state": entries, "param_groups": about["groups"]})
    # The fused optimisers walk through memory: moments must lie as their parameters do (channels
    # last), not as safetensors stored them.
    for parameter, moments in learn.opt.opt.state.items():
        for key, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    learn.watch.state = dict(about["watch"])
    learn.watch.best = _under("best.", tensors)
    learn.history.rows = list(about["history"])
    learn.stop_reason = about["stop_reason"]
    # A training that stopped early has no epoch left.
    learn.first_epoch = learn.n_epoch if learn.stop_reason else about["epoch"]
    if about["scaler"] and getattr(learn, "scaler", None) is not None:
        learn.scaler.load_state_dict(about["scaler"])


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    text = json.dumps(about)
    mark = tensor_digest(tensors, text)
    write_tensors(path, tensors, {"format": FORMAT, "about": text, "sha256": mark})


def read_checkpoint(
    path: Path, identity: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint of the training with this identity; anything else is an error."""
    advice = f"remove {path} to train from the start, or choose another folder"
    try:
        tensors, header = read_tensors(path)
    except DataError as error:
        raise DataError(f"{error}; {advice}") from error
    if header.get("format") != FORMAT:
        raise DataError(f"{path}: expected a checkpoint of this project ({FORMAT}); {advice}")
    if header.get("sha256") != tensor_digest(tensors, header["about"]):
        raise DataError(f"{path}: its content does not match its checksum, it is damaged; {advice}")
    about: dict[str, Any] = json.loads(header["about"])
    wanted = json.loads(json.dumps(dict(identity)))  # tuples become lists, as in the file
    if different := list(differences(about["settings"], wanted)):
        raise DataError(f"{path} belongs to another training: {'; '.join(different)}. {advice}")
    return tensors, about


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Say where two trees of JSON values differ.

    Examples
    --------
    >>> list(differences({"seed": 0, "crop": {"side": 64}}, {"seed": 0, "crop": {"side": 128}}))
    ['crop.side was 64, now 128']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
    elif old != new:
        yield f"{name} was {old!r}, now {new!r}"


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
