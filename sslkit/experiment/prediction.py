"""Grades images with the models of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn

from sslkit.config import RunConfig
from sslkit.config.loading import parse_config, read_toml
from sslkit.data.cache import Preprocessing
from sslkit.engine.networks import Encoder, call_with_seed, evaluation_mode, to_compute
from sslkit.engine.precision import Compute, resolve_compute
from sslkit.engine.weights import load_state
from sslkit.errors import DataError, RunDirectoryError, did_you_mean
from sslkit.experiment.plan import Study, resolve
from sslkit.experiment.run_directory import RunDirectory
from sslkit.interfaces import DownstreamHead
from sslkit.registry import Registry

_BATCH = 32


@dataclass(frozen=True)
class GradedImage:
    """The answer for one image.

    Attributes:
        image: the file.
        grade: in 0..K-1; None where the image could not be read.
        grade_name: its name.
        probabilities: one a class, by name.
        error: why the image could not be read.
    """

    image: str
    grade: int | None = None
    grade_name: str | None = None
    probabilities: dict[str, float] | None = None
    error: str | None = None


class Predictor:
    """The models of a run, one a fold, whose logits are averaged.

    Args:
        run_directory: a run that has finished.
        registry: the installed plugins.
        arm: whose models to use; by default ``pretrained``, or the only arm that there is.

    Raises:
        RunDirectoryError: if there is no such run, or it keeps no model of the arm.
    """

    def __init__(self, run_directory: Path, registry: Registry, arm: str | None = None) -> None:
        directory = RunDirectory(run_directory)
        config = load_run_config(directory)
        study = resolve(config, registry)
        self.compute = resolve_compute(config.compute.device, config.compute.precision, False)
        self.preprocessing = Preprocessing(config.images.size, config.images.crop)
        folders = _model_folders(directory, arm)
        loaded = [_load_model(study, folder, self.compute) for folder in folders]
        self.models = [(encoder, head) for encoder, head in loaded]
        self.head = _average_decoding(study, [head for _, head in loaded])

    def predict(self, paths: Iterable[Path]) -> Iterator[GradedImage]:
        """Yield an answer for each image file, in order and in constant memory."""
        batch: list[tuple[str, npt.NDArray[np.uint8] | str]] = []
        for path in paths:
            batch.append((str(path), self._read(path)))
            if len(batch) == _BATCH:
                yield from self._grade(batch)
                batch = []
        if batch:
            yield from self._grade(batch)

    def _read(self, path: Path) -> npt.NDArray[np.uint8] | str:
        try:
            return self.preprocessing.apply(path.read_bytes())
        except (DataError, OSError) as error:
            return str(error)

    def _grade(self, batch: Sequence[tuple[str, npt.NDArray[np.uint8] | str]]) -> Iterator[GradedImage]:
        readable = [pixels for _, pixels in batch if not isinstance(pixels, str)]
        answers = iter(self._classify(np.stack(readable)) if readable else [])
        for name, pixels in batch:
            if isinstance(pixels, str):
                yield GradedImage(name, error=pixels)
                continue
            grade, probabilities = next(answers)
            names = self.head.class_names
            shares = dict(zip(names, probabilities, strict=True))
            yield GradedImage(name, grade, names[grade], shares)

    def _classify(self, pixels: npt.NDArray[np.uint8]) -> list[tuple[int, list[float]]]:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.compute.device)
        logits = []
        for encoder, head in self.models:
            with evaluation_mode(encoder, head):
                logits.append(head(encoder(images)).float().cpu())
        prediction = self.head.predict(torch.stack(logits).mean(0))
        return list(zip(prediction.classes.tolist(), prediction.probabilities.tolist(), strict=True))


def load_run_config(directory: RunDirectory) -> RunConfig:
    """Return the configuration of a run.

    Raises:
        RunDirectoryError: if there is no run in the directory.
    """
    if not directory.config.exists():
        raise RunDirectoryError(f"{directory.root} holds no run (no config.toml); give the directory of 'sslkit run'")
    return parse_config(read_toml(directory.config), root=directory.root)


def _model_folders(directory: RunDirectory, arm: str | None) -> list[Path]:
    results = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.root.glob("cells/*/result.json"))
    ]
    kept = [result for result in results if (directory.cell(result["cell"]) / "model.safetensors").exists()]
    arms = sorted({result["arm"] for result in kept})
    if not arms:
        raise RunDirectoryError(
            f"{directory.root} keeps no model; run it to its end first: sslkit run ... --output {directory.root}"
        )
    chosen = arm or ("pretrained" if "pretrained" in arms else arms[0])
    if chosen not in arms:
        raise RunDirectoryError(
            f"{directory.root} keeps no model of arm {chosen!r}{did_you_mean(chosen, arms) or '.'} "
            f"It has: {', '.join(arms)}."
        )
    of_arm = [result for result in kept if result["arm"] == chosen]
    largest = max(result["fraction"] for result in of_arm)
    tasks = sorted({result["pretext"] for result in of_arm})
    chosen_cells = [result for result in of_arm if result["fraction"] == largest and result["pretext"] == tasks[0]]
    return [directory.cell(result["cell"]) for result in sorted(chosen_cells, key=lambda result: int(result["fold"]))]


def _load_model(study: Study, folder: Path, compute: Compute) -> tuple[Encoder, DownstreamHead[Any]]:
    plugin = study.backbone.make()
    network: nn.Module = call_with_seed(0, plugin.build)
    head = study.make_head(network.head_hidden_size)  # type: ignore[arg-type]
    state = load_file(folder / "model.safetensors")
    if (fitted := folder / "fitted.safetensors").exists():
        state |= {f"head.{name}": value for name, value in load_file(fitted).items()}
    load_state(nn.ModuleDict({"encoder": network, "head": head}), state, source=str(folder))
    to_compute(network, compute)
    return Encoder(network, plugin.mean, plugin.std, compute), head.to(compute.device)


def _average_decoding(study: Study, heads: Sequence[DownstreamHead[Any]]) -> DownstreamHead[Any]:
    """Return a head that decodes averaged logits: its fitted buffers are the mean of the folds'."""
    average = study.make_head()
    buffers = [dict(head.named_buffers()) for head in heads]
    for name, buffer in average.named_buffers():
        buffer.copy_(torch.stack([folds[name].detach().cpu() for folds in buffers]).mean(0))
    return average
