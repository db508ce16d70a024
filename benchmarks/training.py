"""A training step through the Learner against a bare PyTorch step, and where its time goes."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Case, all_cores
from benchmarks.inference import close
from cellcount_lib import losses
from cellcount_lib.data.sample import Sample
from cellcount_lib.data.scaling import rescale
from cellcount_lib.data.simulate import simulate
from cellcount_lib.inference.predict import choose_device, choose_precision
from cellcount_lib.machine import subnormals_as_zero
from cellcount_lib.models import build
from cellcount_lib.models.base import Doubling
from cellcount_lib.models.elu import ELU
from cellcount_lib.training.callbacks import Progress
from cellcount_lib.training.checkpoint import Checkpoint
from cellcount_lib.training.crops import PLACES, Crops, grid_places
from cellcount_lib.training.learner import EpochLearner, make_learner, optimizer
from cellcount_lib.training.loader import Batches
from cellcount_lib.training.profiles import PROFILES
from cellcount_lib.training.recipes import RECIPES

STEPS = PROFILES["laptop"].steps or 90  # of an epoch


def pictures(number: int = 6) -> list[Sample]:
    return [rescale(simulate(index), 0.25) for index in range(4, 4 + number)]


class Laptop:
    """Network, batches and Learner of the laptop profile, as `training.prepare` makes them."""

    def __init__(self, precision: str = "auto", *, steps: int = STEPS) -> None:
        self.steps = steps
        self.device = choose_device()
        self.dtype = choose_precision(self.device, precision)
        self.recipe = RECIPES["recommended"]
        self.profile = PROFILES["laptop"]
        self.samples = pictures()
        self.loss = losses.build(self.recipe.loss)
        self.folder = tempfile.TemporaryDirectory()

    def batches(self) -> Batches:
        return Batches(
            Crops(self.samples, device=self.device),
            PLACES[self.recipe.sampling](self.samples, self.profile.crop),
            side=self.profile.crop,
            batch=self.profile.batch or self.recipe.batch,
            augmentation=self.recipe.augmentation,
            steps=self.steps,
        )

    def model(self) -> torch.nn.Module:
        model = build("c-resunet", bn_momentum=self.profile.bn_momentum)
        return model.to(device=self.device, memory_format=torch.channels_last)

    def learner(self) -> EpochLearner:
        one = Crops(self.samples[:1], device=self.device)
        places = grid_places(self.samples[:1], self.profile.crop)
        valid = Batches(one, places, side=self.profile.crop, batch=len(places.image))
        checkpoint = Path(self.folder.name) / "checkpoint.safetensors"
        checkpoint.unlink(missing_ok=True)
        return make_learner(
            self.model(),
            self.batches(),
            valid,
            self.loss,
            self.recipe,
            dtype=self.dtype,
            cbs=[Progress(False), Checkpoint(checkpoint, {}, lr=1e-3)],
        )

    def synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def through_the_learner(laptop: Laptop) -> int:
    """One epoch with every callback, data, augmentation, a validation batch and a checkpoint."""
    learn = laptop.learner()
    learn.fit(1, 1e-3)
    laptop.synchronise()
    return laptop.steps


def bare(laptop: Laptop) -> int:
    """As many steps on one batch that is already there: forward, loss, backward, optimiser."""
    model, batch = laptop.model().train(), laptop.batches().one_batch()
    step = optimizer(model, laptop.recipe, None, lr=1e-3).opt
    kind = laptop.device.type
    for _ in range(laptop.steps):
        with torch.autocast(kind, laptop.dtype, enabled=laptop.dtype != torch.float32):
            logits = model(batch[0])
        laptop.loss(logits, *batch[1:]).backward()
        step.step()
        step.zero_grad()
    laptop.synchronise()
    return laptop.steps


def passes(laptop: Laptop, model: torch.nn.Module, number: int = 5) -> Tensor:
    """A few forward and backward passes on one batch; the last logits."""
    batch = laptop.batches().one_batch()
    for _ in range(number):
        with torch.autocast(
            laptop.device.type, laptop.dtype, enabled=laptop.dtype != torch.float32
        ):
            logits = model(batch[0])
        laptop.loss(logits, *batch[1:]).backward()
        model.zero_grad()
    laptop.synchronise()
    return logits.detach().float()


def with_torchs_layers(model: torch.nn.Module) -> torch.nn.Module:
    """The same network, with torch's layers in the place of our faster ones."""
    for layer in model.modules():
        if type(layer) in (ELU, Doubling):
            layer.__class__ = type(layer).__mro__[1]
    return model


def as_exact(ours: Tensor, theirs: Tensor) -> bool:
    """Whether logits are about as near to those of float32 and torch's layers as the others are."""
    plain = Laptop("fp32")
    exact = passes(plain, with_torchs_layers(plain.model().train()), 1)
    off, theirs_off = (float((logits - exact).abs().mean()) for logits in (ours, theirs))
    return off < 1.2 * theirs_off


