"""One training from start to end: read the pictures, train or go on, score, write the files.

Taught in: 08_transfer
"""

import time
from pathlib import Path

from cellcount_lib.progress import watched
from cellcount_lib.training.data import Data, read_data
from cellcount_lib.training.lines import Lines
from cellcount_lib.training.prepare import prepare
from cellcount_lib.training.result import Result, evaluate, leave
from cellcount_lib.training.spec import Training


def train(
    training: Training,
    out: Path | None = None,
    *,
    data: Data | None = None,
    root: Path | None = None,
    device: str | None = None,
    show: bool | None = None,
    lines: bool = False,
    compiled: bool = False,
    jobs: int | None = None,
) -> Result:
    """Train, choose the cutoff, score the test pictures, and leave a model file.

    Checkpoint, history and model go to the folder `out`: a training that was interrupted there
    continues, and ends with the weights it would have had. Pictures are read from the datasets in
    `root`, unless `data` has them. The default is to train on a GPU where there is one, to show
    progress where a person looks, and to read and score in one process per core (`jobs`). Where
    nobody looks, `lines` says for a log what is being done.
    """
    show = watched() if show is None else show
    told = show or lines
    start = time.perf_counter()
    if data is None:
        if told:
            print(f"reading {training.dataset}", flush=True)
        data = read_data(training, root=root, jobs=jobs)
    ready = prepare(training, data, out, device=device, show=show, compiled=compiled)
    seconds = {"data": time.perf_counter() - start}
    if lines and not show:
        ready.learn.add_cb(Lines())
    ready.fit()
    if told:
        done = f"training took {ready.seconds:.0f} s"
        print(f"{done}; choosing the cutoff, scoring test pictures", flush=True)
    result = evaluate(ready, data, jobs=jobs)
    result.seconds.update(seconds)
    if out is not None:
        leave(out, training, result)
    return result
