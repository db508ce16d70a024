"""Small trainings on the discs, here and in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from cellcount_lib.inference.model_file import load_model
from cellcount_lib.training.spec import Training

ROOT = Path(__file__).resolve().parents[2]
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


# What a training imports and reads takes it longer than training on these pictures. Here that is
# done once; nothing has been computed when it forks, so that a child is like a process of its own.
NURSERY = """
import io, json, os, sys, traceback
import edt, kornia.filters, matplotlib.pyplot, torch._dynamo
import cellcount_lib.cli, cellcount_lib.training.run
from cellcount_lib.training.code import training_code
from cellcount_lib.training.spec import Training

training_code(Training())
matplotlib.pyplot.figure().savefig(io.BytesIO())

for line in sys.stdin:
    code, arguments, out, err = json.loads(line)
    child = os.fork()
    if child == 0:
        for path, number in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["cellcount", *arguments]
        status = 0
        try:
            exec(code, {"__name__": "__main__"})
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
COMMAND = "from cellcount_lib.cli import main; main()"


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class Nursery:
    """Runs code in new processes, one after the other."""

    def __init__(self, folder):
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code, *arguments):
        asked = [code, [str(a) for a in arguments], str(self.out), str(self.err)]
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        return Ended(code, self.out.read_text(), self.err.read_text())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


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
