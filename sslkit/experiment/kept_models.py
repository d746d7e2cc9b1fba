"""The models that a run keeps: which there are, and how they are loaded."""

from __future__ import annotations

import copy
import csv
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sslkit.checksums import read_sums, require
from sslkit.config import RunConfig
from sslkit.config.loading import parse_config, read_toml
from sslkit.engine.networks import Encoder, build_encoder
from sslkit.engine.precision import Compute
from sslkit.engine.weights import load_state, read_weights, refuse_misfits
from sslkit.errors import RunDirectoryError, did_you_mean
from sslkit.experiment.cross_fitting import FITTED
from sslkit.experiment.run_directory import SETTLED, RunDirectory
from sslkit.experiment.study import Study
from sslkit.interfaces import DownstreamHead


def load_run_config(directory: RunDirectory) -> RunConfig:
    """Return the configuration of a run.

    Raises:
        RunDirectoryError: if there is no run in the directory.
    """
    if not directory.config.is_file():
        raise RunDirectoryError(f"{directory.root} holds no run (no config.toml); give the directory of 'sslkit run'")
    if sealed := [name for name in SETTLED if name in read_sums(directory.root)]:
        require(directory.root, *sealed)
    return parse_config(read_toml(directory.config), root=directory.root)


def model_folders(directory: RunDirectory, folds: int, arm: str | None, pretext: str | None) -> list[Path]:
    """Return the folder of each fold's model: of one arm and task, at the largest share of the labels."""
    kept = kept_cells(directory, arm, pretext)
    if absent := sorted(set(range(folds)) - kept.keys()):
        raise RunDirectoryError(
            f"{directory.root} lacks the models of folds {', '.join(map(str, absent))}; run the same command again"
        )
    return [directory.cell(kept[fold]["cell"]) for fold in range(folds)]


def kept_cells(directory: RunDirectory, arm: str | None, pretext: str | None) -> dict[int, dict[str, str]]:
    """Return the cells that keep a model, by fold: of one arm and task, at the largest share of the labels."""
    kept = [row for row in _rows(directory) if (directory.cell(row["cell"]) / "model.safetensors").exists()]
    if not kept:
        raise RunDirectoryError(
            f"{directory.root} keeps no model; run it to its end first: sslkit run ... --output {directory.root}"
        )
    arms = list(dict.fromkeys(row["arm"] for row in kept))
    kept = _choose(directory, kept, "arm", arm or ("pretrained" if "pretrained" in arms else arms[0]))
    tasks = list(dict.fromkeys(row["pretext"] for row in kept))
    if pretext is None and len(tasks) > 1:
        raise RunDirectoryError(
            f"{directory.root} has models of several pretext tasks ({', '.join(tasks)}); choose one by --pretext"
        )
    kept = _choose(directory, kept, "pretext", tasks[0] if pretext is None else pretext)
    largest = max(float(row["fraction"]) for row in kept)
    return {int(row["fold"]): row for row in kept if float(row["fraction"]) == largest}


def _rows(directory: RunDirectory) -> list[dict[str, str]]:
    """Return the rows of results.csv, which holds the cells of the last plan and no older ones."""
    if not directory.results.exists():
        return []
    try:
        with directory.results.open(newline="", encoding="utf-8") as file:
            return [_checked(row) for row in csv.DictReader(file, restval="")]
    except (csv.Error, KeyError, ValueError) as error:
        raise RunDirectoryError(
            f"{directory.results} is not the table that 'sslkit run' writes ({type(error).__name__}: {error}); run the "
            "same command again"
        ) from error


def _checked(row: dict[str, str]) -> dict[str, str]:
    numbers = {"fold": str(int(row["fold"])), "fraction": str(float(row["fraction"]))}
    return {name: row[name] for name in ("cell", "arm", "pretext")} | numbers


def _choose(directory: RunDirectory, rows: list[dict[str, str]], column: str, value: str) -> list[dict[str, str]]:
    chosen = [row for row in rows if row[column] == value]
    if not chosen:
        there = list(dict.fromkeys(row[column] for row in rows))
        hint = did_you_mean(value, there) or "."
        raise RunDirectoryError(
            f"{directory.root} keeps no model of {column} {value!r}{hint} It has: {', '.join(there)}."
        )
    return chosen


def load_model(study: Study, folder: Path, compute: Compute) -> tuple[Encoder, DownstreamHead[Any]]:
    """Return the encoder and the head of a cell's folder; what was fitted across folds is not in the head.

    Raises:
        RunDirectoryError: if the folder is not as it was written.
        WeightsError: if the weights do not fit.
    """
    encoder = build_encoder(study.backbone.make(), compute)
    head = study.make_head(encoder.backbone.head_hidden_size).to(compute.device)  # type: ignore[arg-type]
    require(folder, "model.safetensors")
    path = folder / "model.safetensors"
    load_state(nn.ModuleDict({"encoder": encoder.backbone, "head": head}), read_weights(path), source=str(path))
    return encoder, head


def average_decoding(heads: Sequence[DownstreamHead[Any]], folders: Sequence[Path]) -> DownstreamHead[Any]:
    """Return a head that decodes averaged logits: what was fitted across folds is the mean of the folds'.

    A fold whose fit moved nothing counts with what the head begins with.
    """
    average = copy.deepcopy(heads[0]).cpu()
    buffers = dict(average.named_buffers())
    fitted = []
    for folder in folders:
        given = {}
        if FITTED in read_sums(folder):
            require(folder, FITTED)
            given = read_weights(folder / FITTED)
            refuse_misfits(given, buffers, network=average, source=str(folder / FITTED), partial=True)
        fitted.append(given)
    for name in dict.fromkeys(name for given in fitted for name in given):
        buffers[name].copy_(torch.stack([given.get(name, buffers[name]) for given in fitted]).mean(0))
    return average


def average_threshold(folders: Sequence[Path]) -> float | None:
    """Return the mean of the thresholds that were fitted across folds, of those folds that have one; None if none has.

    Each is where Youden's J is greatest on the cell's own labelled images, as scored by the cells that tested them.
    """
    thresholds = []
    for folder in folders:
        require(folder, "result.json")
        value = json.loads((folder / "result.json").read_text(encoding="utf-8")).get("referable_threshold")
        if value is not None:
            thresholds.append(float(value))
    return statistics.fmean(thresholds) if thresholds else None
