"""The parts of fastai that this book uses, imported without the warnings of its own imports."""

import warnings

with warnings.catch_warnings():
    # fastai 2.8 decorates with torch.jit.script, which torch 2.14 calls deprecated.
    warnings.simplefilter("ignore", FutureWarning)
    from fastai.callback.core import (
        Callback,
        CancelEpochException,
        CancelFitException,
        TrainEvalCallback,
    )
    from fastai.callback.fp16 import MixedPrecision
    from fastai.callback.schedule import (  # lr_find adds Learner.lr_find
        ParamScheduler,
        combined_cos,
        lr_find,
    )
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner, Metric, Recorder
    from fastai.optimizer import OptimWrapper
