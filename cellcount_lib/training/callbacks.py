"""Callbacks of the Learner, one job each.

Fastai's own trackers of the best epoch, of plateaus and of early stopping each keep a count that
starts anew with every `fit`, save by pickle, and the one that lowers the learning rate has no
effect on torch's optimisers. `Watch` does the three jobs with one state that a checkpoint can hold.
"""

import csv
import io
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from cellcount_lib.files import write_whole
from cellcount_lib.progress import watched
from cellcount_lib.seeds import derived_seed
from cellcount_lib.training.fast import Callback, CancelFitException, Learner, Metric
from cellcount_lib.training.recipes import Monitor

if TYPE_CHECKING:
    from tqdm import tqdm

COLUMNS = ("epoch", "train_loss", "valid_loss", "dice", "found", "lr", "seconds")


class Pixels(Metric):
    """Counts of all validation pixels, at probability 0.5; `name` is a column of the history."""

    def reset(self) -> None:
        """Forget the last epoch."""
        self.common: Tensor | int = 0
        self.predicted: Tensor | int = 0
        self.true: Tensor | int = 0
        self.all = 0

    def accumulate(self, learn: Learner) -> None:
        """Add a batch; sums stay on the device, nothing waits for them."""
        predicted = learn.loss_func.cell(learn.pred.detach()) > 0
        true = learn.loss_func.truth(learn.yb[0])
        self.common = self.common + (predicted & true).sum()
        self.predicted = self.predicted + predicted.sum()
        self.true = self.true + true.sum()
        self.all += predicted.numel()


class Dice(Pixels):
    """Dice of all validation pixels together; 0 if nothing is predicted."""

    name = "dice"

    @property
    def value(self) -> float:
        """The score; 1 where neither truth nor prediction has a cell pixel."""
        both = float(self.predicted) + float(self.true)
        return 2 * float(self.common) / both if both else 1.0


class Found(Pixels):
    """Share of validation pixels that are predicted to be cell: 0 is a collapsed network."""

    name = "found"

    @property
    def value(self) -> float:
        """The share."""
        return float(self.predicted) / max(self.all, 1)


class EpochSeed(Callback):
    """Make an epoch a function of the run's seed and of its number.

    Crops and augmentation have generators of their own; torch's global one is seeded for whatever a
    layer may draw (dropout). With this, a resumed training needs no stored random state.
    """

    order = -20

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_epoch(self) -> None:
        """Seed the epoch."""
        torch.manual_seed(derived_seed(self.seed, "torch", self.epoch))
        self.dls.train.epoch = self.epoch


class Autocast(Callback):
    """Run the network in bfloat16 where that is exact enough: matrix products and convolutions.

    Fastai's `MixedPrecision` does this on CUDA only. The loss works in float32 by itself.
    """

    order = 10

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def before_fit(self) -> None:
        """Wrap the forward pass, so that an error inside cannot leave autocast switched on."""
        device = next(self.model.parameters()).device.type
        plain = type(self.model).forward.__get__(self.model)
        self.model.forward = torch.autocast(device, self.dtype)(plain)

    def after_fit(self) -> None:
        """Unwrap it."""
        self.model.__dict__.pop("forward", None)


class AtTheMean(Callback):
    """Look at validation pictures with the mean of the weights, which is what Schedule-Free learns.

    It takes its steps elsewhere (`train`). Statistics of batch normalisation belong to the weights
    that made them; ten batches make those of the mean, as the authors of Schedule-Free advise.
    """

    order = -20  # before fastai's switch to evaluation

    def before_train(self) -> None:
        """Go where steps are taken."""
        self.opt.opt.train()

    def before_validate(self) -> None:
        """Go to the mean."""
        self.opt.opt.eval()
        update_bn(islice(self.dls.train, 10), self.model)


class StopAtNaN(Callback):
    """End the training before a step with a loss that is not finite could spoil the weights."""

    order = -15

    def after_loss(self) -> None:
        """Look at the loss."""
        if self.training and not torch.isfinite(self.loss):
            where = f"epoch {self.epoch}, step {self.iter}"
            self.learn.stop_reason = f"the loss became {float(self.loss.detach())} in {where}"
            raise CancelFitException


