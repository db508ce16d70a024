"""What a GPU gives, in the order of what matters most, resumably.

    python -m benchmarks.gpu --out DIR [--minutes M]

A machine with a GPU may be lent for half an hour. So each figure is written to DIR/figures.json as
soon as it is there, an error is a figure too, and the same command goes on where it stopped. The
table is DIR/gpu.md; records and notebooks of the runs lie in DIR/runs.tar.gz. Without a GPU
everything is done on the CPU, at profile `smoke`: whether it works can be tried anywhere.
"""

import argparse
import json
import math
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import seconds
from benchmarks.training import Laptop, bare, report, through_the_learner
from cellcount_lib import losses
from cellcount_lib.data.simulate import simulate
from cellcount_lib.doctor import accelerators
from cellcount_lib.files import write_whole
from cellcount_lib.inference.evaluation import ScaledProtocol
from cellcount_lib.inference.info import MODEL
from cellcount_lib.inference.model_file import load_model
from cellcount_lib.inference.predict import choose_device, heatmap
from cellcount_lib.machine import REPORTED, processor, version
from cellcount_lib.models import build
from cellcount_lib.records import NOTEBOOK, RECORD
from cellcount_lib.runs.grid import load_grid
from cellcount_lib.runs.launch import to_do, write_plan
from cellcount_lib.runs.status import states
from cellcount_lib.scoring.protocols import PROTOCOLS
from cellcount_lib.training.data import read_data
from cellcount_lib.training.profiles import PROFILES
from cellcount_lib.training.run import train
from cellcount_lib.training.spec import Training

Figures = dict[str, Any]
# The training that is killed, with a fixed cutoff: its scores are not looked at.
RESUMED = ["simulated", "--profile", "smoke", "--steps", "6", "--protocol", "clissa2023"]


