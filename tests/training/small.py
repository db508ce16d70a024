"""Small trainings on the discs, and one that is killed."""

from cellcount_lib.inference.model_file import load_model
from cellcount_lib.training.spec import Training

SMALL = {
    "arch": "small-unet",
    "profile": "smoke",
    "crop": 32,
    "batch": 4,
    "steps": 4,
    "epochs": 4,
    "scale": 1.0,
    "protocol_scale": 0.45,
    "precision": "fp32",
}


def training(discs, **changes):
    return Training(f"folder:{discs}", **SMALL | changes)


def weights(folder):
    return load_model(folder / "model.safetensors").model.state_dict()


KILLED = """
import json, os, signal, sys
from pathlib import Path
from cellcount_lib.training import prepare, result
from cellcount_lib.training.fast import Callback
from cellcount_lib.training.run import train
from cellcount_lib.training.spec import Training

asked, out, when = json.loads(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
kind, _, number = when.partition(":")

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

class Assassin(Callback):
    order = 5
    def after_step(self):
        if kind == "step" and [self.epoch, self.iter] == json.loads(number):
            die()

if kind == "step":
    made = prepare.make_learner
    prepare.make_learner = lambda *a, cbs=(), **k: made(*a, cbs=[*cbs, Assassin()], **k)
if kind == "write":  # half of the n-th file is on the disk
    writes = [0]
    replace = os.replace
    def replaced(part, path):
        if "checkpoint" in str(path):
            writes[0] += 1
            if writes[0] == int(number):
                os.truncate(part, os.path.getsize(part) // 2)
                die()
        replace(part, path)
    os.replace = replaced
if kind == "evaluate":
    result.heatmaps = die
if kind == "leave":
    result.history_figure = die
train(Training(**asked), out, show=False, jobs=1)
"""
