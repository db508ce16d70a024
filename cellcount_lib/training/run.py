"""One training from start to end: read the pictures, train or go on, score, write the files.

Taught in: 08_transfer
"""

import time
from pathlib import Path

from cellcount_lib.progress import watched
from cellcount_lib.training.data import Data, read_data
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
    compiled: bool = False,
    jobs: int | None = None,
) -> Result:
    """Train, choose the cutoff, score the test pictures, and leave a model file.

    Parameters
    ----------
    training : Training
    out : Path, optional
        Folder for checkpoint, history and model. A training that was interrupted here continues,
        and ends with the weights it would have had.
    data : Data, optional
        The pictures, if they were read before; else they are read here.
    root : Path, optional
        Folder of the datasets.
    device : str, optional
        Default: a GPU where there is one.
    show : bool, optional
        Progress; default: where a person looks.
    compiled : bool
        Use `torch.compile`.
    jobs : int, optional
        Processes that read pictures and score; default: one per core.

    Returns
    -------
    Result
    """
    show = watched() if show is None else show
    start = time.perf_counter()
    if data is None:
        if show:
            print(f"reading {training.dataset}")
        data = read_data(training, root=root, jobs=jobs)
    ready = prepare(training, data, out, device=device, show=show, compiled=compiled)
    seconds = {"data": time.perf_counter() - start}
    ready.fit()
    if show:
        print(f"training took {ready.seconds:.0f} s; choosing the cutoff, scoring test pictures")
    result = evaluate(ready, data, jobs=jobs)
    result.seconds.update(seconds)
    if out is not None:
        leave(out, training, result)
    return result
