"""One 1600x1200 picture to its heatmap: ours against a plain forward pass; time and memory."""

import json
import subprocess
import sys

import numpy as np
import torch

from benchmarks.harness import Case, all_cores
from cellcount_lib import records
from cellcount_lib.inference.engine import load_onnx
from cellcount_lib.inference.heatmaps import STEPS
from cellcount_lib.inference.model_file import load_model
from cellcount_lib.inference.predict import choose_precision, heatmap
from cellcount_lib.models import build

SIZE = (1200, 1600)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def plain(model: torch.nn.Module, image: np.ndarray) -> np.ndarray:
    """What one writes first: float32, contiguous, no_grad."""
    pixels = torch.tensor(image).permute(2, 0, 1)[None].float().div(255).contiguous()
    with torch.no_grad():
        return model(pixels).sigmoid()[0, 0].numpy()


def close(limit: float):
    return lambda a, b: bool(np.abs(a - b).mean() < limit)


def but_for_rounding(a: np.ndarray, b: np.ndarray) -> bool:
    """Half a step of the logits that are kept, where the sigmoid is steepest, and no more."""
    return bool(np.abs(a - b).max() < 1 / STEPS / 2 / 4 + 1e-5)


def cases() -> list[Case]:
    image = picture()
    found = []
    precisions = ["fp32"]
    if choose_precision(torch.device("cpu")) == torch.bfloat16:
        precisions.append("bf16")
    for precision in precisions:
        ours, theirs = build("c-resunet"), build("c-resunet").eval()
        found.append(
            Case(
                f"heatmap of a 1600x1200 picture, c-ResUnet, {precision}, all cores",
                ours=all_cores()(
                    lambda m=ours, p=precision: heatmap(m, image, device="cpu", precision=p)
                ),
                reference=all_cores()(lambda m=theirs: plain(m, image)),
                reference_is="plain forward pass: float32, contiguous",
                at_least=1.0,
                same=but_for_rounding if precision == "fp32" else close(0.02),
            )
        )
    network, exact = load_onnx(), load_model(precision="fp32")
    found.append(
        Case(
            "logits of a 1600x1200 picture at half its size, shipped model, ONNX Runtime",
            ours=lambda: network.logit_map(image, scale=0.5),
            reference=all_cores()(lambda: exact.logit_map(image, scale=0.5)),
            reference_is="torch, float32",
            at_least=1.0,
            same=close(0.01),
            rounds=5,
        )
    )
    return found


def peak_mb(kind: str) -> float:
    """Growth of a process of its own while it computes one heatmap."""
    code = (
        "import json, resource, sys\n"
        "from benchmarks import inference\n"
        "print(json.dumps(inference.grown(sys.argv[1])))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, kind], capture_output=True, text=True, check=True
    )
    return float(json.loads(ended.stdout.splitlines()[-1]))


@all_cores()
def grown(kind: str) -> float:
    """Run one forward pass of a kind and return by how many MB the process grew at most."""
    model, image = build("c-resunet").eval(), picture()

    def run(part: np.ndarray) -> None:
        if kind == "plain":
            plain(model, part)
        elif kind == "tiles":
            heatmap(model, part, device="cpu", precision="fp32", memory_mb=400)
        else:
            heatmap(model, part, device="cpu", precision=kind)

    run(image[:64, :64])
    before = records.peak_mb()
    run(image)
    return records.peak_mb() - before


def report() -> str:
    names = {
        "plain": "plain forward pass, float32, contiguous",
        "fp32": "`heatmap`, float32",
        "bf16": "`heatmap`, bfloat16",
        "tiles": "`heatmap`, float32, in tiles for a budget of 400 MB",
    }
    lines = [
        "Peak memory of one 1600x1200 picture, c-ResUnet, CPU, by which a process grows:",
        "",
        "| pass | MB |",
        "| --- | --- |",
        *(f"| {name} | {peak_mb(kind):.0f} |" for kind, name in names.items()),
    ]
    return "\n".join(lines)
