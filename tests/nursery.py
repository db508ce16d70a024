"""Processes of their own that need not import torch and fastai each time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

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
        self.folder, self.children = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code, *arguments):
        # What a child leaves behind for a moment (joblib's tracker of its files) may still write.
        self.children += 1
        out, err = (self.folder / f"{name}{self.children}.txt" for name in ("out", "err"))
        asked = [code, [str(a) for a in arguments], str(out), str(err)]
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        return Ended(code, out.read_text(), err.read_text())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