def layers_case(laptop: Laptop) -> Case:
    ours, theirs = laptop.model().train(), with_torchs_layers(laptop.model().train())
    return Case(
        f"5 forward and backward passes, c-ResUnet, 8 crops of 128, {_name(laptop.dtype)}",
        ours=lambda: passes(laptop, ours),
        reference=lambda: passes(laptop, theirs),
        reference_is="the same network with torch's own layers",
        at_least=1.4 if laptop.dtype == torch.bfloat16 else 1.2,
        same=close(1e-4) if laptop.dtype == torch.float32 else as_exact,
        rounds=5,
    )


def collapsed(laptop: Laptop) -> torch.nn.Module:
    """A network so sure of background that most of its gradients are below 1e-38."""
    model = laptop.model().train()
    last = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight.mul_(0.01)
        last.bias.fill_(-80)
    return model


def collapsed_case(laptop: Laptop) -> Case:
    model, dice = collapsed(laptop), losses.build("dice")
    image, mask, *_ = (part[:1] for part in laptop.batches().one_batch())

    def one_pass() -> float:
        model.zero_grad()
        dice(model(image), mask).backward()
        return max(float(weights.grad.abs().max()) for weights in model.parameters())

    return Case(
        "forward and backward pass of a collapsed network, Dice, 1 crop of 128, float32, 1 thread",
        ours=subnormals_as_zero()(one_pass),
        reference=one_pass,
        reference_is="the same with subnormal numbers; how slow they are depends on the processor",
        at_least=0.9,
        same=lambda a, b: abs(a - b) < 1e-30,
        rounds=2,
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def cases() -> list[Case]:
    made = []
    every = {laptop.dtype: laptop for laptop in map(Laptop, ("fp32", "auto"))}  # one without bf16
    if every[torch.float32].device.type == "cpu":
        made.append(collapsed_case(every[torch.float32]))
    for laptop in every.values():
        made.append(layers_case(laptop))
        made.append(
            Case(
                f"epoch of {STEPS} steps through the Learner, c-ResUnet, 8 crops of 128, "
                f"{_name(laptop.dtype)}",
                ours=all_cores()(lambda s=laptop: through_the_learner(s)),
                reference=all_cores()(lambda s=laptop: bare(s)),
                reference_is="bare PyTorch steps on one resident batch",
                at_least=0.85 if laptop.device.type == "cuda" else 0.9,
                same=lambda a, b: a == b,
                rounds=2,
            )
        )
    return made


@all_cores()
def report(laptop: Laptop | None = None) -> str:
    """Where the time of a step goes, in milliseconds, by running its parts one after the other."""
    laptop = laptop or Laptop()
    batches, model = laptop.batches(), laptop.model().train()
    step = optimizer(model, laptop.recipe, None, lr=1e-3).opt
    change, side = laptop.recipe.augmentation, laptop.profile.crop
    spent: dict[str, list[float]] = {}

    def timed(name: str, start: float) -> float:
        laptop.synchronise()
        now = time.perf_counter()
        spent.setdefault(name, []).append(1000 * (now - start))
        return now

    for index in range(laptop.steps):
        now = time.perf_counter()
        images, corners = batches.places.epoch(np.random.default_rng(index))
        image, corner = (torch.from_numpy(v[: batches.batch]) for v in (images, corners))
        pixels, weights = batches.crops.cut(image, corner, side, margin=change.margin(side))
        now = timed("cut crops", now)
        picture, mask, _ = change(pixels, weights, side, torch.Generator().manual_seed(index))
        now = timed("augmentation", now)
        with torch.autocast(
            laptop.device.type, laptop.dtype, enabled=laptop.dtype != torch.float32
        ):
            logits = model(picture)
        now = timed("forward", now)
        loss = laptop.loss(logits, mask)
        now = timed("loss", now)
        loss.backward()
        now = timed("backward", now)
        step.step()
        step.zero_grad()
        timed("optimiser", now)
    parts = {name: float(np.median(values)) for name, values in spent.items()}
    start = time.perf_counter()
    through_the_learner(laptop)
    whole = 1000 * (time.perf_counter() - start) / laptop.steps
    parts["the rest: Learner, metrics, a validation batch, a checkpoint"] = whole - sum(
        parts.values()
    )
    lines = [
        f"Where a step of {whole:.0f} ms goes (c-ResUnet, 8 crops of 128, {laptop.dtype}, "
        f"{laptop.device}; medians of {laptop.steps}):",
        "",
        "| part | ms | share |",
        "| --- | --- | --- |",
        *(f"| {name} | {ms:.1f} | {100 * ms / whole:.0f}% |" for name, ms in parts.items()),
    ]
    return "\n".join(lines)
