"""The command ``cellcount train``."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from cellcount_lib.data.download_command import Root

LOSSES = (  # the names of `losses`, which takes torch to import
    "bce-low, bce-medium, bce-high, dice, focal, focal-tversky, combined-balanced, "
    "combined-overcrowd, combined-cellvit, combinedft-balanced, combinedft-overcrowd, "
    "combinedft-cellvit, dice-smooth-1, focal-tversky-r23, combined-cellvit-r23, "
    "combinedft-cellvit-r23, released-bce-low, released-bce-medium, released-bce-high, "
    "released-dice, released-focal, released-focal-tversky, released-combined-balanced, "
    "released-combined-overcrowd, released-combined-cellvit, released-combinedft-balanced, "
    "released-combinedft-overcrowd, released-combinedft-cellvit, wbce-2021, three-class-2, "
    "three-class-4, three-class-6, three-class-8, boundary-2, boundary-4, boundary-6, "
    "boundary-8, bce, tversky, combined, combinedft, three-class, boundary-bell, distance, "
    "instances, stars, flows."
)


def train_command(
    dataset: Annotated[
        str, typer.Argument(help="simulated, fnc-v1, bbbc038, ..., or folder:PATH for your own.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results; an unfinished one goes on.")],
    arch: Annotated[str, typer.Option(help="Network.")] = "c-resunet",
    recipe: Annotated[
        str, typer.Option(help="How to train: recommended, morelli2021, clissa2023, fcn2016, ...")
    ] = "recommended",
    profile: Annotated[
        str, typer.Option(help="Scale: smoke, laptop, study, gpu, paper.")
    ] = "laptop",
    protocol: Annotated[str, typer.Option(help="How to score.")] = "recommended",
    loss: Annotated[
        str | None, typer.Option(help=f"Loss (default: the recipe's): {LOSSES}")
    ] = None,
    weight_map: Annotated[
        bool | None,
        typer.Option("--weight-map/--no-weight-map", help="Weight maps (default: the recipe's)."),
    ] = None,
    oversample_artifacts: Annotated[
        bool, typer.Option("--oversample-artifacts", help="AO: show bright artifacts often.")
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(help="Of training pictures, in place of the given: automatic, ragged, ..."),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="sgd, momentum, rmsprop, adagrad, adam, adamw, schedule-free."),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate (default: the recipe's).")] = None,
    grey: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of crops shown without colour.")
    ] = None,
    stretch: Annotated[
        bool | None,
        typer.Option(
            "--stretch/--no-stretch", help="Stretch the intensities of every picture (default: no)."
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from this model, a file or the name of one. Its loss, stretch and width of "
            "cells are then the defaults, and a tenth of the recipe's learning rate."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, crops, augmentation.")] = 0,
    scale: Annotated[
        float | None, typer.Option(help="Size at which the network sees pictures.")
    ] = None,
    protocol_scale: Annotated[
        float | None, typer.Option(help="Multiplies the protocol's sizes in pixels.")
    ] = None,
    crop: Annotated[int | None, typer.Option(min=16, help="Side of the crops.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Crops per step.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps per epoch.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs (default: the profile's).")
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps, ...")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    root: Root = None,
) -> None:
    """Train a network, choose its cutoff on validation pictures, and score the test pictures.

    OUT gets model.safetensors, training.json (settings and scores), history.csv and history.png,
    cutoffs.csv, images.csv. Every epoch is kept: after an interruption give the same command again.
    """
    options = locals()  # of which those that decide the result have the names of `Training`
    from cellcount_lib.progress import watched
    from cellcount_lib.training.result import finished
    from cellcount_lib.training.run import train
    from cellcount_lib.training.spec import Training
    from cellcount_lib.training.starting import started

    options["stretch"] = bool(stretch)
    training = Training(**{field.name: options[field.name] for field in fields(Training)})
    if init is not None:
        training = started(training, stretch=stretch, root=root)
        typer.echo(
            f"from {init}: loss {training.resolved()[0].loss}, "
            f"{'stretched' if training.stretch else 'unstretched'} pictures, scale "
            f"{training.scale}, learning rate {training.resolved()[0].lr}"
        )
    summary = finished(training, out, root=root)
    if summary is None:
        train(
            training, out, root=root, device=device, compiled=compiled, show=watched(), lines=True
        )
        summary = finished(training, out, root=root)
        assert summary is not None
    else:
        typer.echo(f"{out} holds this training already, complete")
    completed = summary["status"] == "completed"
    if completed:
        model = out / "model.safetensors"
        typer.echo(f"use it: cellcount predict PICTURES --model {model} --out DIR")
    for line in describe(summary):
        typer.echo(line)
    if not completed:
        typer.echo(f"the training {summary['status']}: {summary['reason']}", err=True)
        raise typer.Exit(1)


def describe(summary: dict) -> list[str]:
    """Return the lines that a person wants to see of ``training.json``."""
    seconds = summary["seconds"]
    lines = [
        f"{seconds['data']:.0f} s data, {seconds['training']:.0f} s training, "
        f"{seconds['evaluation']:.0f} s evaluation"
    ]
    if scores := summary["scores"]:
        lines.append(
            f"test pictures under {summary['protocol']}: F1 {scores['f1']:.3f}, precision "
            f"{scores['precision']:.3f}, recall {scores['recall']:.3f}, mean absolute error of the "
            f"count {scores['mae']:.2f}"
        )
    else:
        lines.append("no test pictures: nothing was scored")
    choice = summary.get("choice", {})  # not in a summary from before it was kept
    how = "; ".join(filter(None, [choice.get("rule"), choice.get("note")]))
    chosen = f"cutoff {summary['threshold']} chosen on validation pictures"
    return [*lines, f"{chosen} ({how})" if how else chosen]