class Watch(Callback):
    """Keep the weights of the best epoch, lower the learning rate on plateaus, stop in time.

    Gains in `monitor` of no more than `min_delta` do not count. After `patience` epochs without a
    gain the rate is multiplied by `factor` (0: never), after `stop_after` training ends.
    """

    order = 60

    def __init__(
        self,
        monitor: Monitor,
        *,
        min_delta: float = 0.0,
        patience: int = 0,
        factor: float = 1.0,
        stop_after: int | None = None,
    ) -> None:
        self.monitor, self.min_delta = monitor, min_delta
        self.patience, self.factor, self.stop_after = patience, factor, stop_after
        self.state: dict[str, Any] = {  # for the checkpoint
            "best": None,
            "best_epoch": None,
            "since_gain": 0,
            "since_cut": 0,
        }
        self.best: dict[str, Tensor] = {}  # weights of the best epoch, on the CPU

    def before_fit(self) -> None:
        """Stand aside while a learning rate is looked for."""
        self.run = not hasattr(self.learn, "lr_finder")

    def after_epoch(self) -> None:
        """Compare the epoch with the best one."""
        state, value = self.state, self.history.rows[-1][self.monitor]
        gain = None if state["best"] is None else value - state["best"]
        if self.monitor.endswith("loss") and gain is not None:
            gain = -gain
        if value == value and (gain is None or gain > self.min_delta):  # NaN is no gain
            state |= {"best": value, "best_epoch": self.epoch, "since_gain": 0, "since_cut": 0}
            # .to("cpu") would return the weights themselves where they are on the CPU already
            self.best = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
            return
        state["since_gain"] += 1
        state["since_cut"] += 1
        if self.patience and state["since_cut"] >= self.patience:
            state["since_cut"] = 0
            for group in self.opt.opt.param_groups:  # fastai's are copies
                group["lr"] *= self.factor
        if self.stop_after and state["since_gain"] >= self.stop_after:
            self.learn.stop_reason = f"no gain in {self.monitor} for {self.stop_after} epochs"


class History(Callback):
    """One row per epoch, in memory and, if asked, in a CSV file that is always whole.

    ``train_loss`` is the mean over the steps of the epoch; fastai's own is a running mean that
    would start anew when a training is resumed.
    """

    order = 55  # after fastai's Recorder

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.rows: list[dict[str, float]] = []

    def before_fit(self) -> None:
        """Stand aside while a learning rate is looked for."""
        self.run = not hasattr(self.learn, "lr_finder")

    def before_epoch(self) -> None:
        """Start the clock."""
        self.started = time.perf_counter()
        self.losses: list[Tensor] = []

    def after_loss(self) -> None:
        """Keep the loss of a step, on its device: nothing waits for it."""
        if self.training:
            self.losses.append(self.loss.detach())

    def after_epoch(self) -> None:
        """Add the row."""
        values = dict(zip(self.recorder.metric_names[1:], self.recorder.values[-1], strict=False))
        row = {"epoch": self.epoch, "lr": float(self.opt.hypers[-1]["lr"])} | values
        row["train_loss"] = float(torch.stack(self.losses).mean())
        row["seconds"] = round(time.perf_counter() - self.started, 3)
        self.rows.append({name: row[name] for name in COLUMNS})
        if self.file is not None:
            text = io.StringIO()
            table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(self.rows)
            write_whole(self.file, text.getvalue())


class Progress(Callback):
    """One bar over all steps, with the last epoch's scores; by default where a person looks."""

    order = 80

    def __init__(self, show: bool | None = None) -> None:
        self.show = watched() if show is None else show
        self.bar: tqdm[Any] | None = None

    def before_fit(self) -> None:
        """Open the bar."""
        if not self.show:
            return
        from tqdm.auto import tqdm

        steps = len(self.dls.train)
        total, done = self.n_epoch * steps, self.learn.first_epoch * steps
        self.bar = tqdm(total=total, initial=done, unit="step", desc="training", mininterval=0.5)

    def after_batch(self) -> None:
        """Advance."""
        if self.bar is not None and self.training:
            self.bar.update()

    def after_epoch(self) -> None:
        """Show the scores."""
        if self.bar is not None and self.history.rows:
            row = self.history.rows[-1]
            self.bar.set_postfix_str(
                f"epoch {row['epoch'] + 1}/{self.n_epoch}, loss {row['valid_loss']:.3g}, "
                f"dice {row['dice']:.3f}"
            )

    def after_fit(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
