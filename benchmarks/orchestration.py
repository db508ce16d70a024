"""What running a grid costs beyond its runs: on chapters that do nothing, and on the smoke profile.

    python -m benchmarks.orchestration

Not part of `make bench`: it takes some minutes and starts Snakemake, papermill and kernels.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.quick_project import make_project
from benchmarks.rows import table
from cellcount_lib.machine import processor

ROOT = Path(__file__).resolve().parents[1]
SMOKE = """
title: Six smoke runs
base: {dataset: simulated}
seeds: [0, 1, 2]
columns: {f1: F1}
rows:
  - label: c-ResUnet
  - label: small Unet
    set: {arch: small-unet}
"""


def timed(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}\n{ended.stdout}\n{ended.stderr}")
    return time.perf_counter() - start


def run(grid: str, runs: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "cellcount_lib", "run", grid, "--profile", "smoke"]
    return [*command, "--runs-dir", str(runs), *options]


def main() -> None:
    rows = []

    def row(what: str, value: str, aim: str, met: bool) -> None:
        rows.append({"what": what, "measured": value, "aim": aim, "met": "yes" if met else "no"})
        print(rows[-1], file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        project = make_project(base / "project")
        environment = os.environ | {"CELLCOUNT_PROJECT": str(project)}
        chapter = project / "chapters" / "03_one_experiment.ipynb"

        seeds = 4  # times two rows
        whole = timed(
            run("quick", base / "a", "--seeds", ",".join(map(str, range(seeds)))), environment
        )
        plan = json.loads(next((base / "a" / "smoke" / ".plans").glob("*.json")).read_text())
        alone = []
        for index, job in enumerate(list(plan["runs"].values())[:4]):
            out = base / "alone" / str(index)
            out.mkdir(parents=True)
            values = {**job["parameters"], "out": str(out)}
            (out / "p.json").write_text(json.dumps(values))
            command = [sys.executable, "-m", "papermill", str(chapter), str(out / "n.ipynb")]
            alone.append(timed([*command, "-f", str(out / "p.json")], environment))
        overhead = whole / (2 * seeds) - sum(alone) / len(alone)
        row(
            f"overhead per run over papermill alone ({sum(alone) / len(alone):.1f} s), "
            "8 runs that do nothing",
            f"{overhead:.1f} s",
            "< 3 s",
            overhead < 3,
        )
        sixty = ["--seeds", ",".join(map(str, range(30)))]
        first = next((base / "a" / "smoke").glob("simulated-*/record.json"))
        _sixty_records(base / "b", first, environment)
        again = timed(run("quick", base / "b", *sixty), environment)
        row("a run with nothing to do, 60 runs", f"{again:.1f} s", "< 4 s", again < 4)

        grid = base / "smoke.yaml"
        grid.write_text(SMOKE)
        plain = dict(os.environ)
        one = timed(run(str(grid), base / "one", "--jobs", "1"), plain)
        two = timed(run(str(grid), base / "two", "--jobs", "2"), plain)
        row(
            f"two jobs against one ({one:.0f} s), 6 runs of profile smoke",
            f"{one / two:.2f}x",
            ">= 1.6x",
            one / two >= 1.6,
        )
    print(f"{processor()}\n\n{table(rows)}")


def _sixty_records(folder: Path, like: Path, environment: dict[str, str]) -> None:
    """Leave the records of 60 runs without running them."""
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from cellcount_lib.runs.grid import load_grid\n"
        "from cellcount_lib.runs.status import chapter_of\n"
        "from cellcount_lib.runs.execute import identity_of\n"
        "like = json.loads(Path(sys.argv[1]).read_text())\n"
        "for run in load_grid('quick', profile='smoke', seeds=range(30)).runs:\n"
        "    data = like['identity']['data']\n"
        "    identity = identity_of(chapter_of(run), run.parameters, data=data)\n"
        "    values = like | {'parameters': dict(run.parameters), 'identity': identity}\n"
        "    out = Path(sys.argv[2]) / 'smoke' / run.id\n"
        "    out.mkdir(parents=True)\n"
        "    (out / 'record.json').write_text(json.dumps(values))\n"
    )
    timed([sys.executable, "-c", code, str(like), str(folder)], environment)


if __name__ == "__main__":
    main()
