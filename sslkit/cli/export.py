"""``sslkit export``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sslkit.cli.completing import runs
from sslkit.cli.terminal import say
from sslkit.cli.weights_options import weights_options

if TYPE_CHECKING:
    from sslkit.experiment.exporting import Exported
    from sslkit.experiment.run_weights import Weights


@click.command(
    short_help="Write weights that plain timm loads.",
    epilog="Example: sslkit export runs/dr weights/dr --weights finetuned --onnx",
)
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path), shell_complete=runs)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@weights_options
@click.option("--onnx", is_flag=True, help="Write model.onnx as well, and hold it against torch.")
def export(
    run_directory: Path,
    directory: Path,
    fold: int,
    weights: Weights,
    pretext: str | None,
    arm: str | None,
    onnx: bool,
) -> None:
    """Write one network of a run as a directory that loads without sslkit.

    Plain timm loads it. DIR is new, empty, or an earlier export, which is replaced. It holds config.json,
    model.safetensors, with finetuned weights head.safetensors, and a model card, README.md.
    """
    from sslkit import api

    show_exported(api.export(run_directory, directory, fold=fold, weights=weights, pretext=pretext, arm=arm, onnx=onnx))


def show_exported(exported: Exported) -> None:
    """Print what was written, and what to try next."""
    which = ", ".join(
        [
            exported.weights,
            *([exported.pretext] if exported.pretext else []),
            *([f"arm {exported.arm}"] if exported.arm else []),
            "pretrained on all images" if exported.fold is None else f"fold {exported.fold}",
        ]
    )
    say(f"{exported.directory}: {which}; {exported.num_features} features an image", one_line=True)
    width = max(map(len, exported.files))
    for name, size in exported.files.items():
        say(f"  {name:{width}}  {_bytes(size):>9}", one_line=True)
    if exported.onnx_difference is not None:
        say(
            f"model.onnx gives {exported.onnx_output}; from torch it differs by {exported.onnx_difference:.1e} at most."
        )
    if exported.not_for_timm is not None:
        say(f"Plain timm cannot load it: {exported.not_for_timm}. sslkit.load_backbone can.", one_line=True)
    say("Not a medical device: for research only. The model card is README.md.")
    say("\nNext:")
    path = shlex.quote(str(exported.directory))
    if exported.not_for_timm is None:
        code = f'import timm; print(timm.create_model("local-dir:{exported.directory}", pretrained=True))'
        say(f"  python -c {shlex.quote(code)}", one_line=True)
    say(f"  sslkit embed {path} IMAGES --output features.npz", one_line=True)
    if exported.weights == "finetuned":
        say(f"  sslkit predict {path} PHOTOGRAPH.jpg", one_line=True)


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
