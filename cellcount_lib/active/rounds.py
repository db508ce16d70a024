"""The circle: count, choose pictures, correct them, train on all corrections, count again.

Every round trains from the base network, as `cellcount serve` does: what a round gives depends on
its labels alone, not on how many rounds it took to get there. The cutoff is chosen on a few
pictures with exact labels, which are the same in all rounds and no part of the cost.

Taught in: 11_laboratory
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.active.annotators import Annotator, Work
from cellcount_lib.active.strategies import Look, choose, look
from cellcount_lib.data.sample import Sample
from cellcount_lib.inference.evaluation import ScaledProtocol, heatmaps
from cellcount_lib.models import SegmentationModel
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.seeds import derived_seed
from cellcount_lib.training.data import Data
from cellcount_lib.training.prepare import make_model, prepare
from cellcount_lib.training.spec import Training

CUTOFFS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)  # a fine grid would take longer than the training


class Counter(NamedTuple):
    """A network with its cutoff, and its scores on the test pictures."""

    model: SegmentationModel
    cutoff: float
    scores: Mapping[str, float]


class Proposal(NamedTuple):
    """What a network says about a picture: for a strategy, and for who corrects it."""

    look: Look
    labels: NDArray[np.int32]


class Round(NamedTuple):
    """Where the circle is after a round."""

    corrected: Mapping[str, Sample]  # by name, in the order in which they were chosen
    work: Work  # of all rounds
    counter: Counter


@dataclass(frozen=True, eq=False)
class Laboratory:
    """Pictures, and how networks are trained and judged on them.

    The pictures are at the size at which the network sees them, `data.scale` is 1.
    """

    training: Training
    data: Data  # `train` is the pool, with true labels, which only the annotator sees

    @property
    def ruler(self) -> ScaledProtocol:
        """The protocol by which is judged, with few cutoffs."""
        rule = replace(protocol(self.training.protocol), cutoffs=CUTOFFS, threshold_rule="argmax")
        return ScaledProtocol(rule, self.data.protocol_scale, jobs=1)

    def judged(self, model: SegmentationModel) -> Counter:
        """Choose the cutoff of a network, and score it on the test pictures."""
        assert self.data.test_set is not None
        precision = self.training.precision
        kept, labels = heatmaps(model.eval(), self.data.val_set, precision=precision, jobs=1)
        choice, _ = self.ruler.choose_cutoff(kept, labels)
        kept, labels = heatmaps(model, self.data.test_set, precision=precision, jobs=1)
        rows = self.ruler.score(kept, labels, choice.cutoff)
        return Counter(model, choice.cutoff, self.ruler.pooled(rows))

    def start(self) -> Round:
        """Return the base network, before anything was labelled."""
        model = make_model(self.training, *self.training.resolved())
        return Round({}, Work(), self.judged(model))

    def trained(self, corrected: Sequence[Sample]) -> Counter:
        """Train from the base network on corrected pictures."""
        ready = prepare(self.training, replace(self.data, train=list(corrected)), show=False)
        ready.fit()
        return self.judged(ready.learn.model)

    def proposals(self, counter: Counter, pictures: Sequence[Sample]) -> dict[str, Proposal]:
        """Let a network say what it finds in pictures, by their names."""
        precision = self.training.precision
        kept, _ = heatmaps(counter.model.eval(), pictures, precision=precision, jobs=1)
        found = {}
        for sample in pictures:
            name, ruler = sample.meta["name"], self.ruler
            answer = kept[name].heatmap()
            assert answer is not None  # a training that ends in NaN is stopped before
            labels = ruler.protocol.segment(answer, counter.cutoff, scale=ruler.scale)
            found[name] = Proposal(look(sample.image, answer, labels), labels)
        return found

    def after(self, now: Round, strategy: str, number: int) -> Round:
        """Choose pictures, let a simulated person correct them, train, and judge."""
        pool = {sample.meta["name"]: sample for sample in self.data.train}
        person = Annotator.of(self.data.train, scale=self.data.protocol_scale)
        found = self.proposals(now.counter, self.data.train)
        rest = [name for name in pool if name not in now.corrected]
        known = [found[name].look for name in now.corrected]
        rng = np.random.default_rng(derived_seed(self.training.seed, strategy, len(known)))
        chosen = choose(strategy, [found[name].look for name in rest], known, number, rng)
        corrected, work = dict(now.corrected), now.work
        for name in (rest[place] for place in chosen):
            labels, more = person.correct(pool[name], found[name].labels)
            corrected[name] = replace(pool[name], labels=labels)
            work += more
        return Round(corrected, work, self.trained(list(corrected.values())))