@dataclass(frozen=True)
class Bench:
    """Where and how everything is measured."""

    out: Path
    device: torch.device
    profile: str
    grid: str
    until: float  # by time.monotonic()

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def precisions(self) -> list[str]:
        return ["fp32", "bf16", *(["fp16"] if self.cuda else [])]

    def synchronise(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()


def machine(_: Bench) -> Figures:
    """Name what is measured on."""
    versions = {name: version(name) for name in REPORTED if version(name)}
    return {"gpu": accelerators(), "processor": processor(), "versions": versions}


def agreement(bench: Bench) -> Figures:
    """Train at profile `smoke` in each precision; the loss stands beside the CPU's in fp32."""
    settings: Figures = {"profile": "smoke", "epochs": 1, "steps": 10, "protocol": "clissa2023"}
    data = read_data(Training(**settings))
    found: dict[str, float] = {}
    for device, precision in [("cpu", "fp32"), *((bench.device, p) for p in bench.precisions)]:
        result = train(Training(**settings, precision=precision), data=data, device=str(device))
        found[f"loss {torch.device(device).type} {precision}"] = result.history[-1]["train_loss"]
    reference = found["loss cpu fp32"]
    away = max(abs(loss / reference - 1) for loss in found.values())
    return {**found, "largest difference": away, "met (2%)": away <= 0.02}


def resumption(bench: Bench) -> Figures:
    """Kill a training after an epoch and let it go on: the weights are those of an undisturbed one.

    On a GPU sums may be taken in another order, so the largest difference is what is said.
    """
    weights = []
    shutil.rmtree(bench.out / "resumption", ignore_errors=True)  # of an attempt that failed
    for name in ("undisturbed", "killed"):
        out = bench.out / "resumption" / name
        command = [sys.executable, "-m", "cellcount_lib", "train", *RESUMED, "--out", str(out)]
        command += ["--device", str(bench.device)]
        if name == "killed":
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            while process.poll() is None and not (out / "checkpoint.safetensors").exists():
                time.sleep(0.05)
            process.kill()
            killed = process.wait() == -signal.SIGKILL
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # 1: it may collapse
        weights.append(load_model(out / MODEL).model.state_dict())
    pairs = [(weights[0][name].double(), weights[1][name].double()) for name in weights[0]]
    return {
        "was killed in the middle": killed,
        "largest difference of a weight": max(float((a - b).abs().max()) for a, b in pairs),
    }


def same_heatmap(bench: Bench) -> Figures:
    """Compare heatmaps of one picture, in grey levels of 255."""
    model, picture = build("c-resunet", seed=0), simulate(4).image
    scale = 0.25 if bench.profile == "smoke" else 1.0
    plain = heatmap(model, picture, scale=scale, device="cpu", precision="fp32")
    found: Figures = {}
    for precision in bench.precisions:
        taken, ours = seconds(
            lambda p=precision: heatmap(
                model, picture, scale=scale, device=bench.device, precision=p
            )
        )
        found[f"grey levels from the CPU, {precision}"] = float(255 * np.abs(ours - plain).max())
        found[f"seconds a picture, {precision}"] = taken
    return found


def layouts(bench: Bench) -> Figures:
    """Time steps with channels last and without, and compiled."""
    batch, side = (2, 64) if bench.profile == "smoke" else (32, PROFILES[bench.profile].crop)
    picture = torch.rand(batch, 3, side, side, device=bench.device)
    dtype = torch.float32 if bench.profile == "smoke" else torch.bfloat16

    def step(model: torch.nn.Module, image: torch.Tensor) -> None:
        with torch.autocast(bench.device.type, dtype, enabled=dtype != torch.float32):
            logits = model(image)
        logits.float().square().mean().backward()
        bench.synchronise()

    found: Figures = {}
    for name, kind in (("channels first", torch.contiguous_format), ("last", torch.channels_last)):
        model = build("c-resunet").to(bench.device, memory_format=kind)
        image = picture.to(memory_format=kind)
        step(model, image)
        found[f"seconds a step, {name}"] = seconds(lambda m=model, i=image: step(m, i))[0]
    model.compile()
    start = time.perf_counter()
    step(model, image)
    found["seconds to compile"] = time.perf_counter() - start
    found["seconds a step, last, compiled"] = seconds(lambda: step(model, image))[0]
    return found


def memory(bench: Bench) -> Figures:
    """Take one step at profile `gpu` with each network: it must fit into 16 GB."""
    if not bench.cuda:
        return {"left out": "device memory is that of a GPU"}
    profile, found = PROFILES["gpu"], {}
    for name in ("c-resunet", "resunet", "unet", "small-unet"):
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            model = build(name).to(bench.device, memory_format=torch.channels_last)
            image = torch.rand(profile.batch or 32, 3, profile.crop, profile.crop)
            with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
                logits = model(image.to(bench.device, memory_format=torch.channels_last))
            losses.build("dice")(logits, torch.zeros_like(logits[:, 0])).backward()
            found[f"GB, {name}, {precision}"] = torch.cuda.max_memory_allocated() / 1e9
            del model, logits
    return found


def steps(bench: Bench) -> Figures:
    """Set an epoch through the Learner against bare steps; count pictures by size of the batch."""
    laptop = Laptop(steps=3 if bench.profile == "smoke" else 90)
    ours = min(seconds(lambda: through_the_learner(laptop), most=2)[0] for _ in range(2))
    theirs = min(seconds(lambda: bare(laptop), most=2)[0] for _ in range(2))
    found: Figures = {"bare / Learner (aim 0.85)": theirs / ours, "parts": report(laptop)}
    side = 64 if bench.profile == "smoke" else 256
    for batch in (2,) if bench.profile == "smoke" else (8, 32, 128):
        model = build("c-resunet").to(bench.device, memory_format=torch.channels_last)
        image = torch.rand(batch, 3, side, side, device=bench.device)
        image = image.to(memory_format=torch.channels_last)

        def step(model: torch.nn.Module = model, image: torch.Tensor = image) -> None:
            with torch.autocast(bench.device.type, laptop.dtype):
                logits = model(image)
            logits.float().mean().backward()
            bench.synchronise()

        found[f"crops of {side} a second, batch {batch}"] = batch / seconds(step)[0]
    return found


def real_run(bench: Bench) -> Figures:
    """Train the published design of 2021 and score it under both protocols, beside the oracle."""
    training = Training(
        recipe="morelli2021",
        profile=bench.profile,
        protocol="morelli2021",
        weight_map=True,
        oversample_artifacts=True,
    )
    data = read_data(training)
    result = train(
        training, bench.out / "real_run" / "run", data=data, device=str(bench.device), show=True
    )
    found: Figures = {
        "status": result.status,
        "epochs": len(result.history),
        "seconds an epoch": float(np.median([row["seconds"] for row in result.history])),
    }
    truth = {
        part: {sample.meta["name"]: sample.labels for sample in pictures}
        for part, pictures in (("val", data.val_set), ("test", data.test_set or ()))
    }
    for name in ("morelli2021", "recommended"):
        scaled = ScaledProtocol(PROTOCOLS[name], data.protocol_scale)
        choice, _ = scaled.choose_cutoff(result.heatmaps["val"], truth["val"])
        rows = scaled.score(result.heatmaps["test"], truth["test"], choice.cutoff)
        scores = scaled.pooled(rows)
        found |= {f"F1, {name}": scores["f1"], f"MAE, {name}": scores["mae"]}
    return found


def runs(bench: Bench) -> Figures:
    """Execute a grid in the order of its seeds, one run after another, until the time is over."""
    grid = load_grid(bench.grid, profile=bench.profile)
    folder = bench.out / "runs" / bench.profile
    folder.mkdir(parents=True, exist_ok=True)
    chosen = to_do(states(grid.runs, folder))
    if chosen:
        plan = write_plan(chosen, folder, root=None)
    by_seed = sorted(chosen, key=lambda state: int(state.run.parameters["seed"]))
    for state in by_seed:
        if time.monotonic() > bench.until:
            break
        print(f"    {state.run.id}", flush=True)
        command = [sys.executable, "-m", "cellcount_lib", "execute", str(plan), state.run.id]
        subprocess.run(command, check=False)
        _archive(bench.out)
    done = [s for s in states(grid.runs, folder) if s.state == "done"]
    if len(done) < len(grid.runs):
        raise TimeoutError(f"{len(done)} of {len(grid.runs)} runs are done")
    return {"runs": len(done)}


def _archive(out: Path) -> None:
    """Put records and notebooks of all runs so far into one file, whole or not at all."""
    path = out / "runs.tar.gz"
    partial = path.with_suffix(".part")
    with tarfile.open(partial, "w:gz") as archive:
        for file in sorted((out / "runs").rglob("*")):
            if file.name in (RECORD, NOTEBOOK):
                archive.add(file, file.relative_to(out))
    partial.replace(path)


STEPS: dict[str, Callable[[Bench], Figures]] = {
    "machine": machine,
    "agreement with the CPU": agreement,
    "resumption": resumption,
    "the same heatmap": same_heatmap,
    "memory": memory,
    "steps": steps,
    "memory formats": layouts,
    "one real run": real_run,
    "runs of a grid": runs,
}


def measure(bench: Bench) -> dict[str, Figures]:
    """Do what is not done yet, until the time is over; return all figures."""
    path = bench.out / "figures.json"
    done: dict[str, Figures] = json.loads(path.read_text()) if path.exists() else {}
    for name, step in STEPS.items():
        if name in done and "error" not in done[name]:
            continue
        if time.monotonic() > bench.until:
            break
        print(f"==> {name}", flush=True)
        start = time.monotonic()
        try:
            figures = step(bench)
        except Exception as error:  # whatever it is, the next step may work
            traceback.print_exc()
            figures = {"error": f"{type(error).__name__}: {error}"}
        done[name] = figures | {"seconds": time.monotonic() - start}
        write_whole(path, json.dumps(done, indent=1) + "\n")
        write_whole(bench.out / "gpu.md", as_markdown(done))
    return done


def as_markdown(done: dict[str, Figures]) -> str:
    """Return the figures as one list."""
    lines = ["# What a GPU gives", "", "Written by `python -m benchmarks.gpu`.", ""]
    for name, figures in done.items():
        lines += [f"## {name[0].upper()}{name[1:]}", ""]
        for what, value in figures.items():
            shown = f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else value
            text = str(shown)
            lines += ["", text, ""] if "\n" in text else [f"- {what}: {text}"]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of figures and runs")
    parser.add_argument("--minutes", type=float, default=9, help="start nothing after these")
    parser.add_argument("--profile", help="default: gpu; smoke where there is none")
    parser.add_argument("--grid", default="losses", help="its runs are executed last")
    arguments = parser.parse_args()
    device = choose_device()
    profile = arguments.profile or ("smoke" if device.type == "cpu" else "gpu")
    if profile not in PROFILES:
        parser.error(f"--profile {profile}: known are {', '.join(PROFILES)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * arguments.minutes
    bench = Bench(arguments.out.resolve(), device, profile, arguments.grid, until)
    done = measure(bench)
    left = [name for name in STEPS if name not in done or "error" in done[name]]
    print(f"{arguments.out / 'gpu.md'}: {len(STEPS) - len(left)} of {len(STEPS)} steps")
    if left:
        print(f"left: {', '.join(left)}; give the same command again")


if __name__ == "__main__":
    main()
