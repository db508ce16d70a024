"""Read many samples of a dataset in order, in several processes, a few samples ahead."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import joblib

from cellcount_lib.data.datasets import Dataset
from cellcount_lib.data.sample import Sample
from cellcount_lib.data.splits import shuffled
from cellcount_lib.machine import cores, in_processes


def some(dataset: Dataset, most: int | None) -> Dataset:
    """Return at most `most` samples of a dataset, spread over it by a hash of their names.

    Examples
    --------
    >>> from cellcount_lib.data.datasets import load
    >>> some(load("simulated", split="test"), 3).names
    ['0092', '0192', '0199']
    """
    if most is None or most >= len(dataset):
        return dataset
    chosen = set(shuffled(dataset.names, seed=0)[:most])
    return replace(dataset, sources=tuple(s for s in dataset.sources if s.name in chosen))


def read_all(dataset: Sequence[Sample], *, jobs: int | None = None) -> Iterator[Sample]:
    """Yield the samples in order; drawing or decoding one takes a quarter of a second.

    `jobs` is the number of processes, by default one per core. A list, which is in memory already,
    is read in this process.
    """
    jobs = min(jobs or cores(), len(dataset))
    if jobs <= 1 or isinstance(dataset, list):
        yield from dataset
        return
    yield from in_processes((joblib.delayed(_read)(dataset, i) for i in range(len(dataset))), jobs)


def _read(dataset: Sequence[Sample], index: int) -> Sample:
    return dataset[index]
